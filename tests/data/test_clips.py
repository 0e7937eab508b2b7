"""Clips as files and folders: which frames, which crops, which split, and what is refused."""

import logging
import pathlib
import wave

import numpy as np
import pytest

from lpd_jax.data.clips import ROUNDING_SECONDS, ClipSource, ClipWindow, open_clips
from lpd_jax.data.pictures import BadImage
from lpd_jax.runtime.clip_files import UnreadableClip, frame_times, read_frames, upright
from lpd_jax.runtime.errors import UserError
from tests.clip_writer import CODECS, cut_clip, numbered, numbers_of, write_clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Classes in English order, four formats; the mirrored half tells mirrored views."""
    root = tmp_path_factory.mktemp("clips")
    for i, suffix in enumerate(CODECS):
        write_clip(root / "train" / ("jump", "wave")[i % 2] / f"{i}{suffix}")
    write_clip(root / "val" / "wave" / "9.mp4")
    (root / "train" / "jump" / "notes.txt").write_text("no clip")
    return root


@pytest.mark.parametrize("suffix", CODECS)
def test_frames_of_every_format_come_at_their_times(suffix, folder):
    (path,) = (folder / "train").glob(f"*/*{suffix}")
    times_F = frame_times(path)
    np.testing.assert_allclose(times_F, np.arange(60) / 25, atol=0.002)
    asked = [0, 7, 7, 31, 59]
    frames = np.stack(read_frames(path.read_bytes(), asked))
    assert frames.shape == (5, 48, 64, 3) and frames.dtype == np.uint8
    np.testing.assert_array_equal(numbers_of(frames), asked)


@pytest.mark.parametrize("place", [0.0, 0.3, 0.5, 1.0])
def test_a_window_shows_what_a_player_shows_at_its_times(place):
    times_F = np.arange(60) / 25
    frames_T = ClipWindow().frames(times_F, place)
    room = 60 / 25 - 2
    start = min(place * room, room - 2 * ROUNDING_SECONDS)
    wanted = [int((start + i / 8) * 25 + 0.05) for i in range(17)]
    np.testing.assert_array_equal(frames_T, wanted)
    assert frames_T[0] >= 0 and frames_T[-1] < 60


@pytest.mark.parametrize("rate", [12, 15, 24, 23.976, 30, 60])
@pytest.mark.parametrize("place", [0.0, 0.3, 0.5, 1.0])
def test_times_in_whole_milliseconds_repeat_and_skip_no_frame(rate, place):
    """As WebM and MKV have them: 0.067 for a fifteenth of a second."""
    for num_frames in range(40, 60):
        times_F = np.round(np.arange(num_frames) / rate, 3)
        frames_T = ClipWindow(17, rate).frames(times_F, place)
        np.testing.assert_array_equal(np.diff(frames_T), 1)


def test_a_rate_that_varies_counts_in_seconds(tmp_path):
    """The first ten frames take a second and a half, then there are fifty a second."""
    times = [*range(0, 150, 15), *range(150, 350, 2)]
    path = write_clip(tmp_path / "varies.mp4", len(times[:60]), times=times[:60])
    times_F = frame_times(path)
    np.testing.assert_allclose(times_F * 100, times[:60], atol=1)
    frames_T = ClipWindow(9, 4.0).frames(times_F, 0.0)  # 0, 0.25, ... 2 seconds
    wanted = [max(i for i, t in enumerate(times) if t <= 25 * k) for k in range(9)]
    np.testing.assert_array_equal(frames_T, wanted)


def test_a_clip_that_was_cut_without_encoding_it_anew_is_whole(tmp_path):
    whole = write_clip(tmp_path / "whole.mp4", 60)
    cut = cut_clip(whole, tmp_path / "cut.mp4", 20)
    np.testing.assert_allclose(frame_times(cut), np.arange(40) / 25, atol=0.002)
    np.testing.assert_array_equal(numbers_of(np.stack(read_frames(cut, [0, 39]))), [20, 59])


def test_view_0_is_the_middle_in_time_and_space(folder):
    source = open_clips(str(folder), "validation", size=32)
    assert (len(source), source.class_names) == (1, ("jump", "wave"))
    record = source[0]
    assert record["image"].shape == (17, 32, 32, 3) and record["label"] == 1
    wanted = ClipWindow().frames(np.arange(60) / 25)
    np.testing.assert_array_equal(numbers_of(record["image"]), wanted)
    darker = record["image"][8, :, :14].mean() / record["image"][8, :, 18:].mean()
    assert 0.4 < darker < 0.6  # not mirrored, cut in the middle
    np.testing.assert_array_equal(source.view(0, 0)["image"], record["image"])


def test_other_views_are_windows_and_squares_of_their_own(folder):
    source = open_clips(str(folder), "validation", size=32, smallest_crop=0.8)
    clips = [source.view(0, view)["image"] for view in range(1, 13)]
    np.testing.assert_array_equal(source.view(0, 3)["image"], clips[2])
    firsts = {int(numbers_of(clip)[0]) for clip in clips}
    assert len(firsts) > 3 and all(0 <= first <= 10 for first in firsts)
    mirrored = [clip[9, :, :8].mean() > clip[9, :, -8:].mean() for clip in clips]
    assert 0 < sum(mirrored) < len(clips)
    edges = []
    for clip in clips:
        assert clip.shape == (17, 32, 32, 3)
        # One square serves all frames: where the dark half ends does not move.
        bright_TW = clip[6:].mean((1, 3)) > 0.75 * clip[6:].mean((1, 3)).max(1, keepdims=True)
        assert (np.ptp(bright_TW.sum(1)) <= 1).all()
        edges.append(int(bright_TW[0].sum()))
    assert len(set(edges)) > 2


def test_a_folder_without_splits_is_split_by_the_clips_names(folder, caplog):
    with caplog.at_level(logging.WARNING):
        parts = [open_clips(str(folder / "train"), split) for split in ("train", "validation")]
    names = [{source.pictures.name(i) for i in range(len(source))} for source in parts]
    assert len(names[0] | names[1]) == 4 and not names[0] & names[1] and names[1]
    assert "1 file left out, no clips: .txt (1)" in caplog.text


def test_lists_of_ucf101_say_which_clip_is_of_which_split(folder, tmp_path, monkeypatch):
    root, lists = folder / "train", tmp_path / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "classInd.txt").write_text("1 jump\r\n2 wave\r\n")
    by_notepad = "\ufeffjump/0.avi 1\r\nwave/3.gif 2\r\n"
    (lists / "trainlist02.txt").write_text(by_notepad, encoding="utf-8")
    (lists / "testlist02.txt").write_text("wave/1.mp4\njump/gone.avi\n")
    train = open_clips(str(root), "train", lists=str(lists), list_number=2, size=32)
    assert [int(train[i]["label"]) for i in range(len(train))] == [0, 1]
    assert train.description.endswith(", 17 frames at 8 a second")
    test = open_clips(str(root), "validation", lists=str(lists), list_number=2, size=32)
    assert test.read(0)[1] == 1
    with monkeypatch.context() as patches:  # a program may change its folder
        patches.chdir(root)
        near = open_clips(".", "validation", lists=str(lists), list_number=2, size=32)
        patches.chdir(tmp_path)
        assert near.read(0)[1] == 1
    with pytest.raises(BadImage, match=r"^clip .*jump/gone.avi: missing, damaged or too short"):
        test.read(1)
    for wrong, message in (
        ({"list_number": 3}, "whose trainlist03.txt cannot be read"),
        ({"list_number": 4}, "number: got 4, allowed are whole numbers from 1 to 3"),
        ({"lists": str(tmp_path)}, "whose classInd.txt cannot be read"),
    ):
        with pytest.raises(UserError, match=message):
            open_clips(str(root), "train", **({"lists": str(lists)} | wrong))
    (lists / "trainlist01.txt").write_text("swim/0.avi 3\n")
    with pytest.raises(UserError, match=r"^lists: got 'swim/0.avi' in trainlist01.txt, allowed"):
        open_clips(str(root), "train", lists=str(lists))


def write_sound(path: pathlib.Path):
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16000))


def cut(path: pathlib.Path):
    write_clip(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def announce_more(path: pathlib.Path):
    """Its header says 100 frames."""
    content = bytearray(write_clip(path).read_bytes())
    length = content.index(b"strh") + 8 + 32
    assert content[length : length + 4] == (60).to_bytes(4, "little")
    content[length : length + 4] = (100).to_bytes(4, "little")
    path.write_bytes(content)


BAD = {
    "short.mp4": (
        lambda path: write_clip(path, 40),
        "got 1.6 seconds, allowed are more than 2: 17",
    ),
    "slow.avi": (lambda path: write_clip(path, 20, 5), "got 5 frames a second, allowed are 8 and"),
    "one.gif": (lambda path: write_clip(path, 1), "got 0 seconds, allowed are more than 2"),
    # Where it is cut shows at once, or in the frame that ends there, by the number of cores.
    "cut.avi": (cut, r"damaged, or no clip of a format that is read|frame \d+ is damaged"),
    "lies.avi": (announce_more, "ends after 60 of the 100 frames that it announces"),
    "cut.mp4": (cut, "damaged, or no clip of a format that is read"),
    "text.avi": (lambda path: path.write_text("no clip"), "damaged, or no clip of a format"),
    "empty.webm": (lambda path: path.write_bytes(b""), "damaged, or no clip of a format|End of"),
    "sound.mp4": (write_sound, "holds no video, only audio"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_clip_is_named_or_skipped(name, tmp_path):
    write, problem = BAD[name]
    (tmp_path / "train" / "jump").mkdir(parents=True)
    write(tmp_path / "train" / "jump" / name)
    write_clip(tmp_path / "train" / "jump" / "whole.mp4")
    clips = open_clips(str(tmp_path), "train", size=32).pictures
    bad = next(i for i in range(2) if clips.name(i).endswith(name))
    pattern = rf"^clip .*{name}: missing, damaged or too short \(({problem}).*\); replace it, or"
    with pytest.raises(BadImage, match=pattern) as error:
        ClipSource(clips, 32).read(bad)
    assert "\n" not in str(error.value)
    skipping = ClipSource(clips, 32, skip_bad=True)
    np.testing.assert_array_equal(skipping.view(bad, 0)["image"], skipping[1 - bad]["image"])
    assert list(skipping.bad_images) == [bad]


def test_odd_sizes_and_turned_cameras(tmp_path):
    path = write_clip(tmp_path / "odd.gif", 3, size=(31, 45))
    assert read_frames(path, [2])[0].shape == (31, 45, 3)
    turned = upright(numbered(1), 90)
    assert turned.shape == (64, 48, 3) and turned[0].mean() > turned[-1].mean()
    np.testing.assert_array_equal(upright(numbered(1), -180), numbered(1)[::-1, ::-1])
    np.testing.assert_array_equal(upright(numbered(1), -0.0), numbered(1))


def test_what_is_no_window_or_frame_is_named(folder):
    for sizes, message in (
        ((0, 8), "num_frames: got 0"),
        ((17, 0), "frame_rate: got 0"),
        ((17, float("nan")), "frame_rate: got nan"),
    ):
        with pytest.raises(UserError, match=message):
            ClipWindow(*sizes)
    path = folder / "val" / "wave" / "9.mp4"
    with pytest.raises(UnreadableClip, match="^got no frame 60$"):
        read_frames(path, [3, 60])
    with pytest.raises(FileNotFoundError):
        frame_times(folder / "gone.mp4")
    assert ClipWindow(1, 8).frames(np.zeros(1)).tolist() == [0]  # a picture
