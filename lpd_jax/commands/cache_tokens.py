"""Encodes a dataset once into a token cache, which transformers then train on.

    python launch/cache_tokens.py --config=configs/lpd_l.py --output=tokens
    python launch/cache_tokens.py --config=configs/lpd_l.py --output=tokens --split=validation
    python launch/train.py --config=configs/lpd_l.py --workdir=runs/lpd_l \\
        --config.data.dataset=tokens --config.data.path=tokens

Takes the tokenizer and the images that the config names, and writes to OUTPUT/train or
OUTPUT/validation: the tokens of each image and of its mirror, or of ten crops, for each of one or
more crop ratios. Stopped, even by kill -9, the same command goes on. On several machines all
processes write to one shared folder, or to one of a bucket (gs://..., s3://...).

    python launch/cache_tokens.py --config=configs/par_l_4x.py --output=tokens --from=PATH

Instead of encoding images, takes over tokens that LPD's, LlamaGen's, PAR's or RandAR's scripts
have cached: PATH is a folder of them, or RandAR's .tar. Two folders of the same images, ten crops
of two ratios, are joined: --from=PATH1,PATH2 --crop_ratio=1.1,1.05.
"""

import time
from typing import Any

from absl import flags, logging

from lpd_jax.models.family import is_tokenizer
from lpd_jax.runtime import command_line, processes
from lpd_jax.runtime.buckets import is_bucket, located
from lpd_jax.runtime.config_files import config_fields
from lpd_jax.runtime.errors import UserError, shown
from lpd_jax.weights.loading import load_weights

with command_line.imports_of("train"):
    from lpd_jax.data.image_folder import check_apart
    from lpd_jax.data.token_cache import (
        INDEX_FILE,
        CacheIndex,
        check_cache,
        open_token_cache,
        read_json,
    )
    from lpd_jax.data.token_folder import local_cache
    from lpd_jax.data.token_import import import_tokens, open_foreign_caches, plan_import
    from lpd_jax.data.token_plan import IMAGES_PER_SHARD, plan_cache, write_token_cache
    from lpd_jax.training.config import read_config
    from lpd_jax.training.from_data import fill_in
    from lpd_jax.training.task import SPLITS

CONFIG = command_line.define_config("File with get_config() of a transformer.")
OUTPUT = flags.DEFINE_string("output", None, "Folder for the caches.", required=True)
SPLIT = flags.DEFINE_enum("split", "train", list(SPLITS), "Which images to encode.")
TEN_CROP = flags.DEFINE_bool("ten_crop", False, "Five crops and their mirrors of each image.")
CROP_RATIO = flags.DEFINE_list("crop_ratio", ["1.1"], "Sides of what ten crops are cut from.")
FROM = flags.DEFINE_list("from", [], "Caches of other code to take over; no image is encoded.")
BATCH_SIZE = flags.DEFINE_integer(
    "batch_size",
    None,
    "Images a process encodes at once, in all their views; left out, as many as fit its devices.",
    upper_bound=10**6,
)
SHARD = flags.DEFINE_integer("images_per_shard", IMAGES_PER_SHARD, "What a kill may cost at most.")
processes.define_host_flags()


def main() -> None:
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.ERROR)  # TFDS says twice what is wrong
    if BATCH_SIZE.value is not None and BATCH_SIZE.value < 1:
        raise UserError(f"batch_size: got {BATCH_SIZE.value}, allowed is at least 1")
    check_views_asked_for()
    with processes.job():
        cache_tokens()


def check_views_asked_for() -> None:
    """Raises UserError for an option of ten crops that would change nothing."""
    crop_ratios()
    if TEN_CROP.value and FROM.value:
        raise UserError("ten_crop: given beside from, whose caches have the views that they have")
    if flags.FLAGS["crop_ratio"].present and not (TEN_CROP.value or FROM.value):
        raise UserError("crop_ratio: given alone, allowed with ten_crop or from")


def cache_tokens() -> None:
    model, config = read_config(fill_in(config_fields(CONFIG.value)))
    if is_tokenizer(model):
        raise UserError("config: got the config of a tokenizer, allowed is that of a transformer")
    tokenizer = load_weights(config.tokenizer, "tokenizer", "tokenizer")
    views = "ten_crop" if TEN_CROP.value else "mirror"
    folder, start = located("output", OUTPUT.value) / SPLIT.value, time.perf_counter()
    options: dict[str, Any] = {"num_threads": config.data.num_threads}
    if BATCH_SIZE.value is not None:
        options["batch_size"] = BATCH_SIZE.value
    if FROM.value:
        foreign = open_foreign_caches(FROM.value, SPLIT.value)
        settings = plan_import(foreign, tokenizer, model, crop_ratios(), SHARD.value)
    else:
        check_apart("output", OUTPUT.value, config.data)
        job = plan_cache(tokenizer, config.data, SPLIT.value, views, crop_ratios(), SHARD.value)
        settings = job.settings
    check_cache(settings, model, settings.tokenizer)
    with local_cache(folder) as (local, exchange):
        if FROM.value:
            import_tokens(local, foreign, settings, exchange=exchange, **options)
        else:
            write_token_cache(local, job, exchange=exchange, **options)
        count = sum(shard.count for shard in read_json(local / INDEX_FILE, CacheIndex).shards)
    if not is_bucket(folder):
        open_token_cache(folder)  # as it is on disk
    seconds = time.perf_counter() - start
    skipped = f", {settings.num_images - count} skipped" * (count < settings.num_images)
    print(
        f"{count} images{skipped} in {settings.num_views} views of "
        f"{'x'.join(map(str, settings.grid_size))} tokens: {folder}, {seconds:.1f} s"
    )


def crop_ratios() -> list[float]:
    try:
        ratios = [float(ratio) for ratio in CROP_RATIO.value]
    except ValueError:
        ratios = []
    if not ratios or len(set(ratios)) < len(ratios):
        got = ",".join(CROP_RATIO.value)
        raise UserError(
            f"crop_ratio: got {shown(got)}, allowed are different numbers, as in 1.1,1.05"
        )
    return ratios


def run() -> None:
    command_line.run(main, module=__name__)
