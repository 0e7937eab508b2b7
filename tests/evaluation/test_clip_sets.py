"""Clips to judge: which frames of which files, what is left out, what is refused; whole FVD."""

import dataclasses
import json
import os
import wave

import numpy as np
import pytest
import safetensors.numpy

from lpd_jax.data.clips import ClipWindow
from lpd_jax.evaluation import judges
from lpd_jax.evaluation.clip_sets import ClipChoices, open_clip_set
from lpd_jax.evaluation.frechet_video import fvd
from lpd_jax.evaluation.judges import FEATURES, Judge, open_judge
from lpd_jax.evaluation.picture_sets import open_pictures
from lpd_jax.evaluation.protocol import evaluate, table
from lpd_jax.evaluation.rebuilt_pictures import RebuiltPictures
from lpd_jax.evaluation.reconstruction import psnr
from lpd_jax.evaluation.references import (
    load_reference,
    make_reference,
    open_reference,
    save_reference,
)
from lpd_jax.runtime.errors import UserError
from lpd_jax.weights.loading import Weights
from tests import tiny
from tests.clip_writer import numbers_of, write_clip
from tests.evaluation import judging

PAR = dataclasses.replace(tiny.PAR, grid_size=(4, 4, 4))
SHORT = ClipChoices(13, 8.0)


class ClipNetwork(judging.TinyNetwork):
    """Stripes of the first frames; 5 features."""

    digest = "tiny-clips"

    def protocol(self):
        return {"frames": "the first 12"}

    def features(self, clips_BTHWC):
        return super().features(clips_BTHWC[:, :12])


def clip_judge():
    return Judge("i3d", ClipNetwork())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eight clips of 2.4 seconds and two that are too short."""
    root = tmp_path_factory.mktemp("clips")
    for i in range(8):
        write_clip(root / ("jump", "wave")[i % 2] / f"{i}.mp4", rate=25 + i)
    write_clip(root / "jump" / "short.mp4", 30)
    write_clip(root / "wave" / "slow.avi", 20, 5)
    (root / "notes.txt").write_text("no clip")
    return root


def test_clips_are_windows_of_the_middle_and_short_ones_are_left_out(folder):
    found = open_clip_set(str(folder), image_size=32, choices=ClipChoices(12, 8.0))
    assert (found.count, found.size) == (8, (12, 32, 32))
    said = found.settings()
    assert (said["too_short"], said["frame_rate"], said["window"]) == (2, 8.0, "middle")
    (clips_BTHWC,) = found.batches(range(found.count))
    assert clips_BTHWC.shape == (8, 12, 32, 32, 3) and clips_BTHWC.dtype == np.uint8
    rate = 25 + 2  # jump/2.mp4, the second by name
    wanted = ClipWindow(12, 8.0).frames(np.arange(60) / rate)
    np.testing.assert_array_equal(numbers_of(clips_BTHWC[1]), wanted)
    (part_BTHWC,) = found.batches(range(3, 5))
    np.testing.assert_array_equal(part_BTHWC, clips_BTHWC[3:5])


def test_some_clips_are_taken_at_random_and_windows_too(folder):
    middle = open_clip_set(str(folder), image_size=32, choices=SHORT, num_clips=6)
    again = open_clip_set(str(folder), image_size=32, choices=SHORT, num_clips=6)
    assert middle.count == 6 and middle.settings() == again.settings()
    rows = [row for row, _ in middle.found]
    assert rows == [row for row, _ in again.found] and rows != sorted(rows)
    assert middle.settings()["chosen"] == "at random, seed 0"
    before = middle.settings()
    os.utime(folder / "jump" / "0.mp4", ns=(0, 0))
    others = open_clip_set(str(folder), image_size=32, choices=SHORT, num_clips=6).settings()
    assert {name for name in before if before[name] != others[name]} == {"split"}
    drawn = dataclasses.replace(SHORT, window="random")
    random = open_clip_set(str(folder), image_size=32, choices=drawn, num_clips=6)
    assert [row for row, _ in random.found] == rows
    starts = [[frames_T[0] for _, frames_T in found.found] for found in (middle, random)]
    assert starts[0] != starts[1] and len(set(starts[1])) > 2


def test_lists_say_which_clips(folder, tmp_path):
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "classInd.txt").write_text("1 jump\n2 wave\n")
    (lists / "trainlist01.txt").write_text("jump/0.mp4 1\nwave/1.mp4 2\njump/2.mp4 1\n")
    (lists / "testlist01.txt").write_text("wave/3.mp4\njump/gone.mp4\n")
    choices = ClipChoices(9, 8.0, lists=str(lists))
    found = open_clip_set(str(folder), image_size=16, choices=choices)
    assert found.count == 3 and found.settings()["split"].startswith("trainlist01, list of files")
    choices = dataclasses.replace(choices, split="validation")
    with pytest.raises(UserError, match="^pictures: got '.*gone.mp4': .*No such file"):
        open_clip_set(str(folder), image_size=16, choices=choices)


def test_what_is_no_set_of_clips_is_one_line(folder, tmp_path):
    judging.write_pictures(tmp_path / "pictures.npz")
    (tmp_path / "empty").mkdir()
    for name, message in (
        ("", "missing; allowed are a folder of clips"),
        ("nowhere", "got 'nowhere', which is not there"),
        (str(tmp_path / "empty"), "got '.*empty', which holds no clips"),
        (str(tmp_path / "pictures.npz"), "got '.*pictures.npz', which holds pictures"),
    ):
        with pytest.raises(UserError, match=f"^pictures: {message}"):
            open_clip_set(name, image_size=16)
    with pytest.raises(UserError, match="^image_size: got 0, allowed for a folder of clips"):
        open_clip_set(str(folder))
    with pytest.raises(UserError, match="of 8 clips that are long enough, allowed are 9 and more"):
        open_clip_set(str(folder), image_size=16, choices=SHORT, num_clips=9)
    too_long = ClipChoices(17, 4.0)
    message = r"of 0 clips .*; of those left out the first is .*0.mp4 \(got 2.4 seconds, allowed"
    with pytest.raises(UserError, match=message):
        open_clip_set(str(folder), image_size=16, choices=too_long)
    for field, wrong in (("window", "first"), ("split", "test"), ("num_frames", 0)):
        with pytest.raises(UserError, match=f"^{field}: got"):
            ClipChoices(**{field: wrong})
    with pytest.raises(UserError, match=r"which holds no pictures; .* of clips, with network=i3d"):
        open_pictures(str(folder))


@pytest.mark.parametrize(
    ("name", "problem"),
    [("sound.mp4", "holds no video, only audio"), ("text.avi", "damaged, or no clip")],
)
def test_a_damaged_clip_is_named_before_anything_is_judged(name, problem, tmp_path):
    write_clip(tmp_path / "whole.mp4")
    if name == "sound.mp4":
        with wave.open(str(tmp_path / name), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(8000)
            sound.writeframes(bytes(16000))
    else:
        (tmp_path / name).write_text("no clip")
    with pytest.raises(UserError, match=f"^pictures: got '.*{name}': {problem}") as caught:
        open_clip_set(str(tmp_path), image_size=16)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "clips"
    size = (13, 16, 16)
    tiny.write_model_directory(path, PAR, tiny.VIDEO, size, order="region", num_steps=None)
    return path


@pytest.fixture(scope="module")
def drawn(model):
    return judging.drawn(model, num_images=12)  # 4 at a time: one program


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """An array of clips, as they are saved."""
    path = tmp_path_factory.mktemp("noise") / "clips.npz"
    clips = np.random.default_rng(0).integers(0, 256, (12, 13, 16, 16, 3), np.uint8)
    np.savez(path, arr_0=clips)
    return open_clip_set(str(path))


def test_a_model_is_judged_by_both_formulas_and_killed_work_goes_on(drawn, folder, tmp_path):
    judge = clip_judge()
    reference = open_reference(str(folder), drawn, judge, clips=SHORT)
    assert reference.about["pictures"]["size"] == [13, 16, 16] == list(drawn.size)
    record = evaluate(drawn, judge, reference, tmp_path / "out", shard_size=4, save="npz")
    with np.load(tmp_path / "out" / "pictures.npz") as saved:
        clips_BTHWC = saved["arr_0"]
    assert clips_BTHWC.shape == (12, 13, 16, 16, 3)
    real_NF = np.asarray(reference.features_RF)
    drawn_NF = judge.taps(clips_BTHWC)[FEATURES]
    for name in ("styleganv", "tats"):
        want = fvd(real_NF, drawn_NF, name)
        assert record["metrics"][name]["fvd"] == pytest.approx(want, rel=1e-6)
    assert record["network"]["frames"] == "the first 12"
    about = record["reference"]["about"]["pictures"]
    assert (about["frame_rate"], about["window"], about["count"]) == (8.0, "middle", 8)
    header, _, *rows = table([record])
    assert "FVD" in header and [row.split("|")[3].strip() for row in rows] == [
        "styleganv, i3d",
        "tats, i3d",
    ]
    (tmp_path / "out" / "shards" / "00001-of-00003.npz").unlink()
    again = evaluate(drawn, judge, reference, tmp_path / "out", shard_size=4)
    assert again["metrics"] == record["metrics"]
    # The clips that were kept are judged alike.
    kept = open_clip_set(str(tmp_path / "out" / "pictures.npz"))
    others = evaluate(kept, judge, reference, tmp_path / "kept")
    assert others["metrics"]["tats"]["fvd"] == pytest.approx(record["metrics"]["tats"]["fvd"])
    with pytest.raises(UserError, match="^save: got 'png', allowed for clips is npz"):
        evaluate(drawn, judge, reference, tmp_path / "png", shard_size=4, save="png")


def test_references_of_other_clips_are_refused(noise, folder, tmp_path):
    judge = clip_judge()
    other = open_clip_set(str(folder), image_size=16, choices=ClipChoices(12, 8.0))
    save_reference(tmp_path / "short.npz", make_reference(other, judge))
    message = r"^reference: got '.*short.npz' of clips of \[12, 16, 16\] frames, height and width, "
    with pytest.raises(UserError, match=message + r"allowed are \[13, 16, 16\]"):
        open_reference(str(tmp_path / "short.npz"), noise, judge)
    slow = open_clip_set(str(folder), image_size=16, choices=ClipChoices(12, 6.0))
    with pytest.raises(UserError, match="of clips of 8.0 frames a second, allowed are 6.0"):
        open_reference(str(tmp_path / "short.npz"), slow, judge)
    with pytest.raises(UserError, match="^reference: missing; .* a folder of clips"):
        open_reference("", noise, judge)


def test_a_reference_without_a_number_has_no_distance_by_styleganv(noise, tmp_path):
    judge = clip_judge()
    judged = make_reference(noise, judge)
    mean_F, covariance_FF, _ = judged.statistics[FEATURES]
    np.savez(tmp_path / "bare.npz", mu=mean_F, sigma=covariance_FF)
    bare = load_reference(tmp_path / "bare.npz", judge)
    record = evaluate(noise, judge, bare, tmp_path / "out")
    assert record["metrics"]["styleganv"] == {"fvd": None}
    assert record["metrics"]["tats"]["fvd"] == pytest.approx(0, abs=1e-4)


def test_pictures_and_clips_have_networks_of_their_own(noise, tmp_path):
    pictures = judging.tiny_judge()
    message = "^network: got 'efficientnet', which judges pictures; allowed for clips of 13x16x16"
    with pytest.raises(UserError, match=message):
        open_reference("somewhere", noise, pictures)
    with pytest.raises(UserError, match="'i3d', which judges clips; .* of 8x8 pixels are eff"):
        clip_judge().check_size((8, 8))
    with pytest.raises(UserError, match="'i3d' and clips of 5 frames, allowed are 10 and more"):
        clip_judge().check_size((5, 8, 8))
    reference = make_reference(noise, clip_judge())
    with pytest.raises(UserError, match="'adm', allowed with network 'i3d' are styleganv, tats"):
        evaluate(noise, clip_judge(), reference, tmp_path, suites=["adm"])


def test_a_tokenizer_of_clips_is_judged_frame_by_frame(folder, tmp_path):
    tokenizer = Weights(tiny.VIDEO, tiny.random_params(tiny.VIDEO))
    originals = open_clip_set(str(folder), image_size=16, choices=SHORT)
    rebuilt = RebuiltPictures(tokenizer, "clips", originals)
    record = evaluate(
        rebuilt, clip_judge(), make_reference(originals, clip_judge()), tmp_path / "out"
    )
    (clips_BTHWC,) = originals.batches(range(originals.count))
    (again_BTHWC,) = rebuilt.batches(range(rebuilt.count))
    frames = [x.reshape(-1, 16, 16, 3) for x in (clips_BTHWC, again_BTHWC)]
    want = float(np.asarray(psnr(*frames)).mean())
    assert record["metrics"]["reconstruction"]["psnr"] == pytest.approx(want, rel=1e-5)
    assert record["metrics"]["tats"]["fvd"] > 0
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text()) == record


def test_weights_of_i3d_are_known_by_their_names(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match="^network: got '', and i3d_pretrained_400.pt is in none"):
        open_judge("i3d")
    asked = []
    monkeypatch.setattr(judges, "load_i3d", lambda path: asked.append(path) or ClipNetwork())
    tiny_file = tmp_path / "renamed.safetensors"
    weights = {"Conv3d_1a_7x7.conv3d.weight": np.zeros((2, 3, 7, 7, 7), np.float32)}
    safetensors.numpy.save_file(weights, tiny_file)
    found = open_judge(str(tiny_file))
    assert found.judges_clips and asked == [tiny_file] and found.warning == ""
