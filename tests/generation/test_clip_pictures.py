"""Clips to look at: where each frame lies, and a file a clip."""

import numpy as np
import pytest

from lpd_jax.generation.clip_pictures import ClipFolder, contact_sheet, film
from lpd_jax.runtime.clip_files import frame_times, read_frames
from lpd_jax.runtime.errors import UserError
from tests.clip_writer import numbered, numbers_of

NAMES = ["cat", "owl"]


@pytest.fixture(scope="module")
def clips():
    made = [[numbered(10 * clip + 2 * frame, 16, 20) for frame in range(5)] for clip in (1, 3)]
    return np.array(made)


def place_of(picture_HWC, part_HWC):
    """Top and left of the one place where a part lies in a picture."""
    windows = np.lib.stride_tricks.sliding_window_view(picture_HWC, part_HWC.shape)[:, :, 0]
    (place,) = np.argwhere((windows == part_HWC).all((2, 3, 4)))
    return tuple(place.tolist())


def test_a_sheet_has_a_row_for_each_clip(clips):
    sheet_HWC = contact_sheet(clips, NAMES)
    places = [[place_of(sheet_HWC, frame) for frame in clip] for clip in clips]
    for row in places:
        assert len({top for top, _ in row}) == 1
        assert [left for _, left in row] == sorted(left for _, left in row)
    assert [left for _, left in places[0]] == [left for _, left in places[1]]
    assert places[0][0][0] + 16 < places[1][0][0]  # the name stands between


def test_a_film_shows_all_clips_at_once(clips):
    frames_THWC = film(clips, NAMES)
    assert len(frames_THWC) == 5 and frames_THWC.dtype == np.uint8
    large_BTHWC = clips.repeat(2, axis=2).repeat(2, axis=3)
    for clip in range(2):
        places = {place_of(frames_THWC[i], large_BTHWC[clip, i]) for i in range(5)}
        assert len(places) == 1  # it stays where it is


def test_a_folder_has_a_file_a_clip(clips, tmp_path):
    with ClipFolder(tmp_path / "clips", 4.0, 2) as folder:
        folder.add(clips[:1])
        folder.add(clips[1:])
    files = sorted((tmp_path / "clips").iterdir())
    assert [file.name for file in files] == ["000000.mp4", "000001.mp4"]
    np.testing.assert_allclose(frame_times(files[1]), np.arange(5) / 4, atol=1e-3)
    back = np.stack(read_frames(files[1], range(5)))
    np.testing.assert_array_equal(numbers_of(back), 30 + 2 * np.arange(5))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="^output_dir: got .* cannot be made"):
        ClipFolder(tmp_path / "file" / "clips", 8.0, 2)
