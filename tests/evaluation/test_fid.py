"""FID while training: by every path the same number as the definition gives on all images."""

import dataclasses
import json

import numpy as np
import pytest

from lpd_jax.data.data_config import DataConfig
from lpd_jax.evaluation import fid as fid_module
from lpd_jax.evaluation import metrics
from lpd_jax.evaluation.fid import (
    FID,
    FIDConfig,
    check_image_size,
    measure_fid,
    open_fid,
    shared_features,
    with_reference,
)
from lpd_jax.training import train
from lpd_jax.training.config import EveryConfig
from tests.data import photos
from tests.training import toy


class Means:
    """Mean colours for features."""

    digest, num_features = "means", 3

    def features(self, images_BHWC):
        return images_BHWC.mean((1, 2)).astype(np.float32)


@pytest.fixture
def by_means(monkeypatch):
    monkeypatch.setattr(fid_module, "load_classifier", Means)


def noise(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(256, size=(count, 8, 8, 3)).astype(np.uint8)


def distance(images_BHWC, reference) -> float:
    features_BF = Means().features(images_BHWC)
    return metrics.frechet_distance(metrics.feature_statistics(features_BF), reference)


def test_a_measure_draws_so_many_and_no_more():
    images_BHWC = noise(0, 40)
    reference = metrics.feature_statistics(Means().features(noise(1, 50)))
    fid = FID(FIDConfig(30, "avatars12"), Means(), reference)
    drawn = []

    def draw(params, first):
        drawn.append((params, first))
        return images_BHWC[first : first + 16]

    got = measure_fid(fid, draw, "params")
    assert drawn == [("params", 0), ("params", 16)]
    np.testing.assert_allclose(got, distance(images_BHWC[:30], reference), rtol=1e-9)


@pytest.mark.parametrize("count", [7, 8])
def test_features_shared_over_processes_are_those_of_one(count, monkeypatch):
    images_BHWC, parts = noise(0, count), {}
    monkeypatch.setattr("jax.process_count", lambda: 3)
    for process in range(3):
        monkeypatch.setattr("jax.process_index", lambda process=process: process)
        monkeypatch.setattr(
            fid_module, "gather", lambda rows, process=process: parts.setdefault(process, rows)
        )
        shared_features(Means(), images_BHWC)
    assert {len(rows) for rows in parts.values()} == {3}
    gathered = np.concatenate([parts[process] for process in range(3)])[:count]
    np.testing.assert_array_equal(gathered, Means().features(images_BHWC))


def test_training_images_are_measured_once(tmp_path, by_means, monkeypatch):
    photos.write_folder(tmp_path / "photos", per_class=10)
    data = DataConfig("folder", path=str(tmp_path / "photos"), image_size=16)
    workdir = tmp_path / "run"
    first = with_reference(open_fid(FIDConfig(4, "avatars12"), data), data, workdir)
    source = fid_module.open_images(data, "train")
    images_BHWC = np.stack([source[i]["image"] for i in range(len(source))])
    assert first.reference.num_images == len(source)
    np.testing.assert_allclose(distance(images_BHWC, first.reference), 0, atol=1e-9)
    monkeypatch.setattr(Means, "features", lambda *_: 1 / 0)
    again = with_reference(open_fid(FIDConfig(4, "avatars12"), data), data, workdir)
    np.testing.assert_array_equal(again.reference.covariance_FF, first.reference.covariance_FF)
    # Other images, and another network, are measured anew.
    for change in ("image_size", "digest"):
        if change == "digest":
            monkeypatch.setattr(Means, "digest", "others")
        other = dataclasses.replace(data, image_size=8) if change == "image_size" else data
        with pytest.raises(ZeroDivisionError):
            with_reference(open_fid(FIDConfig(4, "avatars12"), other), other, workdir)


def test_a_run_reports_it_with_what_validates(tmp_path, by_means, monkeypatch):
    toy.install(monkeypatch)
    reference = metrics.feature_statistics(Means().features(noise(1, 50)))
    metrics.save_statistics(tmp_path / "real.npz", reference)
    config = toy.config(
        4,
        fid=FIDConfig(20, "avatars12", str(tmp_path / "real.npz")),
        every=EveryConfig(log=0, evaluate=2, save=0, sample=0, fid=4),
    )
    state = train(toy.MODEL, config, tmp_path / "run")
    lines = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    validations = [line for line in lines if line["kind"] == "validation"]
    assert [("fid" in line, line["step"]) for line in validations] == [(False, 2), (True, 4)]
    images_BHWC = toy.make_task().draw(state.params, 0, 20, None)
    np.testing.assert_allclose(validations[1]["fid"], distance(images_BHWC, reference), rtol=1e-6)
    assert validations[1]["loss"] > 0


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"num_images": -1}, r"^fid.num_images: got -1, allowed is 0 \(none\) or at least 2"),
        ({"num_images": 1}, r"^fid.num_images: got 1, allowed"),
        ({"num_images": 2}, r"^fid.network: missing; allowed are avatars12, eff"),
    ],
)
def test_a_config_that_measures_nothing_is_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        FIDConfig(**fields)


@pytest.mark.parametrize(
    ("fields", "data", "size", "words"),
    [
        ({}, {}, 256, r"^fid.network: got 'avatars12', which judges 64 pixels; allowed at 256"),
        ({"network": "no.pth"}, {}, 64, r"^fid.network: got 'no.pth', which is no file; allowed"),
        ({}, {"dataset": "tokens", "path": "x"}, 64, r"^fid.reference: missing; a token cache"),
        ({"network": "odd.npz"}, {}, 64, r"^fid.network: .*odd.npz"),
        ({"reference": "no.npz"}, {}, 64, r"^fid.reference: got 'no.npz', which is no file"),
        ({"reference": "torn.npz"}, {}, 64, r"^fid.reference: got 'torn.npz', which cannot be rea"),
        ({"reference": "wide.npz"}, {}, 64, r"^fid.reference: got 'wide.npz' of 2048 features, al"),
        ({"reference": "nan.npz"}, {}, 64, r"^fid.reference: got 'nan.npz', whose sigma has 1 val"),
        ({"reference": "inf.npz"}, {}, 64, r"^fid.reference: got 'inf.npz', whose mu has 2 values"),
        ({"reference": "skew.npz"}, {}, 64, r"^fid.reference: got 'skew.npz', whose sigma is not "),
        ({"reference": "odd.npz"}, {}, 64, r"^fid.reference: got 'odd.npz' with mu \(3,\) and sig"),
    ],
)
def test_what_will_fail_is_refused_at_once(fields, data, size, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "torn.npz").write_bytes(b"PK\x03\x04 and no more")
    np.savez(tmp_path / "odd.npz", mu=np.zeros(3), sigma=np.zeros((2, 2)))
    np.savez(tmp_path / "wide.npz", mu=np.zeros(2048, np.float16), sigma=np.eye(2048, dtype="f2"))
    np.savez(tmp_path / "nan.npz", mu=np.zeros(96), sigma=np.diag([np.nan] + [1.0] * 95))
    np.savez(tmp_path / "inf.npz", mu=np.array([np.inf, np.nan] + [0.0] * 94), sigma=np.eye(96))
    np.savez(tmp_path / "skew.npz", mu=np.zeros(96), sigma=np.triu(np.ones((96, 96))))
    config = FIDConfig(**{"num_images": 10, "network": "avatars12"} | fields)
    with pytest.raises(ValueError, match=words):
        check_image_size(config, size)
        open_fid(config, DataConfig(**data))
    nothing = FIDConfig(0, "no.pth")
    check_image_size(nothing, size)
    assert open_fid(nothing, DataConfig(**data)) is None
