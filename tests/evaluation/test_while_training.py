"""What a run reports of its pictures is what the command says of the model that it exports."""

import dataclasses
import json

import numpy as np
import pytest

from lpd_jax.data.data_config import DataConfig
from lpd_jax.data.pictures import open_images
from lpd_jax.evaluation import while_training
from lpd_jax.evaluation.drawn_pictures import Drawer
from lpd_jax.evaluation.frechet_video import fvd
from lpd_jax.evaluation.judges import Judge
from lpd_jax.evaluation.protocol import evaluate
from lpd_jax.evaluation.references import load_reference, save_reference
from lpd_jax.evaluation.while_training import EvaluationConfig, measure_pictures, open_test
from lpd_jax.models.settings import Generation
from lpd_jax.training import train
from lpd_jax.training.config import EveryConfig
from lpd_jax.training.export import load_models
from tests import tiny
from tests.clip_writer import write_clip
from tests.data import photos
from tests.evaluation import judging
from tests.training import toy


@pytest.fixture
def by_stripes(monkeypatch):
    monkeypatch.setattr(while_training, "open_judge", lambda *_: judging.tiny_judge())


def write_reference(path):
    judging.write_pictures(path.with_name("real_pictures.npz"))
    save_reference(path, judging.real_reference(path.with_name("real_pictures.npz")))
    return str(path)


def validations(workdir):
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == "validation"]


@pytest.mark.slow  # compiles a training step, and what draws, twice
def test_the_last_number_of_a_run_is_that_of_the_exported_model(tmp_path, by_stripes):
    photos.write_folder(tmp_path / "photos", per_class=12)
    tiny.write_model_directory(tmp_path / "vq", transformer=None)
    path = write_reference(tmp_path / "real.npz")
    data = DataConfig("folder", path=str(tmp_path / "photos"), image_size=8, validation_share=0.4)
    classes = len(list((tmp_path / "photos").iterdir()))
    model = dataclasses.replace(tiny.LPD, num_classes=classes)
    config = toy.config(
        2,
        data=data,
        tokenizer=str(tmp_path / "vq"),
        generation=Generation(num_steps=4, order="locality", guidance_scale=2.0, seed=3),
        evaluation=EvaluationConfig(6 * classes, "tiny", path),
        every=EveryConfig(log=0, evaluate=0, save=0, sample=0, evaluate_pictures=1),
    )
    train(model, config, tmp_path / "run")
    first, last = validations(tmp_path / "run")
    assert {"features_frechet_distance", "features_precision"} <= first.keys()
    judge = judging.tiny_judge()
    files = load_models(str(tmp_path / "run"))
    pictures = Drawer(files, "run").pictures(files.config.generation, 6 * classes)
    reference = load_reference(tmp_path / "real.npz", judge)
    record = evaluate(pictures, judge, reference, tmp_path / "out")
    want = record["metrics"]["features"]["frechet_distance"]
    assert last["features_frechet_distance"] == pytest.approx(want, rel=1e-3)


def test_a_run_judges_what_its_task_draws(tmp_path, by_stripes, monkeypatch):
    toy.install(monkeypatch)
    path = write_reference(tmp_path / "real.npz")
    config = toy.config(
        4,
        data=DataConfig(image_size=8),
        evaluation=EvaluationConfig(20, "tiny", path),
        every=EveryConfig(log=0, evaluate=2, save=0, sample=0, evaluate_pictures=4),
    )
    state = train(toy.MODEL, config, tmp_path / "run")
    lines = validations(tmp_path / "run")
    name = "features_frechet_distance"
    assert [(name in line, line["step"]) for line in lines] == [(False, 2), (True, 4)]
    test = open_test(config.evaluation, config.data, (8, 8), tmp_path)
    draw = toy.make_task().draw
    want = measure_pictures(test, lambda params, first: draw(params, first, 8, None), state.params)
    assert lines[1][name] == pytest.approx(want[name], rel=1e-6)


def test_training_pictures_are_measured_once(tmp_path, by_stripes, monkeypatch):
    photos.write_folder(tmp_path / "photos", per_class=10)
    data = DataConfig("folder", path=str(tmp_path / "photos"), image_size=8)
    config = EvaluationConfig(4, "tiny")
    first = open_test(config, data, (8, 8), tmp_path / "run")
    assert len(list((tmp_path / "run").glob(while_training.REFERENCE_FILES))) == 1
    monkeypatch.setattr(judging.TinyNetwork, "features", lambda *_: 1 / 0)
    again = open_test(config, data, (8, 8), tmp_path / "run")
    np.testing.assert_array_equal(again.reference.features_RF, first.reference.features_RF)


@pytest.mark.parametrize(
    ("fields", "data", "words"),
    [
        ({"num_images": -1}, {}, "evaluation.num_images: got -1, allowed is 0"),
        ({"num_images": 1}, {}, "evaluation.num_images: got 1, allowed is 0"),
        ({"network": "vgg"}, {}, "evaluation.network: got 'vgg', allowed are avatars12"),
        ({"network": ""}, {}, "evaluation.network: missing, allowed are avatars12"),
        ({"suites": ("adm",)}, {}, "suites: got 'adm', allowed with network 'avatars12'"),
        ({"reference": "no.npz"}, {}, "evaluation.reference: got 'no.npz', which is not there"),
        ({"reference": "wide.npz"}, {}, r"evaluation.reference: got .* with mu \(9,\)"),
        ({}, {"dataset": "tokens", "path": "x"}, "evaluation.reference: missing; a token cache"),
    ],
)
def test_what_will_fail_is_refused_before_the_first_step(
    fields, data, words, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    np.savez("wide.npz", mu=np.zeros(9), sigma=np.eye(9))
    with pytest.raises(ValueError, match=f"^{words}"):
        config = EvaluationConfig(**{"num_images": 12, "network": "avatars12"} | fields)
        open_test(config, DataConfig(**data), (64, 64), tmp_path / "run")
    assert not (tmp_path / "run").exists()


class ClipNetwork(judging.TinyNetwork):
    def protocol(self):
        return {"frames": "all"}


CLIPS = DataConfig("clips", "", "clips", image_size=8, num_frames=12, frame_rate=6.0, num_threads=0)
OF_CLIPS = (12, 8, 8)


@pytest.fixture
def clips(tmp_path, monkeypatch):
    """Eight clips to train on, and a network that judges such."""
    for i in range(8):
        write_clip(tmp_path / "clips" / "train" / f"{('jump', 'wave')[i % 2]}/{i}.mp4", 55 + i)
    monkeypatch.setattr(while_training, "open_judge", lambda *_: Judge("i3d", ClipNetwork()))
    return dataclasses.replace(CLIPS, path=str(tmp_path / "clips"))


def test_clips_are_judged_by_both_formulas_of_fvd(tmp_path, clips):
    """Against the training clips, each its window in the middle."""
    test = open_test(EvaluationConfig(7, "i3d"), clips, OF_CLIPS, tmp_path / "run")
    real = test.reference.about["pictures"]
    assert (real["size"], real["frame_rate"], real["count"]) == ([12, 8, 8], 6.0, 8)
    rng = np.random.default_rng(0)
    drawn = rng.integers(256, size=(8, *OF_CLIPS, 3)).astype(np.uint8)
    found = measure_pictures(test, lambda params, first: drawn[first : first + 4], None)
    source = open_images(clips, "train")
    real_BTHWC = np.stack([source[i]["image"] for i in range(len(source))])
    seen = [ClipNetwork().features(x) for x in (real_BTHWC, drawn[:7])]
    assert found == {
        f"{name}_fvd": pytest.approx(fvd(*seen, name), rel=1e-6) for name in ("styleganv", "tats")
    }
    save_reference(tmp_path / "real.npz", test.reference)
    config = EvaluationConfig(7, "i3d", str(tmp_path / "real.npz"))
    again = open_test(config, clips, OF_CLIPS, tmp_path / "run")
    np.testing.assert_array_equal(again.reference.features_RF, test.reference.features_RF)
    other = dataclasses.replace(clips, frame_rate=5.0)
    message = r"^evaluation.reference: got .* of clips of 6.0 frames a second, allowed are 5.0"
    with pytest.raises(ValueError, match=message):
        open_test(config, other, OF_CLIPS, tmp_path / "run")
    with pytest.raises(ValueError, match="^evaluation.reference: got .* of clips of .*12, 8, 8"):
        open_test(config, clips, (13, 8, 8), tmp_path / "run")


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((8, 8), "which judges clips; allowed for pictures of 8x8 pixels are"),
        ((5, 8, 8), "and clips of 5 frames, allowed are 10 and more"),
    ],
)
def test_a_network_of_clips_judges_no_others(size, message, tmp_path, clips):
    with pytest.raises(ValueError, match=f"^evaluation.network: got 'i3d',? {message}"):
        open_test(EvaluationConfig(7, "i3d"), clips, size, tmp_path)


def test_a_network_of_pictures_judges_no_clips(tmp_path):
    message = "^evaluation.network: got 'avatars12', which judges pictures; allowed for clips of 12"
    with pytest.raises(ValueError, match=message):
        open_test(EvaluationConfig(7, "avatars12"), CLIPS, OF_CLIPS, tmp_path)


def test_nothing_is_opened_where_nothing_is_judged(tmp_path):
    assert open_test(EvaluationConfig(0, "no.pth"), DataConfig(), (64, 64), tmp_path) is None
