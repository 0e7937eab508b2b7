"""How much of pictures a tokenizer keeps: PSNR, SSIM, perceptual distance, rFD, codes in use.

    report = measure_reconstruction(tokenizer, source, network=load_classifier())
    print(report.lines())

PSNR and SSIM are means over pictures, of 8-bit pixels. The Fréchet distance is of reconstructions
to the pictures themselves, over the features of the network that is given.

Letters: B batch, H height, W width, C channels, V codes.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lpd_jax.data.batches import Source
from lpd_jax.evaluation.file_lists import evenly
from lpd_jax.evaluation.judges import FeatureNetwork
from lpd_jax.evaluation.metrics import RunningStatistics, frechet_distance
from lpd_jax.generation.batches import pad_rows
from lpd_jax.images import image_grid, to_model_range
from lpd_jax.models.family import tokenizer_of
from lpd_jax.models.tokenizer_family import EXACT
from lpd_jax.models.tokenizer_loss import summarize_codes
from lpd_jax.runtime.bound_arrays import compile_with
from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.weights.loading import Weights

# (pictures, others), floats [B, H, W, 3] in [-1, 1] -> distance [B]
Distance = Callable[[jax.Array, jax.Array], jax.Array]
SSIM_WINDOW = 7  # pixels, of equal weight, as scikit-image has it where nothing is said
ERROR_GAIN = 4  # times the difference of pixels in pictures of it


@dataclasses.dataclass(frozen=True)
class ReconstructionReport:
    """Numbers over a data set.

    psnr: decibels, mean over pictures.
    ssim: structural similarity, mean over pictures; 1 is the same picture.
    codebook_usage: share of the codes that some token has.
    dead_codes: codes that none has.
    perplexity: exp of the entropy of the codes' shares.
    rfd: Fréchet distance over `rfd_features`; None where no network was given.
    perceptual: mean distance; None where none was given.
    """

    num_images: int
    psnr: float
    ssim: float
    codebook_usage: float
    dead_codes: int
    perplexity: float
    rfd: float | None = None
    rfd_features: str = ""
    perceptual: float | None = None

    def lines(self) -> list[str]:
        """One number a line, for a terminal."""
        rows = [
            f"pictures        {self.num_images:,}",
            f"PSNR            {self.psnr:.2f} dB",
            f"SSIM            {self.ssim:.4f}",
        ]
        if self.perceptual is not None:
            rows.append(f"perceptual      {self.perceptual:.4f}")
        if self.rfd is not None:
            features = f" ({self.rfd_features})" if self.rfd_features else ""
            rows.append(f"rFD             {self.rfd:.3f}{features}")
        used = f"{self.codebook_usage:.1%} of the codes, {self.dead_codes} dead"
        return [*rows, f"codebook        {used}, perplexity {self.perplexity:.0f}"]


def measure_reconstruction(
    tokenizer: Weights,
    source: Source,
    *,
    batch_size: int = 64,
    network: FeatureNetwork | None = None,
    network_name: str = "",
    distance: Distance | None = None,
    num_images: int | None = None,
) -> ReconstructionReport:
    """Encodes and decodes pictures of a source, on this process's devices.

    Args:
        tokenizer: config and parameters.
        source: of records with an `image`, uint8 `[H, W, 3]`, all of one size.
        batch_size: pictures at a time; the last batch is filled up, so there is one compilation.
        network: whose features the Fréchet distance is of.
        network_name: what the report calls it.
        distance: how far apart two pictures look; weights are bound by `jax.tree_util.Partial`.
        num_images: so many, evenly among all, as the command takes them; None is all.

    Raises:
        UserError: fewer than two pictures, more than there are, or a size that is no whole grid.
    """
    count = len(source) if num_images is None else num_images
    if len(source) < 2:
        raise UserError(f"pictures: got {len(source)}, allowed are 2 or more")
    if not 2 <= count <= len(source):
        raise UserError(
            f"num_images: got {shown(count)}, allowed are 2 to the {len(source)} there are"
        )
    tokenizer_of(tokenizer.config).grid_of(source.view(0, 0)["image"].shape[:2])
    rebuild = Rebuilder(tokenizer, distance, batch_size)
    real, rebuilt = RunningStatistics(), RunningStatistics()
    sums: dict[str, float] = {}
    counts_V = np.zeros(tokenizer.config.codebook_size)
    rows = evenly(len(source), count)[:count]
    for first in range(0, count, batch_size):
        batch = rows[first : first + batch_size]
        images_BHWC = np.stack([source.view(row, 0)["image"] for row in batch])
        drawn_BHWC, tokens, numbers = rebuild(images_BHWC)
        for name, value_B in numbers.items():
            sums[name] = sums.get(name, 0.0) + float(value_B.astype(np.float64).sum())
        counts_V += np.bincount(tokens.ravel(), minlength=counts_V.size)
        if network is not None:
            real.add(network.features(images_BHWC))
            rebuilt.add(network.features(drawn_BHWC))
    rfd = None if network is None else frechet_distance(rebuilt.statistics(), real.statistics())
    means = {name: total / count for name, total in sums.items()}
    return make_report(count, means, counts_V / counts_V.sum(), rfd, network_name)


def make_report(
    count: int, means: Mapping[str, float], shares_V: np.ndarray, rfd: float | None, features: str
) -> ReconstructionReport:
    """Means over pictures and the codes' shares, as a report."""
    codes = summarize_codes({"code_shares": shares_V})
    return ReconstructionReport(
        num_images=count,
        codebook_usage=codes["codebook_usage"],
        dead_codes=int(codes["dead_codes"]),
        perplexity=codes["perplexity"],
        rfd=rfd,
        rfd_features=features,
        **means,
    )


class Rebuilder:
    """Encodes and decodes pictures of one size, a batch at a time; compiled once."""

    def __init__(self, tokenizer: Weights, distance: Distance | None, batch_size: int):
        """Args: as `measure_reconstruction` has them."""
        self.params, self.batch_size = tokenizer.params, batch_size
        bind = jax.tree_util.Partial
        self.judge = compile_with(
            bind(functools.partial(judge_batch, tokenizer.config), distance and bind(distance))
        )

    def __call__(
        self, images_BHWC: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """What `judge_batch` gives of at most a batch, which is filled up with repeats."""
        count = len(images_BHWC)
        padded_BHWC = pad_rows(images_BHWC, self.batch_size - count)
        outputs = jax.device_get(self.judge(self.params, padded_BHWC))
        return jax.tree.map(lambda rows: rows[:count], outputs)


def judge_batch(
    config: Any, distance: Distance | None, params: Any, images_BHWC: jax.Array
) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
    """Reconstructions uint8 `[B, H, W, 3]`, tokens `[B, h, w]`, numbers `[B]` of uint8 pictures.

    Of clips `[B, T, H, W, 3]` and `[B, t, h, w]`; their numbers are means over frames.
    """
    family = tokenizer_of(config)
    with jax.default_matmul_precision(EXACT):
        tokens = family.encode(params, images_BHWC)
    rebuilt_BHWC = family.to_bytes(family.decode(params, tokens))
    shape = (-1, *images_BHWC.shape[-3:])
    pair = images_BHWC.reshape(shape), rebuilt_BHWC.reshape(shape)
    numbers = {"psnr": psnr(*pair), "ssim": ssim(*pair)}
    if distance is not None:
        numbers["perceptual"] = distance(*map(to_model_range, pair))
    means = {x: value.reshape(len(images_BHWC), -1).mean(1) for x, value in numbers.items()}
    return rebuilt_BHWC, tokens, means


def psnr(images_BHWC: jax.Array, others_BHWC: jax.Array) -> jax.Array:
    """Decibels of each pair of uint8 pictures, `[B]`; equal ones count as 1/12 squared level apart.

    That is what rounding to whole levels loses: no picture of 8 bits is known better.
    """
    error_BHWC = images_BHWC.astype(jnp.float32) - others_BHWC.astype(jnp.float32)
    square_B = jnp.maximum(jnp.square(error_BHWC).mean((1, 2, 3)), 1 / 12)
    return 10.0 * jnp.log10(255.0**2 / square_B)


def ssim(images_BHWC: jax.Array, others_BHWC: jax.Array) -> jax.Array:
    """Structural similarity (Wang et al., 2004) of each pair of uint8 pictures, `[B]`.

    As scikit-image's `structural_similarity` for channels of range 255: windows of 7x7 pixels of
    equal weight, unbiased covariances, the mean over windows that lie inside.
    """
    x_BHWC, y_BHWC = (pixels.astype(jnp.float32) for pixels in (images_BHWC, others_BHWC))
    # Moments about the middle of the range, where float32 has digits to spare.
    x_BHWC, y_BHWC = x_BHWC - 127.5, y_BHWC - 127.5
    mean_x, mean_y = window_means(x_BHWC), window_means(y_BHWC)
    count = SSIM_WINDOW**2
    unbias = count / (count - 1)
    var_x = unbias * (window_means(jnp.square(x_BHWC)) - jnp.square(mean_x))
    var_y = unbias * (window_means(jnp.square(y_BHWC)) - jnp.square(mean_y))
    covariance = unbias * (window_means(x_BHWC * y_BHWC) - mean_x * mean_y)
    mean_x, mean_y = mean_x + 127.5, mean_y + 127.5
    c1, c2 = (0.01 * 255.0) ** 2, (0.03 * 255.0) ** 2
    above = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    below = (jnp.square(mean_x) + jnp.square(mean_y) + c1) * (var_x + var_y + c2)
    return (above / below).mean((1, 2, 3))


def window_means(x_BHWC: jax.Array) -> jax.Array:
    """Means of all windows inside the picture."""
    window = (1, SSIM_WINDOW, SSIM_WINDOW, 1)
    sums = jax.lax.reduce_window(x_BHWC, 0.0, jax.lax.add, window, (1, 1, 1, 1), "VALID")
    return sums / SSIM_WINDOW**2


def reconstruction_picture(
    tokenizer: Weights, images_BHWC: np.ndarray | Sequence[np.ndarray], enlarge: int = 1
) -> np.ndarray:
    """Rows of originals, of reconstructions, and of four times their difference; uint8 `[H, W, 3]`.

    Args:
        tokenizer: config and parameters.
        images_BHWC: uint8; one column each.
        enlarge: pixels that show one.
    """
    images_BHWC = np.asarray(images_BHWC)
    rebuilt_BHWC = np.asarray(
        tokenizer_of(tokenizer.config).reconstruct(tokenizer.params, jnp.asarray(images_BHWC))
    )
    error_BHWC = np.abs(images_BHWC.astype(int) - rebuilt_BHWC) * ERROR_GAIN
    rows = [images_BHWC, rebuilt_BHWC, np.minimum(error_BHWC, 255).astype(np.uint8)]
    cells_BHWC = np.concatenate(rows).repeat(enlarge, axis=1).repeat(enlarge, axis=2)
    return image_grid(cells_BHWC, columns=len(images_BHWC))
