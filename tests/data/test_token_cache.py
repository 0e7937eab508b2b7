"""Pictures become tokens once, whatever kills the process on the way."""

import concurrent.futures
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import signal
import socket

import jax
import numpy as np
import pytest

from lpd_jax.data.batches import ArraySource, DataConfig, Share, TrainingBatches
from lpd_jax.data.token_cache import (
    INDEX_FILE,
    SETTINGS_FILE,
    check_cache,
    check_splits,
    open_token_cache,
)
from lpd_jax.data.token_plan import images_at_once, plan_cache, write_token_cache
from lpd_jax.images import adm_center_crop
from lpd_jax.models.pixels import encode_images, most_at_once
from lpd_jax.runtime.disk_faults import DiskError
from lpd_jax.runtime.errors import UserError
from lpd_jax.runtime.locks import writing_to
from lpd_jax.training import task
from lpd_jax.training.config import TrainConfig
from lpd_jax.weights.loading import Weights
from lpd_jax.weights.parameters import weights_digest
from tests import tiny
from tests.data import photos

TOKENIZER = Weights(tiny.VQ, tiny.random_params(tiny.VQ))
COUNT, PER_SHARD = 18, 7  # 7, 7 and 4 images


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    photos.write_folder(root / "train", COUNT // 3)
    photos.write_folder(root / "val", 2)
    return root


def config(root, **fields) -> DataConfig:
    fields = {"dataset": "folder", "path": str(root), "image_size": 8, "num_threads": 2} | fields
    return DataConfig(**fields)


def plan(root, views="mirror", tokenizer=TOKENIZER, per_shard=PER_SHARD, ratios=(1.5,), **fields):
    return plan_cache(tokenizer, config(root, **fields), "train", views, ratios, per_shard)


def write(folder, job, **choices):
    write_token_cache(folder, job, **{"batch_size": 4, "num_threads": 2} | choices)
    return open_token_cache(folder)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def unbroken(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    write(folder, plan(root))
    return contents(folder)


def photo(index):
    return photos.pixels(100 * (index // 6) + index % 6)


def encode(images):
    return np.asarray(encode_images(*TOKENIZER, np.stack(images)))


def test_tokens_are_the_tokenizers_whatever_fills_the_batches(root, tmp_path):
    cache = write(tmp_path, plan(root), batch_size=3)  # of a shard 3, 3 and 1 images
    assert (len(cache), cache.num_classes, cache.num_views) == (COUNT, 3, 2)
    assert cache.class_names == photos.CLASSES
    crops = [adm_center_crop(photo(i), 8) for i in range(COUNT)]
    expected = encode(crops), encode([crop[:, ::-1] for crop in crops])
    for view in range(2):
        records = [cache.view(i, view) for i in range(COUNT)]
        np.testing.assert_array_equal([x["tokens"] for x in records], expected[view])
        assert records[0]["tokens"].dtype == records[0]["label"].dtype == np.int32
        assert [int(x["label"]) for x in records] == [i // 6 for i in range(COUNT)]
    assert [cache.image(i).id for i in range(COUNT)] == list(range(COUNT))
    assert [int(x["label"]) for x in cache] == [i // 6 for i in range(COUNT)]  # and it ends
    assert len(np.unique(expected)) > 5 and not np.array_equal(*expected)


def test_a_cache_states_the_precision_of_its_tokens(root, tmp_path):
    cache = write(tmp_path, plan(root))
    assert cache.settings.encode_precision == "float32"
    with pytest.raises(ValueError, match="encode_precision .there 'float32', here 'bfloat16'"):
        write(tmp_path, plan(root, encode_precision="bfloat16"))
    with pytest.raises(
        ValueError, match="^data.encode_precision: got 'int8', allowed are float32,"
    ):
        config(root, encode_precision="int8")
    # A cache that was finished before caches stated it is as good as it was.
    for name in ("settings.json", "index.json"):
        text = (tmp_path / name).read_text()
        assert '"encode_precision": "float32"' in text
        (tmp_path / name).write_text(
            text.replace('"encode_precision": "float32"', '"encode_precision": "unknown"')
        )
    assert write(tmp_path, plan(root)).settings.encode_precision == "unknown"


@pytest.mark.parametrize(
    ("size", "most"),
    [((8, 8), 64), ((256, 256), 64), ((512, 512), 16), ((9999, 9999), 1), ((17, 128, 128), 16)],
)
def test_a_device_encodes_no_more_at_once_than_it_has_memory_for(size, most):
    assert most_at_once(size) == most


def test_a_batch_counts_all_views_of_its_images_on_all_devices(root):
    at_once = {
        (views, num_devices): images_at_once(plan(root, views), num_devices)
        for views in ("one", "mirror", "ten_crop")
        for num_devices in (1, 8)
    }
    assert at_once == {
        ("one", 1): 64,
        ("one", 8): 512,
        ("mirror", 1): 32,
        ("mirror", 8): 256,
        ("ten_crop", 1): 6,
        ("ten_crop", 8): 51,
    }


def test_ten_crops_are_the_centre_the_corners_and_their_mirrors(root, tmp_path):
    cache = write(tmp_path, plan(root, "ten_crop"))
    large = adm_center_crop(photo(3), 12)
    starts = [(2, 2), (0, 0), (0, 4), (4, 0), (4, 4)]
    crops = [large[y : y + 8, x : x + 8] for y, x in starts]
    expected_VN = encode([*crops, *(crop[:, ::-1] for crop in crops)])
    np.testing.assert_array_equal(cache.image(3).tokens_VN, expected_VN)
    np.testing.assert_array_equal(cache[3]["tokens"], expected_VN[0])
    batch = next(TrainingBatches(cache, 64, 0, random_views=True))
    assert batch["tokens"].shape == (64, 16) and batch["labels"].shape == (64,)
    views = np.concatenate([cache.image(i).tokens_VN for i in range(COUNT)])
    drawn = {int(np.flatnonzero((views == row).all(1))[0]) % 10 for row in batch["tokens"]}
    assert len(drawn) > 7


def test_ten_crops_of_two_ratios_are_mixed_half_and_half(root, tmp_path):
    """As LlamaGen and PAR are trained; the second half of the views still mirrors the first."""
    cache = write(tmp_path / "both", plan(root, "ten_crop", ratios=(1.5, 1.25)))
    alone = [
        write(tmp_path / str(ratio), plan(root, "ten_crop", ratios=(ratio,)))
        for ratio in (1.5, 1.25)
    ]
    assert (cache.num_views, cache.settings.crop_ratios) == (20, (1.5, 1.25))
    for i in (0, COUNT - 1):
        first, second = (one.image(i).tokens_VN for one in alone)
        expected_VN = np.concatenate([first[:5], second[:5], first[5:], second[5:]])
        np.testing.assert_array_equal(cache.image(i).tokens_VN, expected_VN)
    assert not np.array_equal(first, second)
    batch = next(TrainingBatches(cache, 64, 0, random_views=True))
    views = np.concatenate([cache.image(i).tokens_VN for i in range(COUNT)])
    drawn = np.array([np.flatnonzero((views == row).all(1))[0] % 20 for row in batch["tokens"]])
    assert 16 <= (drawn // 5 % 2).sum() <= 48


def test_a_cache_of_one_ratio_from_before_there_were_several_opens(root, tmp_path, unbroken):
    for name, content in unbroken.items():
        (tmp_path / name).write_bytes(content)
    for name in (INDEX_FILE, SETTINGS_FILE):
        mapping = json.loads((tmp_path / name).read_text())
        del mapping.get("settings", mapping)["other_crop_ratios"]
        (tmp_path / name).write_text(json.dumps(mapping))
    assert open_token_cache(tmp_path).settings.crop_ratios == (1.0,)
    assert len(write(tmp_path, plan(root))) == COUNT  # and is the one that is asked for


KILLED_IN_A_SHARD = """
import os, signal, sys
import jax
jax.config.update("jax_num_cpu_devices", 8)
import pathlib
from array_record.python import array_record_module
from lpd_jax.data import token_writer
from tests.data import test_token_cache as here

class Writer(array_record_module.ArrayRecordWriter):
    written = 0
    def write(self, record):
        super().write(record)
        Writer.written += 1
        if Writer.written == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)

token_writer.ArrayRecordWriter = Writer
here.write(pathlib.Path(sys.argv[2]), here.plan(sys.argv[1]))
"""


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(root, tmp_path, unbroken):
    folder = tmp_path / "cache"
    result = tiny.run_python("-c", KILLED_IN_A_SHARD, root, folder, 10, cwd=tmp_path)
    assert result.returncode == -signal.SIGKILL, result.stderr
    left = contents(folder)
    shards = sorted(name for name in unbroken if name.startswith("tokens"))
    assert {name for name in left if not name.startswith(".")} == {SETTINGS_FILE, shards[0]}
    assert len(left) == 4  # and the shard that was being written, and the lock that died
    kept = (folder / shards[0]).stat().st_mtime_ns
    with pytest.raises(ValueError, match="which is unfinished; start the command"):
        open_token_cache(folder)
    write(folder, plan(root))
    assert contents(folder) == unbroken
    assert (folder / shards[0]).stat().st_mtime_ns == kept


def test_processes_write_their_own_shards_and_the_first_the_index(root, tmp_path, unbroken):
    with pytest.raises(ValueError, match="got no shard .*00002-of-00003.*; all processes must"):
        write_token_cache(tmp_path, plan(root), batch_size=4, share=Share(0, 2))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [SETTINGS_FILE, *(f"tokens-0000{i}-of-00003.array_record" for i in (0, 1))]
    write_token_cache(tmp_path, plan(root), batch_size=4, share=Share(1, 2))
    assert not (tmp_path / INDEX_FILE).exists()
    # Another number of processes goes on.
    write_token_cache(tmp_path, plan(root), batch_size=4, share=Share(0, 1))
    assert contents(tmp_path) == unbroken


ONE_OF_TWO = """
import pathlib, sys
import jax
jax.config.update("jax_num_cpu_devices", 4)
jax.distributed.initialize(f"127.0.0.1:{sys.argv[3]}", 2, int(sys.argv[4]))
from tests.data import test_token_cache as here
assert len(jax.devices()) == 8 and len(jax.local_devices()) == 4
here.write(pathlib.Path(sys.argv[2]), here.plan(sys.argv[1]))
"""


@pytest.mark.slow
def test_two_processes_at_once(root, tmp_path, unbroken):
    """Each waits for the other: both find the cache finished when they are done."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["-c", ONE_OF_TWO, root, tmp_path / "cache", port]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        runs = [pool.submit(tiny.run_python, *arguments, i, cwd=tmp_path) for i in range(2)]
        results = [run.result() for run in runs]
    assert [result.returncode for result in results] == [0, 0], results[0].stderr
    assert contents(tmp_path / "cache") == unbroken


def test_a_finished_cache_is_left_as_it_is(root, tmp_path, monkeypatch):
    write(tmp_path, plan(root))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    monkeypatch.setattr("lpd_jax.data.token_plan.BatchEncoder", None)
    write(tmp_path, plan(root))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_what_is_left_out_of_a_cache_is_a_damaged_image_only(root, tmp_path):
    photos.write_folder(tmp_path / "photos", 6)
    (tmp_path / "photos" / "ant" / "1.png").write_bytes(b"")
    choices = {"train_split": "all", "bad_images": "skip"}
    cache = write(tmp_path / "cache", plan(tmp_path / "photos", **choices))
    assert [cache.image(i).id for i in range(len(cache))] == [0, *range(2, COUNT)]
    whole = write(tmp_path / "whole", plan(root))
    np.testing.assert_array_equal(cache[1]["tokens"], whole[2]["tokens"])
    choices["bad_images"] = "fail"
    with pytest.raises(ValueError, match="^image .*ant/1.png: missing or damaged"):
        write(tmp_path / "failed", plan(tmp_path / "photos", **choices))
    assert [path.name for path in (tmp_path / "failed").iterdir()] == [SETTINGS_FILE]


OTHER_WEIGHTS = TOKENIZER.params | {"codebook": TOKENIZER.params["codebook"] + 1e-3}


@pytest.mark.parametrize(
    ("choices", "names"),
    [
        ({"tokenizer": TOKENIZER._replace(params=OTHER_WEIGHTS)}, ["tokenizer"]),
        ({"views": "one"}, ["views"]),
        ({"views": "ten_crop"}, ["views", "crop_ratio"]),
        ({"per_shard": 5}, ["images_per_shard"]),
        ({"image_size": 4}, ["image_size", "grid_size"]),
        ({"dataset": "avatars12", "path": ""}, ["dataset", "num_images", "num_classes"]),
        ({"train_split": "val"}, ["dataset", "num_images", "contents"]),
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_a_cache_of_something_else_is_refused(root, tmp_path, unbroken, choices, names, finished):
    for name, content in unbroken.items():
        if finished or name != INDEX_FILE:
            (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError) as error:
        write(tmp_path, plan(root, **choices))
    message = str(error.value)
    assert message.startswith(
        f"output: got {str(tmp_path)!r}, which holds another token cache; differing: "
    )
    *differing, remedy = message.split("differing: ")[1].split("; ")
    assert remedy.startswith("delete that folder")
    assert [part.split(" (there ")[0] for part in differing] == names
    assert len(contents(tmp_path)) == len(unbroken) - (not finished)


def test_an_added_image_makes_another_dataset(root, tmp_path, unbroken):
    photos.write_folder(tmp_path / "train", 6)
    one, two = (plan(folder).settings.dataset for folder in (root, tmp_path))
    assert one == two
    (tmp_path / "train" / "cow" / "9.png").write_bytes(b"")
    assert plan(tmp_path).settings.dataset != one


def test_other_files_of_the_same_names_are_another_cache_and_copies_are_not(root, tmp_path):
    for name in ("copy", "other"):
        shutil.copytree(root, tmp_path / name)
    write(tmp_path / "cache", plan(root))
    write(tmp_path / "cache", plan(tmp_path / "copy"))
    (tmp_path / "other" / "train" / "cow" / "0.png").write_bytes(b"another picture")
    with pytest.raises(ValueError, match=r"^output: .* another token cache; differing: contents"):
        write(tmp_path / "cache", plan(tmp_path / "other"))
    with pytest.raises(ValueError, match="^workdir: .* another token cache; .*; delete that fold"):
        write(tmp_path / "cache", plan(tmp_path / "other"), field="workdir")


def test_a_folder_of_other_things_or_without_permission_is_refused(root, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="^output: got .*, which holds other files; allowed is a"):
        write(tmp_path, plan(root))
    with pytest.raises(ValueError, match="^output: got .*notes.txt/new', which cannot be written"):
        write(tmp_path / "notes.txt" / "new", plan(root))
    assert contents(tmp_path) == {"notes.txt": b"mine"}


def test_a_second_writer_is_refused_and_changes_nothing(root, tmp_path):
    with writing_to("output", tmp_path / "cache"):
        before = contents(tmp_path / "cache")
        with pytest.raises(ValueError, match=f"^output: got .*, which process {os.getpid()} of .*"):
            write(tmp_path / "cache", plan(root))
        assert contents(tmp_path / "cache") == before


@pytest.mark.parametrize("name", [b"caf\xe9", b"two\nlines", b"[0:1]", b"x" * 250])
def test_a_cache_may_have_any_name_that_a_disk_takes(root, tmp_path, name, unbroken):
    folder = pathlib.Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system does not take the name")
    write(folder, plan(root))
    assert contents(folder) == unbroken
    source = open_token_cache(folder)
    assert [source.image(i).id for i in range(COUNT)] == list(range(COUNT))


def truncate(folder, name="tokens-00001-of-00003.array_record"):
    path = folder / name
    path.write_bytes(path.read_bytes()[:-100])


def remove(folder):
    (folder / "tokens-00001-of-00003.array_record").unlink()


def newer(folder):
    index = json.loads((folder / INDEX_FILE).read_text())
    index["settings"]["format_version"] = 2
    (folder / INDEX_FILE).write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (remove, r"whose shard tokens-00001-of-00003.array_record is damaged \(missing\)"),
        (truncate, r"tokens-00001-of-00003.array_record is damaged \([\d,]+ bytes in place of"),
        (
            lambda folder: truncate(folder, INDEX_FILE),
            "token cache: .*index.json', which is damaged",
        ),
        (newer, r"index.json', which is damaged \(format_version: got 2, allowed is 1\)"),
        (lambda folder: (folder / INDEX_FILE).write_text("[]"), "index.json', which is damaged"),
        (lambda folder: [x.unlink() for x in folder.iterdir()], "which holds no token cache; all"),
    ],
)
def test_a_damaged_cache_is_named_when_it_is_opened(tmp_path, unbroken, harm, message):
    for name, content in unbroken.items():
        (tmp_path / name).write_bytes(content)
    harm(tmp_path)
    with pytest.raises(ValueError, match=message) as error:
        open_token_cache(tmp_path)
    assert "\n" not in str(error.value)


def test_where_a_cache_is_missing_it_is_told_what_makes_it(tmp_path, unbroken):
    (tmp_path / "train").mkdir()
    for name, content in unbroken.items():
        (tmp_path / "train" / name).write_bytes(content)
    with pytest.raises(ValueError, match="what launch/cache_tokens.py writes with --split=valida"):
        open_token_cache(tmp_path / "validation")
    # `data.path` was given as the folder of one split.
    words = f"^data.path: got .*, but {tmp_path / 'train'} is the cache of one split; allowed is"
    with pytest.raises(ValueError, match=words):
        open_token_cache(tmp_path / "train" / "train")


def test_a_record_that_cannot_be_opened_is_not_called_damaged(tmp_path, unbroken):
    for name, content in unbroken.items():
        (tmp_path / name).write_bytes(content)
    cache = open_token_cache(tmp_path)
    (tmp_path / "tokens-00001-of-00003.array_record").unlink()  # as if the disk were gone
    with pytest.raises(DiskError, match="^token cache .*: record 8 could not be read .*No such "):
        cache[8]


def test_a_damaged_record_is_named_when_it_is_read(tmp_path, unbroken):
    for name, content in unbroken.items():
        (tmp_path / name).write_bytes(content)
    tokens = open_token_cache(tmp_path).image(2).tokens_VN.astype("<u2").tobytes()
    shard = tmp_path / "tokens-00000-of-00003.array_record"
    content = bytearray(shard.read_bytes())
    content[content.index(tokens) + 3] ^= 1
    shard.write_bytes(content)
    cache = open_token_cache(tmp_path)
    with pytest.raises(
        ValueError, match=r"^token cache: .* whose record 2 is damaged \(.*hash mismatch"
    ):
        cache[2]
    assert cache[3]["tokens"].shape == (16,)


def test_a_damaged_shard_is_named_before_the_index_is_written(root, tmp_path, unbroken):
    for name, content in unbroken.items():
        if name != INDEX_FILE:
            (tmp_path / name).write_bytes(content)
    truncate(tmp_path)
    with pytest.raises(
        ValueError, match="shard .*00001-of-00003.array_record, which is damaged; delete"
    ):
        write(tmp_path, plan(root))
    remove(tmp_path)
    write(tmp_path, plan(root))
    assert contents(tmp_path) == unbroken


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"grid_size": (8, 8)}, "model.grid_size: got (8, 8), allowed is (4, 4), as the tokens of"),
        (
            {"codebook_size": 64},
            "model.codebook_size: got 64, allowed is 32, as the tokens of fold",
        ),
        ({"num_classes": 4}, "model.num_classes: got 4, allowed is 3, as the tokens of folder tra"),
    ],
)
def test_tokens_that_do_not_fit_the_transformer_are_refused(root, fields, message):
    settings = plan(root).settings
    with pytest.raises(ValueError) as error:
        check_cache(settings, dataclasses.replace(tiny.LPD, **fields), settings.tokenizer)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"per_shard": 0}, "images_per_shard: got 0, allowed is at least 1"),
        ({"views": "two"}, "views: got 'two', allowed are one, mirror, ten_crop"),
        ({"dataset": "tokens", "image_size": 0}, "data.dataset: got 'tokens', which holds no imag"),
    ],
)
def test_a_cache_that_cannot_be_is_refused(root, choices, message):
    with pytest.raises(ValueError) as error:
        plan(root, **choices)
    assert str(error.value).startswith(message)


def test_pixels_that_are_no_whole_grid_are_refused(root):
    with pytest.raises(ValueError, match="^data.image_size: got 9x9 pixels, allowed .* of 2"):
        plan(root, image_size=9)


def test_the_digest_is_of_every_weight_and_the_config():
    digests = {weights_digest(TOKENIZER.params, TOKENIZER.config)}
    leaves, tree = jax.tree.flatten(TOKENIZER.params)
    for i in (0, len(leaves) // 2, len(leaves) - 1):
        changed = [leaf + 1e-3 if k == i else leaf for k, leaf in enumerate(leaves)]
        digests.add(weights_digest(tree.unflatten(changed), tiny.VQ))
    folding = dataclasses.replace(tiny.VQ, patch_size=4)
    digests.add(weights_digest(TOKENIZER.params, folding))
    assert len(digests) == 5
    assert weights_digest(jax.tree.map(np.array, TOKENIZER.params), tiny.VQ) in digests


def train_config(data, **fields) -> TrainConfig:
    return TrainConfig(num_steps=1, batch_size=8, data=data, **fields)


def test_a_run_encodes_its_images_once_and_a_cache_needs_none(root, tmp_path, monkeypatch):
    def open_tokens(data, workdir=tmp_path / "run"):
        return task.open_tokens(tiny.LPD, train_config(data), TOKENIZER, workdir)

    training, validation = open_tokens(config(root, random_views=True))
    assert (len(training), training.num_views, len(validation)) == (COUNT, 2, 6)
    monkeypatch.setattr("lpd_jax.data.token_plan.BatchEncoder", None)
    again, _ = open_tokens(config(root, random_views=True))
    np.testing.assert_array_equal(again[5]["tokens"], training[5]["tokens"])
    with pytest.raises(ValueError, match=r"differing: views \(there 'mirror', here 'one'\)"):
        open_tokens(config(root))
    # The folders are what launch/cache_tokens.py writes, too.
    data = DataConfig("tokens", path=str(tmp_path / "run" / "tokens"), random_views=True)
    cached, _ = open_tokens(data, tmp_path / "other")
    np.testing.assert_array_equal(cached[5]["tokens"], training[5]["tokens"])
    assert not (tmp_path / "other").exists()
    other = TOKENIZER._replace(params=OTHER_WEIGHTS)
    with pytest.raises(ValueError, match="^tokenizer: got one of digest .*, which made the token"):
        task.open_tokens(tiny.LPD, train_config(data), other, tmp_path / "other")
    split = dataclasses.replace(data, train_split="validation")
    with pytest.raises(ValueError, match="^data.random_views: got True, but the token cache holds"):
        open_tokens(split)


def test_what_a_run_has_not_learned_is_refused_before_it_is_encoded(root, tmp_path):
    """To make room for it, the run's own tokens had to be deleted first."""

    def refuse(digest, class_names):
        assert digest == weights_digest(TOKENIZER.params, TOKENIZER.config)
        assert list(class_names) == list(photos.CLASSES)
        raise UserError("tokenizer: another")

    data = config(root, random_views=True)
    arguments = (tiny.LPD, train_config(data), TOKENIZER, tmp_path / "run", None)
    with pytest.raises(UserError, match="^tokenizer: another"):
        task.open_tokens(*arguments, refuse)
    assert not (tmp_path / "run").exists()


def test_an_option_that_came_later_names_only_the_tokenizers_that_use_it():
    """Caches of ImageNet took days, and stand for the tokenizer that made them."""
    first = "base_channels channel_multipliers num_res_blocks z_channels codebook_size codebook_dim"
    names = sorted([*first.split(), "image_channels", "patch_size"])
    fields = repr([(name, getattr(tiny.VQ, name)) for name in names])
    assert weights_digest({}, tiny.VQ) == hashlib.sha256(fields.encode()).hexdigest()[:16]
    for option in ({"upsampling": "subpixel"}, {"attention": "none"}, {"decoder_blocks": 2}):
        other = dataclasses.replace(tiny.VQ, **option)
        assert weights_digest({}, other) != weights_digest({}, tiny.VQ)


def test_a_cache_without_an_image_is_refused(tmp_path):
    photos.write_folder(tmp_path / "train", 1)
    for file in tmp_path.rglob("*.png"):
        file.write_bytes(b"no picture")
    with pytest.raises(ValueError, match="^data.path: got '.*', a token cache without an image"):
        write(tmp_path / "tokens", plan(tmp_path, bad_images="skip"))
    with pytest.raises(ValueError, match="^source: its length: got 0, allowed are whole numb"):
        TrainingBatches(ArraySource({"label": np.zeros(0)}), 1, 0)


def test_training_and_validation_have_the_same_classes(root):
    settings = plan(root).settings
    check_splits(settings, dataclasses.replace(settings, class_names=()))
    other = dataclasses.replace(settings, class_names=("ant", "cow", "bee"))
    words = "^data.path: got class 'cow' as number 1 of validation, allowed is 'bee', as in tr"
    with pytest.raises(ValueError, match=words):
        check_splits(settings, other)
