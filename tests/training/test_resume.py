"""What a run may go on with, where the tokenizer whose tokens it learns has moved."""

import pytest
from etils import epath

from lpd_jax.runtime.errors import UserError
from lpd_jax.training import loop, train
from lpd_jax.training.config import TrainConfig, config_to_json
from lpd_jax.training.resume import check_same_tokenizer
from lpd_jax.training.workdir import DATA_FILE, read_data, write_data
from tests import tiny
from tests.buckets import folder_buckets
from tests.training import toy


@pytest.fixture
def move(tmp_path, monkeypatch):
    """Trains on, to one step more, with a tokenizer of a digest at a path."""
    monkeypatch.setattr(loop, "init_boxed", toy.init_boxed)

    def run(path, digest, num_steps, class_names=()):
        task = toy.make_task()._replace(tokenizer=digest)
        task.training.class_names = class_names

        def make_task(*arguments):
            arguments[-1](digest, class_names)
            return task

        monkeypatch.setattr(loop, "make_task", make_task)
        return train(toy.MODEL, toy.config(num_steps, tokenizer=path), tmp_path / "run")

    return run


def test_a_tokenizer_may_move_and_is_the_same_by_its_digest(move, tmp_path):
    move("models/vq", "digest", 1)
    assert int(move("gs://bucket/vq", "digest", 2).step) == 2
    words = "^tokenizer: got 'models/vq' of digest other, allowed is digest, whose tokens the work"
    with pytest.raises(UserError, match=words):
        move("models/vq", "other", 3)
    assert read_data(tmp_path / "run") == {"class_names": [], "tokenizer": "digest"}


def test_of_a_run_that_does_not_know_the_digest_the_path_counts(move, tmp_path):
    move("models/vq", "digest", 1)
    (tmp_path / "run" / DATA_FILE).write_text('{"class_names": []}')
    words = "^tokenizer: got 'moved' of digest digest, allowed is only 'models/vq', whose tokens"
    with pytest.raises(UserError, match=words):
        move("moved", "digest", 2)
    assert int(move("models/vq", "digest", 2).step) == 2
    assert int(move("moved", "digest", 3).step) == 3  # now it knows


def test_the_digest_is_read_from_a_bucket(tmp_path):
    saved = config_to_json(tiny.LPD, TrainConfig(num_steps=1, batch_size=1, tokenizer="vq"))
    (tmp_path / "bucket" / "run").mkdir(parents=True)
    write_data(tmp_path / "bucket" / "run", ["cat"], "digest")
    with folder_buckets(tmp_path):
        check_same_tokenizer("moved", "digest", epath.Path("gs://bucket/run"), saved)


def test_a_run_goes_on_with_the_classes_that_it_has_learned(move, tmp_path):
    """Another token cache of as many classes would give its labels other meanings."""
    move("models/vq", "digest", 1)
    write_data(tmp_path / "run", ["cat", "dog"], "digest")
    words = "^data: got class 'owl' as number 1, allowed is 'dog', as the workdir's run has"
    with pytest.raises(UserError, match=words):
        move("models/vq", "digest", 2, ("cat", "owl"))
    assert int(move("models/vq", "digest", 2).step) == 2  # data that do not say
