"""The golden arrays of tokenizer losses, and the seeded weights that they were made with.

They were made by LlamaGen's and Open-MAGVIT2's released code on CPU; only a mistake of theirs
changes them.
"""

import ast
import pathlib
import zlib

import numpy as np

FOLDER = pathlib.Path(__file__).parent / "golden"
HEADINGS = {"LPIPS": "", "PatchGAN": "d:", "Open-MAGVIT2": "d3:"}


def load():
    """Arrays by name, as stored: channels first."""
    with np.load(FOLDER / "vqgan_loss_dev.npz") as file:
        return dict(file.items())


def channels_last(array):
    return np.moveaxis(array, 1, -1)


def sampled(array_BHWC, golden, name):
    """Our layer as the file stores one: flattened, channels first, with a step."""
    array = np.moveaxis(np.asarray(array_BHWC), -1, 1)
    assert array.shape == tuple(golden[f"{name}_shape"])
    return array.ravel()[:: golden[f"{name}_stride"]]


def state_dict(golden, network):
    """Seeded weights of one of HEADINGS; discriminators at the sizes that the file was made with.

    The file of names lists them with 64 channels where the arrays have `meta/ndf`, clips half.
    """
    section, prefix, weights = None, str(golden["meta/prefix"]) + HEADINGS[network], {}
    shrink = {"LPIPS": 1, "PatchGAN": 64 // golden["meta/ndf"]}
    shrink["Open-MAGVIT2"] = 2 * shrink["PatchGAN"]
    for line in (FOLDER / "vqgan_loss_names.txt").read_text().splitlines():
        if line.startswith("#"):
            section = next((name for name in HEADINGS if line.startswith(f"# {name}")), section)
        elif section == network:
            name, shape = line.split("\t")
            shape = [
                size // shrink[network] if size >= 64 else size for size in ast.literal_eval(shape)
            ]
            weights[name] = seeded(prefix, name, tuple(int(size) for size in shape))
    return weights


def seeded(prefix, name, shape):
    generator = np.random.RandomState(zlib.crc32((prefix + name).encode()))  # its stream is frozen

    def normal(scale):
        return (generator.standard_normal(shape) * scale).astype(np.float32)

    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if name.startswith("lin"):
        return np.abs(normal(1.0))
    if name.endswith("running_var"):
        return np.exp(normal(0.2))
    if len(shape) == 1:
        weight = name.endswith("weight")
        return (1 + normal(0.1)).astype(np.float32) if weight else normal(0.1)
    return normal(np.sqrt(2 / np.prod(shape[1:])))


def lpips_params(golden):
    """The seeded weights as `lpips` takes them, through the readers of the two public files."""
    from lpd_jax.weights.from_torch.vgg import channel_weights_from_torch, vgg_from_torch

    weights = state_dict(golden, "LPIPS")
    vgg = {
        f"features.{name.split('.', 2)[2]}": value
        for name, value in weights.items()
        if name.startswith("net.")
    }
    lines = {name: value for name, value in weights.items() if name.startswith("lin")}
    return {
        "vgg": vgg_from_torch(vgg),
        "channel_weights": channel_weights_from_torch(lines),
    }


def discriminator(golden, frames=False):
    """(config, variables) of the seeded discriminator of pictures, or of clips."""
    from lpd_jax.models.discriminator import DiscriminatorConfig
    from lpd_jax.weights.from_torch.discriminator import discriminator_from_torch

    channels = int(golden["meta/ndf"]) // (2 if frames else 1)
    config = DiscriminatorConfig(channels=channels, frames=frames)
    weights = state_dict(golden, "Open-MAGVIT2" if frames else "PatchGAN")
    return config, discriminator_from_torch(weights, config)
