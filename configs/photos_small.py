"""A small LPD of a folder of your own photos, and the tokenizer that it needs.

    python launch/train.py --config=configs/photos_small.py:tokenizer \\
        --config.data.path=PHOTOS --workdir=runs/photos_tokenizer
    python launch/train.py --config=configs/photos_small.py --config.data.path=PHOTOS \\
        --config.tokenizer=runs/photos_tokenizer --workdir=runs/photos

PHOTOS holds a folder for each class. Classes, codebook and grid are read from the data, epochs are
counted on them, and a share of the photos is held out by a hash of their names. The square in the
middle of a photo is brought to 64 pixels; of 128 (--config.data.image_size=128) the same tokenizer
makes 1,024 tokens. docs/own-photos.md goes through it.
"""

from ml_collections import ConfigDict

from lpd_jax.training import small_recipes


def get_config(part: str = "transformer") -> ConfigDict:
    """ "transformer", or "tokenizer" for what comes first."""
    if part not in ("transformer", "tokenizer"):
        raise ValueError(f"part: got {part!r}, allowed are transformer, tokenizer")
    config = small_recipes.folder_run(image_size=64, batch_size=16)
    if part == "tokenizer":
        config.num_epochs = 60.0
        config.model = ConfigDict(
            {
                "family": "vq",
                "base_channels": 32,
                "channel_multipliers": (1, 2),
                "num_res_blocks": 1,
                "z_channels": 64,
                "codebook_size": 1024,
                "codebook_dim": 4,
                "patch_size": 2,
            }
        )
        config.tokenizer_loss = ConfigDict(
            {"l2_weight": 1.0, "l1_weight": 1.0, "entropy_weight": 0.005}
        )
        config.optimizer = small_recipes.short_optimizer(learning_rate=1.5e-3, weight_decay=0.0)
        return config
    config.num_epochs = 200.0  # a fraction will do, too
    config.tokenizer = "runs/photos_tokenizer"
    config.model = ConfigDict(
        {
            "family": "lpd",
            "num_layers": 6,
            "embed_dim": 256,
            "num_heads": 4,
            "grid_size": (0, 0),  # 0: as the data and the tokenizer have it
            "codebook_size": 0,
            "num_classes": 0,
            "label_drop_rate": 0.1,
            "dropout_rate": 0.1,  # photos of one's own are few
        }
    )
    config.optimizer = small_recipes.short_optimizer(learning_rate=1e-3, weight_decay=0.05)
    config.generation = ConfigDict({"order": "locality", "num_steps": 20, "guidance_scale": 2.0})
    return config
