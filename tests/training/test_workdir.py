"""A run's folder on a disk, and in a bucket that takes whole files only."""

import concurrent.futures
import contextlib
import os
import pathlib
import threading

import numpy as np
import pytest

from lpd_jax.data import token_writer
from lpd_jax.data.batches import DataConfig, Share
from lpd_jax.data.token_cache import open_token_cache
from lpd_jax.data.token_plan import plan_cache, write_token_cache
from lpd_jax.evaluation.fid import measure_training_images
from lpd_jax.runtime.errors import UserError
from lpd_jax.training.config import TrainConfig
from lpd_jax.training.task import make_task
from lpd_jax.training.workdir import Workdir, read_class_names, write_data
from lpd_jax.weights.loading import Weights
from tests import tiny
from tests.buckets import folder_buckets
from tests.data import photos

BUCKET = "gs://bucket/run"


@pytest.fixture
def bucket(tmp_path):
    """Where the files of `BUCKET` lie."""
    with folder_buckets(tmp_path):
        yield tmp_path / "bucket" / "run"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    for split in ("train", "val"):
        photos.write_folder(root / split, 4)
    return DataConfig(dataset="folder", path=str(root), image_size=8, num_threads=0)


def contents(folder):
    """Files by their paths in the folder; the tables of checkpoints are another matter."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_on_a_disk_everything_is_written_in_place(tmp_path):
    workdir = Workdir(tmp_path / "run")
    assert workdir.local == tmp_path / "run"
    assert pathlib.Path(workdir.checkpoints) == tmp_path / "run" / "checkpoints"
    workdir.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["runs\\a", b"caf\xe9"])
def test_a_name_that_no_checkpoint_comes_back_from_is_refused(tmp_path, name):
    with pytest.raises(UserError, match="^workdir: got .*, allowed are paths of UTF-8 .*backslash"):
        Workdir(tmp_path / os.fsdecode(name))


def test_a_bucket_gets_what_is_new(bucket):
    workdir = Workdir(BUCKET)
    assert str(workdir.checkpoints) == "gs://bucket/run/checkpoints"
    (workdir.local / "metrics.jsonl").write_text("1\n")
    (workdir.local / "samples").mkdir()
    (workdir.local / "samples" / "a.png").write_bytes(b"picture")
    (workdir.local / ".half.writing-1").write_bytes(b"hal")
    workdir.push()
    (bucket / "samples" / "a.png").write_bytes(b"not written again")
    with open(workdir.local / "metrics.jsonl", "a") as file:
        file.write("2\n")
    local = workdir.local
    workdir.close()
    assert contents(bucket) == {
        "metrics.jsonl": b"1\n2\n",
        "samples/a.png": b"not written again",
    }
    assert not local.exists()
    # A resumed run adds lines.
    with contextlib.closing(Workdir(BUCKET)) as resumed:
        assert contents(resumed.local) == {"metrics.jsonl": b"1\n2\n"}


def test_what_other_processes_wrote_since_is_pulled_and_is_not_pushed_back(bucket):
    with contextlib.closing(Workdir(BUCKET)) as workdir:
        (workdir.local / "metrics.jsonl").write_text("longer here\n")
        shard = bucket / "tokens" / "train" / "shard"
        shard.parent.mkdir(parents=True)
        shard.write_bytes(b"tokens")
        (bucket / "metrics.jsonl").write_text("old\n")
        workdir.pull()
        got = contents(workdir.local)
        assert got == {"metrics.jsonl": b"longer here\n", "tokens/train/shard": b"tokens"}
        shard.unlink()
        workdir.push()
        assert not shard.exists()


def test_lines_that_the_last_writer_added_until_it_left_stay(bucket):
    bucket.mkdir(parents=True)
    (bucket / "metrics.jsonl").write_text("1\n")
    with contextlib.closing(Workdir(BUCKET)) as workdir:
        (bucket / "metrics.jsonl").write_text("1\n2\n")  # after this one opened the folder
        with workdir.sole_writer(), open(workdir.local / "metrics.jsonl", "a") as file:
            file.write("3\n")
        assert (bucket / "metrics.jsonl").read_text() == "1\n2\n3\n"


def test_a_resumed_run_of_a_bucket_encodes_nothing_again(bucket, data, tmp_path, monkeypatch):
    tiny.write_model_directory(tmp_path / "tokenizer", transformer=None)
    config = TrainConfig(1, 4, tokenizer=str(tmp_path / "tokenizer"), data=data)
    with contextlib.closing(Workdir(BUCKET)) as place:
        first = make_task(tiny.LPD, config, place.local, place).training
        first = [first[i] for i in range(len(first))]
    monkeypatch.setattr(token_writer, "write_shard", lambda *_: pytest.fail("encodes again"))
    with contextlib.closing(Workdir(BUCKET)) as place:
        again = make_task(tiny.LPD, config, place.local, place).training
        assert len(again) == len(first) == 12
        for one, other in zip(first, map(again.__getitem__, range(len(again))), strict=True):
            np.testing.assert_array_equal(one["tokens"], other["tokens"])


def test_a_resumed_run_of_a_bucket_measures_no_image_again(bucket, data):
    class Means:
        digest = "means"

        def features(self, images_BHWC):
            return images_BHWC.mean((1, 2)).astype(np.float32)

    class Fails(Means):
        def features(self, images_BHWC):
            pytest.fail("measures again")

    with contextlib.closing(Workdir(BUCKET)) as place:
        first = measure_training_images(Means(), data, place.local)
    with contextlib.closing(Workdir(BUCKET)) as place:
        again = measure_training_images(Fails(), data, place.local)
    np.testing.assert_array_equal(first.mean_F, again.mean_F)


def test_processes_with_folders_of_their_own_end_with_the_same_tokens(
    bucket, data, tmp_path, monkeypatch
):
    """Three, as threads: each has a share of the shards, and waits where processes would."""
    count = 3
    barrier = threading.Barrier(count, timeout=60)
    monkeypatch.setattr(token_writer, "wait_for_all", lambda event: barrier.wait())
    tokenizer = Weights(tiny.VQ, tiny.random_params(tiny.VQ))
    job = plan_cache(tokenizer, data, "train", images_per_shard=2)
    places = [Workdir(BUCKET) for _ in range(count)]

    def write(index):
        folder = places[index].local / "tokens" / "train"
        options = {"batch_size": 4, "num_threads": 0, "share": Share(index, count)}
        write_token_cache(folder, job, **options, exchange=places[index])
        return contents(folder)

    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        written = list(pool.map(write, range(count)))
    barrier.wait = lambda: None
    write_token_cache(tmp_path / "alone", job, batch_size=4, num_threads=0, share=Share(0, 1))
    assert len(open_token_cache(tmp_path / "alone")) == 12
    for got in (*written, contents(bucket / "tokens" / "train")):
        assert got == contents(tmp_path / "alone")
    for place in places:
        place.close()


def test_class_names_are_read_from_a_disk_and_from_a_bucket(bucket, tmp_path):
    with contextlib.closing(Workdir(BUCKET)) as place:
        write_data(place.local, ["cat", "dog"])
    with contextlib.closing(Workdir(BUCKET)) as place:
        assert read_class_names(place.path) == ["cat", "dog"]
    assert read_class_names(bucket) == ["cat", "dog"]
    assert read_class_names(tmp_path) == []
    for text in ("{", "[]", "{}", '{"class_names": [1]}'):
        (tmp_path / "data.json").write_text(text)
        with pytest.raises(
            ValueError, match="^workdir: got .*data.json', which is damaged .*; delete it$"
        ):
            read_class_names(tmp_path)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"^workdir: got .*is a file; allowed is a new folder"):
        Workdir(tmp_path / "file")


def test_no_name_is_not_the_current_folder():
    with pytest.raises(ValueError, match="^workdir: got '', allowed is a path$"):
        Workdir("")


def test_a_folder_whose_name_is_no_text_is_refused_before_anything_is_written(tmp_path):
    """No checkpoint could be written there, which would show after hours."""
    with pytest.raises(ValueError, match=r"^workdir: got '.*caf\\udce9/run', allowed are path"):
        Workdir(tmp_path / "caf\udce9" / "run")
    assert not list(tmp_path.iterdir())
