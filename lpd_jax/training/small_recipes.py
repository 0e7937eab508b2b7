"""What the short training runs share, on bundled pictures, clips and one's own photos.

Like `recipes`, whose runs are the published ones.
"""

from typing import Any

from ml_collections import ConfigDict

from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.training.optimizer import REST


def avatars_run(num_steps: int, batch_size: int) -> ConfigDict:
    """A short run on the bundled avatars, without its model, optimizer, generation and every."""
    config = ConfigDict()
    config.seed = 0
    config.num_steps = num_steps
    config.batch_size = batch_size
    config.data = ConfigDict({"dataset": "avatars12"})
    config.mesh = ConfigDict({"data": -1})
    config.compute = ConfigDict({"dtype": "float32"})
    config.fid = ConfigDict({"num_images": 0, "network": "avatars12"})  # FID by our classifier
    return config


def avatars_transformer_run(run: str, family: str, **fields: Any) -> ConfigDict:
    """A run on the tokens of the bundled tokenizer, without its generation.

    Muon at a constant rate, then a cosine; an average of the weights; products of bfloat16, which
    a processor with AMX takes. A GPU takes `--config.compute.dtype=bfloat16` in their place, any
    other processor `--config.compute.products=plain`.

    Args:
        run: "bundled", 20 epochs of 6 layers of width 256, or "short", 8 epochs of 4 of 192.
        fields: of the model, beside those of the run.
    """
    if run not in AVATARS_RUNS:
        allowed = ", ".join(AVATARS_RUNS)
        raise UserError(f"config: got {shown(run)} after the colon, allowed are {allowed}")
    num_steps, cosine_steps, sizes = AVATARS_RUNS[run]
    config = avatars_run(num_steps, batch_size=32)
    config.tokenizer = "avatars12"
    config.model = avatars_transformer(family, **{**sizes, **fields})
    config.compute.products = "bfloat16"
    config.optimizer = avatars_optimizer(
        learning_rate=5e-3, cosine_steps=cosine_steps, weight_decay=0.02
    )
    config.optimizer.name = "muon"
    config.ema_decay = 0.999
    config.generation = ConfigDict({})
    config.every = ConfigDict({"log": 50, "evaluate": 900, "save": 450, "sample": 900})
    return config


# Steps of 32 pictures, how many of them the rate falls for, and the model.
AVATARS_RUNS = {
    "bundled": (
        6750,
        3375,
        {"num_layers": 6, "embed_dim": 256, "num_heads": 4, "dropout_rate": 0.1},
    ),
    "short": (
        2700,
        1200,
        {"num_layers": 4, "embed_dim": 192, "num_heads": 3, "dropout_rate": 0.0},
    ),
}


def avatars_transformer(family: str, **fields: Any) -> ConfigDict:
    """The section `model` of a transformer of the bundled pictures, without its size."""
    return ConfigDict(
        {
            "family": family,
            "grid_size": (16, 16),
            "codebook_size": 4096,
            "num_classes": 12,
            "label_drop_rate": 0.1,
            **fields,
        }
    )


def avatars_tokenizer() -> ConfigDict:
    """The section `model` of the bundled tokenizer."""
    return ConfigDict(
        {
            "family": "vq",
            "base_channels": 32,
            "channel_multipliers": (1, 2),
            "num_res_blocks": 1,
            "z_channels": 64,
            "codebook_size": 4096,
            "codebook_dim": 4,
            "patch_size": 2,
            "decoder_channels": 64,
            "decoder_blocks": 1,
            "pixel_channels": 16,
            "upsampling": "subpixel",
            "attention": "middle",
            "quantizer": "fsq",
            "fsq_levels": (8, 8, 8, 8),
        }
    )


def clips_run(num_steps: int, batch_size: int) -> ConfigDict:
    """A short run on clips of the bundled avatars, without its model and so on."""
    config = avatars_run(num_steps, batch_size)
    config.data = ConfigDict({"dataset": "moving_avatars"})
    del config.fid  # which knows pictures alone
    return config


def clips_tokenizer(family: str, **fields: Any) -> ConfigDict:
    """The section `model` of the small tokenizer of clips, and of its twin for pictures."""
    return ConfigDict(
        {
            "family": family,
            "base_channels": 16,
            "channel_multipliers": (1, 2, 8),
            "res_blocks": (0, 1, 1),
            "middle_blocks": 1,
            "narrow_unfolding": True,
            "norm_groups": 4,
            "pixel_mean": 0.75,
            "pixel_scale": 0.25,
            "fsq_levels": (8, 8, 8, 8),
            **fields,
        }
    )


def clips_transformer_run() -> ConfigDict:
    """A run on the tokens of the bundled tokenizer of clips, without its model and its generation.

    The optimizer is that of `avatars_transformer_run`, and so is what it says of other processors.
    """
    config = clips_run(num_steps=2500, batch_size=16)
    config.data.random_views = True  # each clip and its mirror image
    config.compute.products = "bfloat16"
    config.tokenizer = "clips"
    config.optimizer = avatars_optimizer(learning_rate=5e-3, cosine_steps=1250, weight_decay=0.02)
    config.optimizer.name = "muon"
    config.ema_decay = 0.999
    config.every = ConfigDict({"log": 50, "evaluate": 500, "save": 500, "sample": 1000})
    return config


def clips_transformer(family: str, **fields: Any) -> ConfigDict:
    """The section `model` of a small transformer of clips: 5 layers of width 256."""
    return ConfigDict(
        {
            "family": family,
            "num_layers": 5,
            "embed_dim": 256,
            "num_heads": 4,
            "grid_size": (5, 16, 16),
            "codebook_size": 4096,
            "num_classes": 12,
            "label_drop_rate": 0.1,
            "dropout_rate": 0.0,
            **fields,
        }
    )


def clips_par(**fields: Any) -> ConfigDict:
    """The section `model` of a small PAR of clips."""
    return clips_transformer(
        "par", matrix_std=0.06, embedding_std=0.5, token_drop_rate=0.0, **fields
    )


def avatars_optimizer(learning_rate: float, cosine_steps: int, weight_decay: float) -> ConfigDict:
    """AdamW of a short run: 100 steps of warm-up, constant, cosine to 1e-5."""
    return ConfigDict(
        {
            "learning_rate": learning_rate,
            "final_learning_rate": 1e-5,
            "warmup_steps": 100,
            "cosine_steps": cosine_steps,
            "beta1": 0.9,
            "beta2": 0.95,
            "weight_decay": weight_decay,
            "clip_norm": 1.0,
        }
    )


def folder_run(image_size: int, batch_size: int) -> ConfigDict:
    """A short run on a folder of photos, without its model, epochs and optimizer."""
    config = ConfigDict()
    config.seed = 0
    config.batch_size = batch_size
    config.data = ConfigDict(
        {
            "dataset": "folder",
            "path": "photos",
            "image_size": image_size,
            "validation_share": 0.05,
            "random_views": True,
            "bad_images": "skip",
        }
    )
    config.mesh = ConfigDict({"data": -1})
    config.every = ConfigDict({"log": 50, "evaluate": 500, "save": 500, "sample": 500})
    config.ema_decay = 0.999
    return config


def short_optimizer(learning_rate: float, weight_decay: float) -> ConfigDict:
    """AdamW of a run of any length: warm-up, then a cosine to 1e-5 for all that is left."""
    optimizer = avatars_optimizer(learning_rate, 0, weight_decay)
    optimizer.cosine_steps = REST
    return optimizer
