"""Pictures and tokens to train on.

Pictures come from folders of classes, TensorFlow Datasets or the bundled avatars. A token cache
holds what a tokenizer made of them. Both become batches whose position a checkpoint can hold.
"""

from typing import TYPE_CHECKING

from lpd_jax.runtime.first_use import on_first_use

if TYPE_CHECKING:
    from lpd_jax.data.batches import ArraySource, TrainingBatches, validation_batches
    from lpd_jax.data.clips import ClipSource, ClipWindow, open_clips
    from lpd_jax.data.data_config import DataConfig
    from lpd_jax.data.pictures import ImageSource, open_images
    from lpd_jax.data.token_cache import TokenSource, open_token_cache
    from lpd_jax.data.token_plan import plan_cache, write_token_cache

__all__ = [
    "ArraySource",
    "ClipSource",
    "ClipWindow",
    "DataConfig",
    "ImageSource",
    "TokenSource",
    "TrainingBatches",
    "open_clips",
    "open_images",
    "open_token_cache",
    "plan_cache",
    "validation_batches",
    "write_token_cache",
]

# They import the packages of `lpd_jax[train]`.
__getattr__ = on_first_use(
    __name__,
    {
        "ArraySource": "batches",
        "ClipSource": "clips",
        "ClipWindow": "clips",
        "DataConfig": "data_config",
        "ImageSource": "pictures",
        "TokenSource": "token_cache",
        "TrainingBatches": "batches",
        "open_clips": "clips",
        "open_images": "pictures",
        "open_token_cache": "token_cache",
        "plan_cache": "token_plan",
        "validation_batches": "batches",
        "write_token_cache": "token_plan",
    },
    extra="train",
)
