"""Clips made of the bundled avatars: their classes, how they move, and that they come again."""

import numpy as np
import pytest

from lpd_jax.data import avatar_motions, moving_avatars
from lpd_jax.data.avatar_motions import HIGH, LOW, MOTIONS, RADIUS
from lpd_jax.data.data_config import DataConfig
from lpd_jax.data.moving_avatars import MovingAvatars
from lpd_jax.data.pictures import image_shape, open_images


@pytest.fixture(scope="module")
def clips():
    return open_images(DataConfig(dataset="moving_avatars", num_frames=9), "train")


def poses(motion, seed=0, num_frames=17):
    return MOTIONS[motion](np.random.default_rng(seed), num_frames)


def test_a_config_names_them(clips):
    assert image_shape(DataConfig(dataset="moving_avatars")) == (17, 64, 64)
    assert clips.num_classes == len(clips.class_names) == 12
    assert clips.class_names[3] == "funEmoji turns"
    assert len(clips) == 3 * 900 * 4
    record = clips[27]
    assert record["image"].shape == (9, 64, 64, 3) and record["image"].dtype == np.uint8
    assert record["label"] == 27 % 12


def test_no_frames_are_pictures_the_first_of_each_clip(clips):
    config = DataConfig(dataset="moving_avatars", num_frames=0)
    pictures = open_images(config, "train")
    assert image_shape(config) == pictures.shape == (64, 64)
    assert pictures[0]["image"].shape == (64, 64, 3)
    for index in (0, 27):
        np.testing.assert_array_equal(pictures[index]["image"], clips[index]["image"][0])
        assert pictures[index]["label"] == clips[index]["label"]


def test_numbers_of_frames_that_nothing_has_are_named():
    with pytest.raises(ValueError, match="^data.num_frames: got -1, allowed is 0 or more$"):
        DataConfig(dataset="moving_avatars", num_frames=-1)
    with pytest.raises(ValueError, match="^data.num_frames: got 0, allowed with dataset 'clips'"):
        DataConfig(dataset="clips", path="clips", num_frames=0)


@pytest.mark.parametrize("field", ["name", "path", "image_size"])
def test_what_they_have_of_their_own_is_not_chosen(field):
    with pytest.raises(ValueError, match=f"^data.{field}: got .*, allowed is none with dataset"):
        DataConfig(dataset="moving_avatars", **{field: 64 if field == "image_size" else "x"})


def test_a_clip_comes_again_and_its_views_are_others(clips):
    again = MovingAvatars("train", 9)
    for index in (0, 5, 10_799):
        np.testing.assert_array_equal(clips[index]["image"], again[index]["image"])
        one, other = (clips.view(index, view)["image"] for view in (1, 2))
        assert (one != other).any() and (one != clips[index]["image"]).any()
        np.testing.assert_array_equal(one, again.view(index, 1)["image"])


def test_a_longer_clip_goes_on_where_a_shorter_one_ends(clips):
    longer = MovingAvatars("train", 17)
    for index in range(12):
        np.testing.assert_array_equal(longer[index]["image"][:9], clips[index]["image"])


def test_validation_has_every_class_and_each_face_once():
    clips, seen = MovingAvatars("validation", 1), []
    labels = [int(clips[i]["label"]) for i in range(len(clips))]
    np.testing.assert_array_equal(np.bincount(labels), [25] * 12)
    for index in range(len(clips)):
        style, motion = divmod(labels[index], 4)
        seen.append((style, index // 12 * 4 + motion))
    assert len(set(seen)) == len(clips) == 300


def test_a_face_bounces_at_one_speed_and_stays_inside():
    x_T, y_T = (np.array([getattr(pose, axis) for pose in poses("bounces")]) for axis in "xy")
    for places_T in (x_T, y_T):
        assert places_T.min() >= LOW and places_T.max() <= HIGH
        steps_T = np.abs(np.diff(places_T))
        # A step that meets an edge is folded; all others are alike.
        assert np.isclose(steps_T, steps_T.max()).sum() >= len(steps_T) / 2


def test_a_face_rolls_without_slipping():
    found = poses("rolls")
    turned = np.diff([pose.angle for pose in found])
    np.testing.assert_allclose(RADIUS * turned, np.diff([pose.x for pose in found]), atol=1e-6)
    assert {pose.y for pose in found} == {HIGH}


def test_a_swing_hangs_on_one_rope():
    pivot = HIGH - avatar_motions.ROPE
    for pose in [pose for seed in range(20) for pose in poses("swings", seed)]:
        along = np.hypot(pose.x - avatar_motions.MIDDLE, pose.y - pivot)
        np.testing.assert_allclose(along, avatar_motions.ROPE, rtol=1e-6)
        assert LOW <= pose.x <= HIGH and LOW <= pose.y <= HIGH


def test_the_face_in_front_comes_back():
    """What comes is only in the frames before: the back hides it."""
    widths_T = np.array([pose.width for pose in poses("turns")])
    assert widths_T.min() < 0 < widths_T.max()
    front, back = (np.full((64, 64, 3), value, np.uint8) for value in (50, 200))
    turning = [avatar_motions.Pose(31.5, 31.5, width=w) for w in (1.0, -1.0, 1.0)]
    first, hidden, last = moving_avatars.draw_clip((front, back), turning)
    np.testing.assert_array_equal(first, last)
    assert first[32, 32, 0] == 50 and hidden[32, 32, 0] == 200


def test_one_frame_goes_on_in_more_than_one_way():
    """Of bounces: alike places, other directions; so the past has to be seen."""
    firsts = np.array([poses("bounces", seed)[0][:2] for seed in range(400)])
    apart = np.linalg.norm(firsts[:, None] - firsts[None], axis=-1) + 99 * np.eye(400)
    one, other = np.unravel_index(apart.argmin(), apart.shape)
    ends = [np.array(poses("bounces", int(seed))[4][:2]) for seed in (one, other)]
    assert apart.min() < 0.5 and np.linalg.norm(ends[0] - ends[1]) > 5
