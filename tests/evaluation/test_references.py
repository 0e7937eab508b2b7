"""References of all makers are read, and a wrong one is told what it is and what was wanted."""

import os

import numpy as np
import pytest
from PIL import Image

from lpd_jax.evaluation import references
from lpd_jax.evaluation.gaussian import feature_statistics
from lpd_jax.evaluation.judges import FEATURES, INCEPTION, SPATIAL, Judge, open_judge
from lpd_jax.evaluation.picture_sets import ArraySet, open_pictures
from lpd_jax.evaluation.suites import Evidence, gather_evidence, measure, suites_for
from tests.evaluation import judging


class TinyInception(judging.TinyNetwork):
    """Passes for Inception, with its widths."""


def tiny_inception(monkeypatch):
    monkeypatch.setattr("lpd_jax.evaluation.judges.FEATURE_DIM", 5)
    monkeypatch.setattr("lpd_jax.evaluation.judges.SPATIAL_DIM", 3)
    monkeypatch.setattr(
        Judge,
        "taps",
        lambda self, images: {
            FEATURES: self.network.features(images),
            SPATIAL: self.network.features(images)[:, :3],
        },
    )
    return Judge(INCEPTION, TinyInception())


def gaussian(width, seed=0):
    rows = np.random.default_rng(seed).normal(size=(40, width))
    return feature_statistics(rows)


def write_adm(path, with_pictures=True, size=8):
    """What ADM publishes: float32 means, float64 covariances, some of the pictures."""
    features, spatial = gaussian(5), gaussian(3, 1)
    arrays = {
        "mu": features.mean_F.astype(np.float32),
        "sigma": features.covariance_FF,
        "mu_s": spatial.mean_F.astype(np.float32),
        "sigma_s": spatial.covariance_FF,
    }
    if with_pictures:
        judging.write_pictures(path, count=12, size=size, **arrays)
    else:
        np.savez(path, **arrays)
    return arrays


def test_adms_file_gives_both_gaussians_and_features_of_its_pictures(tmp_path, monkeypatch):
    judge = tiny_inception(monkeypatch)
    arrays = write_adm(tmp_path / "VIRTUAL_imagenet8.npz")
    found = references.load_reference(tmp_path / "VIRTUAL_imagenet8.npz", judge, (8, 8))
    np.testing.assert_array_equal(found.statistics[FEATURES].mean_F, arrays["mu"])
    np.testing.assert_array_equal(found.statistics[SPATIAL].covariance_FF, arrays["sigma_s"])
    assert found.statistics[FEATURES].num_images == 0  # the file does not say
    assert found.features_RF.shape == (12, 5) and len(found.digest) == 64
    assert found.about["pictures_in_file"] == 12


def test_torch_fidelitys_file_is_enough_for_fid_and_inception_score(tmp_path, monkeypatch):
    judge = tiny_inception(monkeypatch)
    features = gaussian(5)
    np.savez(tmp_path / "adm_in256_stats.npz", mu=features.mean_F, sigma=features.covariance_FF)
    reference = references.load_reference(tmp_path / "adm_in256_stats.npz", judge)
    rows = np.random.default_rng(2).normal(size=(30, 5)).astype(np.float32)
    drawn = gather_evidence([{FEATURES: rows[:11], SPATIAL: rows[:11, :3]}] * 2, judge)
    numbers = measure(suites_for(judge), drawn, reference, judge)
    assert numbers.keys() == {"adm", "torch_fidelity"}
    assert numbers["adm"]["fid"] == numbers["torch_fidelity"]["fid"] > 0
    missing = {name for name, value in numbers["adm"].items() if value is None}
    assert missing == {"sfid", "precision", "recall"}
    assert numbers["torch_fidelity"]["kid"] is None
    assert numbers["torch_fidelity"]["inception_score"] >= 1


def test_ours_comes_back_as_it_was_made(tmp_path):
    judge = judging.tiny_judge()
    judging.write_pictures(tmp_path / "real.npz", count=20)
    made = references.make_reference(open_pictures(str(tmp_path / "real.npz")), judge)
    references.save_reference(tmp_path / "reference.npz", made)
    back = references.load_reference(tmp_path / "reference.npz", judge, (8, 8))
    for tap, statistics in made.statistics.items():
        np.testing.assert_array_equal(back.statistics[tap].mean_F, statistics.mean_F)
        np.testing.assert_array_equal(back.statistics[tap].covariance_FF, statistics.covariance_FF)
        assert back.statistics[tap].num_images == 20
    np.testing.assert_array_equal(back.features_RF, made.features_RF)
    assert back.about["pictures"]["count"] == 20 and back.about["commit"]
    assert back.about["network"]["weights"] == "tiny"


def test_the_bundled_pictures_are_measured_once(tmp_path, monkeypatch):
    few = open_pictures("avatars12", num_images=20)
    monkeypatch.setattr(references, "open_pictures", lambda *_, **__: few)
    monkeypatch.setattr(references, "default_cache_dir", lambda: tmp_path / "cache")
    judge = judging.tiny_judge()
    first = references.open_reference("avatars12", few, judge)
    monkeypatch.setattr(judging.TinyNetwork, "features", lambda *_: 1 / 0)
    again = references.open_reference("", few, judge)  # of the bundled classes it is the default
    assert first.settings() == again.settings() and first.settings()["num_images"] == 20
    np.testing.assert_array_equal(first.features_RF, again.features_RF)
    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(ZeroDivisionError):
        references.open_reference("avatars12", few, judge)


def test_of_many_real_pictures_some_features_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(references, "MOST_FEATURES", 7)
    judging.write_pictures(tmp_path / "real.npz", count=150)
    pictures, judge = ArraySet(tmp_path / "real.npz"), judging.tiny_judge()
    made = references.make_reference(pictures, judge)
    assert made.statistics[FEATURES].num_images == 150
    (all_BHWC,) = [np.load(tmp_path / "real.npz")["arr_0"]]
    rows = np.linspace(0, 149, 7).astype(int)
    np.testing.assert_allclose(made.features_RF, judge.network.features(all_BHWC)[rows], atol=1e-6)


def test_wrong_references_say_what_they_are(tmp_path, monkeypatch):
    tiny, inception = judging.tiny_judge(), tiny_inception(monkeypatch)
    write_adm(tmp_path / "VIRTUAL_imagenet512.npz", size=16)
    np.savez(tmp_path / "wide.npz", mu=np.zeros(9), sigma=np.eye(9))
    np.savez(tmp_path / "odd.npz", weights=np.zeros(9))
    np.savez(tmp_path / "nan.npz", mu=np.full(5, np.nan), sigma=np.eye(5))
    np.savez(tmp_path / "floats.npz", arr_0=np.zeros((4, 8, 8, 3), np.float32))
    (tmp_path / "text.npz").write_text("version https://git-lfs.github.com/spec/v1\n")
    (tmp_path / "short.npz").write_bytes((tmp_path / "wide.npz").read_bytes()[:-20])
    judging.write_pictures(tmp_path / "real.npz")
    Image.new("RGB", (8, 8)).save(tmp_path / "real.png")
    np.save(tmp_path / "real.npy", np.zeros((5, 5)))
    made = references.make_reference(open_pictures(str(tmp_path / "real.npz")), inception)
    references.save_reference(tmp_path / "inception.npz", made)
    others = judging.tiny_judge()
    object.__setattr__(others, "network", TinyInception(5))
    others.network.digest = "other"
    for name, judge, words in (
        ("VIRTUAL_imagenet512.npz", inception, "of pictures of 16x16 pixels, allowed .* of 8x8"),
        ("wide.npz", inception, r"mu \(9,\) and sigma \(9, 9\), allowed are the 5 features of net"),
        ("odd.npz", inception, "which holds weights; allowed is an .npz with mu"),
        ("nan.npz", inception, "whose mu has 5 values that are not finite"),
        ("floats.npz", inception, "whose arr_0 is float32"),
        ("text.npz", inception, "a Git LFS pointer"),
        (
            "short.npz",
            inception,
            "which cannot be read: it is no .npz, or one that is cut off; all",
        ),
        ("real.png", inception, "which cannot be read: it is no .npz"),
        ("real.npy", inception, "which cannot be read: it is no .npz"),
        ("missing.npz", inception, "which is not there; allowed is an .npz"),
        ("inception.npz", others, "made with 'inception' of weights 'tiny', allowed are those of"),
    ):
        with pytest.raises(ValueError, match=f"^reference: got '.*{name}'.*{words}") as error:
            references.load_reference(tmp_path / name, judge, (8, 8))
        assert "\n" not in str(error.value)
    assert tiny.widths == {FEATURES: 5}


def write_files(folder, count=5, size=(8, 8)):
    folder.mkdir(parents=True)
    images = np.random.default_rng(0).integers(256, size=(count, *size, 3), dtype=np.uint8)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i:06d}.png")
    return images


def test_a_folder_is_read_in_order_and_cut_where_it_is_asked_for(tmp_path):
    images = write_files(tmp_path / "pictures")
    (tmp_path / "pictures" / "notes.txt").write_text("no picture")
    (tmp_path / "pictures" / ".hidden").mkdir()
    (tmp_path / "pictures" / ".hidden" / "0.png").write_bytes(b"")
    pictures = open_pictures(str(tmp_path / "pictures"))
    assert (pictures.count, pictures.size) == (5, (8, 8))
    np.testing.assert_array_equal(np.concatenate(list(pictures.batches(range(1, 4)))), images[1:4])
    assert pictures.settings()["preprocessing"] == "none"
    Image.new("RGB", (12, 8)).save(tmp_path / "pictures" / "wide.png")
    with pytest.raises(ValueError, match="wide.png' of 12x8 pixels, allowed is one size"):
        list(open_pictures(str(tmp_path / "pictures")).batches(range(6)))
    cut = open_pictures(str(tmp_path / "pictures"), image_size=4)
    assert next(cut.batches(range(6))).shape == (6, 4, 4, 3)
    assert "ADM's centre crop to 4x4" in cut.settings()["preprocessing"]


def test_pictures_drawn_anew_are_others(tmp_path):
    folder = tmp_path / "pictures"
    write_files(folder)
    before = open_pictures(str(folder)).settings()
    assert before == open_pictures(str(folder)).settings()
    os.utime(folder / "000003.png", ns=(0, 0))
    after = open_pictures(str(folder)).settings()
    assert {name for name in before if before[name] != after[name]} == {"contents"}
    told = []
    for seed in (0, 0, 1):
        judging.write_pictures(tmp_path / "p.npz", seed=seed)
        told.append(open_pictures(str(tmp_path / "p.npz")).settings()["contents"])
    assert told[0] == told[1] != told[2]


def test_a_reference_of_another_size_is_refused(tmp_path, monkeypatch):
    judge = judging.tiny_judge()
    for name, size in (("small", 8), ("large", 16)):
        judging.write_pictures(tmp_path / f"{name}.npz", size=size)
    small, large = (open_pictures(str(tmp_path / f"{name}.npz")) for name in ("small", "large"))
    references.save_reference(tmp_path / "r.npz", references.make_reference(large, judge))
    assert references.open_reference(str(tmp_path / "r.npz"), large, judge).features_RF is not None
    monkeypatch.setattr(judging.TinyNetwork, "features", lambda *_: 1 / 0)  # before it is measured
    for name, size in ((str(tmp_path / "r.npz"), "16, 16"), ("avatars12", "64, 64")):
        wanted = rf"of pictures of \[{size}\] height and width, allowed are \[8, 8\]"
        with pytest.raises(ValueError, match=f"^reference: got '.*{wanted}"):
            references.open_reference(name, small, judge)


def test_an_array_is_read_piece_by_piece(tmp_path, monkeypatch):
    monkeypatch.setattr("lpd_jax.evaluation.picture_sets.PICTURES_AT_ONCE", 4)
    images = judging.write_pictures(tmp_path / "p.npz", count=11, arr_1=np.arange(11))
    pictures = open_pictures(str(tmp_path / "p.npz"), num_images=10)
    np.testing.assert_array_equal(pictures.labels, np.arange(10))
    parts = list(pictures.batches(range(3, 10)))
    assert [len(part) for part in parts] == [4, 3]
    np.testing.assert_array_equal(np.concatenate(parts), images[3:10])
    np.savez_compressed(tmp_path / "small.npz", arr_0=images)
    small = open_pictures(str(tmp_path / "small.npz"))
    np.testing.assert_array_equal(np.concatenate(list(small.batches(range(2, 6)))), images[2:6])


def test_data_sets_by_name():
    pictures = open_pictures("avatars12", split="validation", num_images=3)
    assert (pictures.count, pictures.size, len(pictures.class_names)) == (3, (64, 64), 12)
    assert next(pictures.batches(range(2))).shape == (2, 64, 64, 3)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("", {}, "pictures: missing; allowed are a folder"),
        ("nowhere", {}, "pictures: got 'nowhere', which is not there; allowed are"),
        ("avatars12", {"num_images": 10**6}, "num_images: got 1000000, allowed are 2 to the 10800"),
        ("avatars12", {"num_images": 1}, "num_images: got 1, allowed"),
        ("empty", {}, "pictures: got '.*empty', which holds no pictures"),
        ("text.npz", {}, "pictures: got '.*text.npz', which holds no pictures"),
        ("one.npz", {}, "pictures: got 1 of '.*one.npz', allowed are 2 or more"),
    ],
)
def test_no_pictures_are_one_line(name, options, message, tmp_path):
    (tmp_path / "empty").mkdir()
    np.savez(tmp_path / "one.npz", arr_0=np.zeros((1, 8, 8, 3), np.uint8))
    (tmp_path / "text.npz").write_text("text")
    place = str(tmp_path / name) if name in ("empty", "text.npz", "one.npz") else name
    with pytest.raises(ValueError, match=f"^{message}"):
        open_pictures(place, **options)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "missing, allowed are avatars12, efficientnet, inception"),
        ("vgg", "got 'vgg', allowed are avatars12"),
        ("nowhere/inception.pth", "got 'nowhere/inception.pth', which is no file"),
    ],
)
def test_networks_that_are_not_there(name, words, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "nowhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"^network: {words}"):
        open_judge(name)


def test_inceptions_weights_are_known_by_their_digest(monkeypatch, tmp_path):
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "weights-inception-2015-12-05-6726825d.pth").write_bytes(b"something else")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ValueError, match="^network: got .*SHA-256 .* of SHA-256 6726825d"):
        open_judge(INCEPTION)


def test_evidence_in_parts_is_that_of_all(tmp_path):
    judge = judging.tiny_judge()
    rows = np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32)
    parts = gather_evidence([{FEATURES: part} for part in np.split(rows, [7, 8])], judge)
    want = feature_statistics(rows)
    assert isinstance(parts, Evidence)
    np.testing.assert_allclose(parts.statistics[FEATURES].mean_F, want.mean_F, atol=1e-12)
    np.testing.assert_allclose(
        parts.statistics[FEATURES].covariance_FF, want.covariance_FF, atol=1e-12
    )
    np.testing.assert_array_equal(parts.features_BF, rows)


def test_arrays_that_nobody_asks_for_may_be_objects(tmp_path):
    names = np.array(["cat", None], object)
    images = judging.write_pictures(tmp_path / "p.npz", count=2, arr_1=names, names=names)
    pictures = open_pictures(str(tmp_path / "p.npz"))
    assert pictures.labels is None
    np.testing.assert_array_equal(next(pictures.batches(range(2))), images)
    reference = references.load_reference(tmp_path / "p.npz", judging.tiny_judge())
    assert reference.statistics["features"].num_images == 2
