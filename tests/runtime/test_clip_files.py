"""Clips written: what a reader gets back, when, and that a file is whole or not there."""

import sys

import numpy as np
import pytest
from PIL import Image, ImageSequence

from lpd_jax.runtime import clip_files
from lpd_jax.runtime.clip_files import frame_times, read_frames, write_clip
from lpd_jax.runtime.errors import UserError
from tests.clip_writer import numbered, numbers_of


def clip(count=17, height=32, width=48):
    return np.stack([numbered(3 * number, height, width) for number in range(count)])


def pillow_frames(path):
    with Image.open(path) as film:
        assert film.info["loop"] == 0
        frames = [np.asarray(x.convert("RGB")) for x in ImageSequence.Iterator(film)]
        times = []
        for number in range(film.n_frames):
            film.seek(number)
            film.load()
            times.append(film.info["duration"])
    return np.stack(frames), times


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".MP4"])
def test_what_is_written_is_read_back(suffix, tmp_path):
    frames_THWC = clip()
    path = tmp_path / f"clip{suffix}"
    write_clip(path, frames_THWC, 8.0)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    if suffix == ".MP4":
        back_THWC = np.stack(read_frames(path, range(17)))
        np.testing.assert_allclose(frame_times(path), np.arange(17) / 8, atol=1e-3)
        np.testing.assert_array_equal(numbers_of(back_THWC), 3 * np.arange(17))
        assert np.abs(back_THWC.astype(int) - frames_THWC).mean() < 2
        return
    back_THWC, times = pillow_frames(path)
    np.testing.assert_array_equal(back_THWC, frames_THWC)  # few colours: each has one of its own
    assert sum(times) == pytest.approx(17 * 125, abs=10)
    assert set(times) <= ({120, 130} if suffix == ".gif" else {125})


def test_webp_keeps_each_pixel_and_mp4_evens_odd_sides(tmp_path):
    frames_THWC = np.random.default_rng(0).integers(0, 256, (3, 15, 17, 3), np.uint8)
    write_clip(tmp_path / "a.webp", frames_THWC, 24)
    back_THWC, times = pillow_frames(tmp_path / "a.webp")
    np.testing.assert_array_equal(back_THWC, frames_THWC)
    assert times == [42, 41, 42]
    write_clip(tmp_path / "a.mp4", clip(3, 15, 17), 29.97)
    frames = read_frames(tmp_path / "a.mp4", [0, 1, 2])
    assert frames[0].shape == (16, 18, 3)
    np.testing.assert_allclose(frame_times(tmp_path / "a.mp4") * 29.97, [0, 1, 2], atol=0.01)


def test_one_frame_is_a_clip(tmp_path):
    for suffix in clip_files.WRITTEN:
        write_clip(tmp_path / f"one{suffix}", clip(1))
        assert (tmp_path / f"one{suffix}").stat().st_size > 0


def turned_file(path):
    """A clip whose file says that its camera was held upright: to be turned clockwise."""
    write_clip(path, clip(3))
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 44  # the matrix of the track: nine numbers
    one, minus_one, whole = 1 << 16, -(1 << 16), 1 << 30
    matrix = np.array([one, 0, 0, 0, one, 0, 0, 0, whole], ">i4")
    assert content[start : start + 36] == matrix.tobytes()
    matrix[:5] = 0, one, 0, minus_one, 0
    content[start : start + 36] = matrix.tobytes()
    path.write_bytes(content)
    return path


def test_a_turned_camera_is_seen_upright(tmp_path):
    (frame_HWC,) = read_frames(turned_file(tmp_path / "turned.mp4"), [2])
    assert frame_HWC.shape == (48, 32, 3)
    # The darker half, which lay on the left, is on top now.
    assert frame_HWC[:20].mean() < 0.7 * frame_HWC[28:].mean()


@pytest.mark.parametrize(
    ("name", "frames", "rate", "message"),
    [
        ("a.avi", clip(1), 8, "path: got '.*a.avi', allowed are names ending in .gif or .mp4 or"),
        ("a.gif", clip(1)[0], 8, r"frames: got uint8 \(32, 48, 3\), allowed are uint8"),
        ("a.gif", clip(1) / 255, 8, "frames: got float64"),
        ("a.gif", clip(1)[:0], 8, r"frames: got uint8 \(0, 32, 48, 3\)"),
        ("a.gif", clip(1), 0, "frame_rate: got 0"),
        ("nowhere/a.gif", clip(1), 8, "path: got .* the folder .*nowhere does not exist"),
    ],
)
def test_what_cannot_be_written_is_one_line(name, frames, rate, message, tmp_path):
    with pytest.raises(UserError, match=f"^{message}") as caught:
        write_clip(tmp_path / name, frames, rate)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_mp4_without_pyav_says_what_to_install_and_others_do_without(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"^clips: PyAV .* pip install 'lpd_jax\[video\]'"):
        write_clip(tmp_path / "a.mp4", clip(2))
    write_clip(tmp_path / "a.gif", clip(2))
    write_clip(tmp_path / "a.webp", clip(2))
    assert {file.name for file in tmp_path.iterdir()} == {"a.gif", "a.webp"}


def test_a_clip_that_fails_halfway_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "a.mp4"
    write_clip(path, clip(2))
    before = path.read_bytes()

    def fail(file, *_):
        file.write_bytes(b"half")
        raise RuntimeError("stopped")

    monkeypatch.setattr(clip_files, "write_video", fail)
    with pytest.raises(RuntimeError, match="stopped"):
        write_clip(path, clip(3))
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1
