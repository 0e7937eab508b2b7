"""Pictures of a bucket, and token caches that are written to one and read from one."""

import contextlib
import json

import numpy as np
import pytest
from etils import epath

from lpd_jax.data import token_writer
from lpd_jax.data.data_config import DataConfig
from lpd_jax.data.pictures import open_images
from lpd_jax.data.token_cache import open_token_cache
from lpd_jax.data.token_folder import local_cache
from lpd_jax.data.token_plan import plan_cache, write_token_cache
from lpd_jax.runtime import bucket_mirror, leases
from lpd_jax.runtime.errors import UserError
from lpd_jax.weights.loading import Weights
from tests import tiny
from tests.buckets import folder_buckets
from tests.data import photos

TOKENIZER = Weights(tiny.VQ, tiny.random_params(tiny.VQ))
FOLDER = epath.Path("gs://bucket/tokens/train")


@pytest.fixture
def root(tmp_path, monkeypatch):
    """What lies in all buckets: photos in one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for split, count in (("Train", 3), ("val", 1)):
        photos.write_folder(tmp_path / "bucket" / "photos" / split, count)
    with folder_buckets(tmp_path):
        yield tmp_path


def config(path) -> DataConfig:
    return DataConfig(dataset="folder", path=str(path), image_size=8, num_threads=0)


def plan(path="gs://bucket/photos"):
    return plan_cache(TOKENIZER, config(path), "train", images_per_shard=4)


def write(folder, job):
    with local_cache(folder) as (local, exchange):
        write_token_cache(local, job, batch_size=4, num_threads=0, exchange=exchange)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("split", ["train", "validation"])
def test_pictures_of_a_bucket_are_those_of_the_same_folder_here(root, split, caplog):
    folder = root / "bucket" / "photos"
    (folder / "Train" / "ant" / "deep").mkdir()
    (folder / "Train" / "ant" / "deep" / "9.png").write_bytes(
        (folder / "Train" / "ant" / "0.png").read_bytes()
    )
    for hidden in (".hidden/1.png", "Train/.cat/1.png", "Train/ant/.x/1.png", "Train/ant/.1.png"):
        (folder / hidden).parent.mkdir(exist_ok=True)
        (folder / hidden).write_bytes(b"")
    (folder / "Train" / "bee" / "notes.txt").write_text("")
    here, there = (open_images(config(x), split) for x in (folder, "gs://bucket/photos"))
    assert here.description == there.description
    assert here.class_names == there.class_names == ("ant", "bee", "cow")
    assert len(here) == len(there) == (10 if split == "train" else 3)
    for one, other in zip(map(here.__getitem__, range(len(here))), there, strict=False):
        np.testing.assert_array_equal(one["image"], other["image"])
        assert one["label"] == other["label"]
    if split == "train":
        assert "gs://bucket/photos/Train: 1 file left out, no pictures: " in caplog.text


def test_a_folder_of_a_bucket_without_pictures_is_refused(root):
    with pytest.raises(UserError, match="^data.path: got 'gs://bucket/no', allowed is a folder of"):
        open_images(config("gs://bucket/no"), "train")
    (root / "bucket" / "photos" / "Train" / "ant" / "0.png").unlink()
    source = open_images(config("gs://bucket/photos"), "train")
    (root / "bucket" / "photos" / "Train" / "ant" / "1.png").unlink()
    with pytest.raises(UserError, match="^image gs://bucket/photos/Train/ant/1.png: missing or da"):
        source[0]


def test_a_cache_in_a_bucket_is_that_on_a_disk(root, tmp_path, monkeypatch):
    job = plan()
    write(tmp_path / "disk", job)
    write(FOLDER, job)
    there = root / "bucket" / "tokens" / "train"
    assert names(there) == names(tmp_path / "disk")
    for file in there.iterdir():
        assert file.read_bytes() == (tmp_path / "disk" / file.name).read_bytes()
    here, there = open_token_cache(tmp_path / "disk"), open_token_cache(FOLDER)
    assert len(here) == len(there) == 9
    for i in range(9):
        np.testing.assert_array_equal(here[i]["tokens"], there[i]["tokens"])
    # Of a finished one no shard is fetched, and none is written.
    fetched = []
    copy = bucket_mirror.buckets.copy_file
    monkeypatch.setattr(
        bucket_mirror.buckets, "copy_file", lambda *x: [fetched.append(x[0].name), copy(*x)]
    )
    write(FOLDER, job)
    assert sorted(fetched) == ["index.json", "settings.json"]


def test_a_killed_cache_in_a_bucket_goes_on(root, tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "WATCH_SECONDS", 0.1)
    job, done, write_shard = plan(), [], token_writer.write_shard

    def dies(folder, settings, shard, *others):
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(shard)
        write_shard(folder, settings, shard, *others)

    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(token_writer, "write_shard", dies)
        write(FOLDER, job)
    with pytest.raises(UserError, match="^data.path: got 'gs://bucket/tokens/train', which is unf"):
        open_token_cache(FOLDER)
    # As kill -9 leaves it.
    leases_file = root / "bucket" / "tokens" / "train" / leases.LEASE_FILE
    leases_file.write_text(json.dumps({"holder": "process 7 of host", "key": "k", "renewed": 0}))
    monkeypatch.setattr(
        token_writer,
        "write_shard",
        lambda *x: [done.append(x[2]), write_shard(*x)],
    )
    write(FOLDER, job)
    assert done == [0, 1, 2]
    assert len(open_token_cache(FOLDER)) == 9


def test_a_bucket_of_something_else_is_left_as_it_is(root, monkeypatch):
    with pytest.raises(UserError, match="^output: got 'gs://bucket/photos', which holds other fi"):
        write(epath.Path("gs://bucket/photos"), plan())
    assert names(root / "bucket" / "photos") == ["Train", "val"]
    write(FOLDER, plan())
    job = plan_cache(TOKENIZER, config("gs://bucket/photos"), "train", images_per_shard=5)
    with pytest.raises(UserError, match="^output: got 'gs://bucket/tokens/train', which holds ano"):
        write(FOLDER, job)
    monkeypatch.setattr(leases, "WATCH_SECONDS", 5.0)
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.1)
    new = epath.Path("gs://bucket/new")
    with (
        leases.leasing("output", new),
        pytest.raises(UserError, match="^output: got 'gs://bucket/new', which process"),
    ):
        write(new, plan())


def test_a_shard_that_is_missing_is_named(root):
    write(FOLDER, plan())
    shard = next((root / "bucket" / "tokens" / "train").glob("tokens-00001*"))
    shard.unlink()
    with pytest.raises(UserError, match="^data.path: got 'gs://bucket/tokens/train', whose shard"):
        open_token_cache(FOLDER)
