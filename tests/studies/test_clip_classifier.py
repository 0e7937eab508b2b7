"""The classifier of clips: how clips are broken for it, what it keeps, how its distance ranks."""

import dataclasses

import chex
import jax
import numpy as np
import pytest

from lpd_jax.data.avatar_motions import MOTIONS
from lpd_jax.data.moving_avatars import NAMES, MovingAvatars
from lpd_jax.evaluation import clip_classifier
from lpd_jax.evaluation.avatar_classifier import FEATURE_DIM, save_classifier
from lpd_jax.evaluation.clip_classifier import ClipClassifier, load_clip_classifier
from lpd_jax.studies import clip_classifier_training as training
from lpd_jax.studies import clip_damage, clip_material
from tests import tiny

SHAPE = (3, 32, 32, 3)


def random_classifier(seed: int = 0) -> ClipClassifier:
    rng = np.random.default_rng(seed)
    params: dict = {}
    for path, shape in clip_classifier.leaf_shapes(SHAPE, len(NAMES)).items():
        *folders, name = path.split("/")
        place = params
        for folder in folders:
            place = place.setdefault(folder, {})
        place[name] = rng.standard_normal(shape).astype(np.float16).astype(np.float32)
    params["reference"]["covariance"] += np.float32(1e-5)  # what float16 would lose
    facts = {"validation_accuracy": 0.5, "motion_accuracy": 0.25, "order_accuracy": 0.75}
    return ClipClassifier(
        params, NAMES, SHAPE[1], settings={"seed": 3}, num_reference=7, num_frames=SHAPE[0], **facts
    )


@pytest.fixture(scope="module")
def shipped():
    return load_clip_classifier()


@pytest.fixture(scope="module")
def real():
    source = MovingAvatars("validation")
    return clip_material.read_clips(source, range(len(source)))


def test_saved_classifier_comes_back_equal(tmp_path):
    path, saved = tmp_path / "clips.safetensors", random_classifier()
    save_classifier(path, saved)
    loaded = load_clip_classifier(path)
    chex.assert_trees_all_equal(loaded.params, saved.params)
    for field in dataclasses.fields(saved):
        if field.name != "params":
            assert getattr(loaded, field.name) == getattr(saved, field.name), field.name
    assert loaded.digest == saved.digest and loaded.reference.num_images == 7
    assert loaded.reference.covariance_FF.dtype == np.float64


def test_wrong_files_and_clips_are_one_line(tmp_path):
    with pytest.raises(FileNotFoundError, match="classifier: no file .*--data=moving_avatars"):
        load_clip_classifier(tmp_path / "missing")
    with pytest.raises(ValueError, match="which is no whole classifier file .*num_frames"):
        load_clip_classifier(clip_classifier.BUNDLED_FILE.with_name("classifier.safetensors"))
    with pytest.raises(
        ValueError, match=r"^clips: got uint8 \(2, 5, 32, 32, 3\), allowed is uint8 \[B, 3, 32"
    ):
        random_classifier().features(np.zeros((2, 5, 32, 32, 3), np.uint8))
    with pytest.raises(ValueError, match="num_steps: got 0"):
        training.Settings(num_steps=0)
    with pytest.raises(ValueError, match="seed: got -1, allowed are whole numbers from 0 to"):
        training.Settings(seed=-1)


def test_motions_are_told_whatever_the_face():
    trained = random_classifier()
    kernel = np.zeros((trained.num_features, len(NAMES)), np.float32)
    kernel[np.arange(len(NAMES)), np.arange(len(NAMES))] = 9
    trained.params["class_head"].update(kernel=kernel, bias=np.zeros(len(NAMES), np.float32))
    features_BF = np.eye(len(NAMES), trained.num_features, dtype=np.float32)
    labels_B = np.arange(len(NAMES))
    assert trained.accuracy(features_BF, labels_B) == 1.0
    other_face_B = (labels_B + len(MOTIONS)) % len(NAMES)
    assert trained.accuracy(features_BF, other_face_B) == 0.0
    assert trained.motion_agreement(features_BF, other_face_B) == 1.0
    assert trained.motion_agreement(features_BF, labels_B + 1) == 0.0


def some_material(num_frames: int = 5, count: int = 48) -> clip_material.Material:
    """What was seen of clips, where the first small pixel and the look say clip and frame."""
    rng = np.random.default_rng(0)
    small = rng.integers(256, size=(count, num_frames, 16, 16, 3), dtype=np.uint8)
    small[:, :, 0, 0, 0] = np.arange(count)[:, None]
    small[:, :, 0, 0, 1] = np.arange(num_frames)[None]
    look = np.zeros((count, len(range(0, num_frames, 2)), FEATURE_DIM), np.float32)
    look[..., 0] = np.arange(count)[:, None]
    look[..., 1] = 2 * np.arange(look.shape[1])[None]
    seen = clip_classifier.Seen(small, look)
    mixed = clip_classifier.Seen(small[:7], look[:7])
    foreign_BQ = rng.random((7, clip_damage.CELLS**2)).astype(np.float32)
    return clip_material.Material(seen, np.arange(count, dtype=np.int32) % 12, mixed, foreign_BQ)


def test_batches_hold_every_class_and_no_clip_twice():
    material = some_material()
    settings = training.Settings(num_steps=2, clips_per_class=2)
    first, second = training.class_balanced_batches(material, settings)
    for seen, labels_B, mixed, foreign_BQ in (first, second):
        assert labels_B.tolist() == np.arange(12).repeat(2).tolist()
        number_B = seen.small_BTHWC[:, 0, 0, 0, 0]
        assert (number_B % 12 == labels_B).all() and len(set(number_B)) == len(number_B)
        mixed_B = mixed.small_BTHWC[:, 0, 0, 0, 0]
        np.testing.assert_array_equal(foreign_BQ, material.foreign_BQ[mixed_B])
    assert not np.array_equal(first[0].small_BTHWC, second[0].small_BTHWC)


def test_clips_out_of_order_are_told_as_they_were_made():
    seen = some_material().seen
    shuffle = jax.jit(
        training.some_out_of_order, static_argnums=2, compiler_options=tiny.QUICK_TO_COMPILE
    )
    moved, broken_BT = jax.device_get(shuffle(jax.random.key(0), seen, 4))
    clip_BT, number_BT = (moved.small_BTHWC[:, :, 0, 0, i].astype(int) for i in (0, 1))
    follows_BT = (np.diff(number_BT, axis=1) == 1) & (np.diff(clip_BT, axis=1) == 0)
    np.testing.assert_array_equal(broken_BT, ~follows_BT)
    assert (clip_BT // 4 == np.arange(48)[:, None] // 4).all()
    assert 0.25 < broken_BT.any(axis=1).mean() < 0.75
    # Looks are those of the clip, and of the frame or of the one before.
    np.testing.assert_array_equal(moved.look_BSF[..., 0], clip_BT[:, ::2])
    np.testing.assert_array_equal(moved.look_BSF[..., 1], number_BT[:, ::2] // 2 * 2)


def test_foreign_cells_are_told_as_they_were_mixed():
    count, num_frames = 24, 4
    clips = np.broadcast_to(
        np.arange(count, dtype=np.uint8)[:, None, None, None, None], (count, num_frames, 16, 16, 1)
    )
    mix = jax.jit(clip_damage.mix, compiler_options=tiny.QUICK_TO_COMPILE)
    mixed, told_BQ = jax.device_get(mix(jax.random.key(0), clips))
    foreign_BTHW = mixed[..., 0] != clips[..., 0]
    before = (np.arange(count) - 1) % count
    assert (
        np.where(foreign_BTHW, mixed[..., 0], before[:, None, None, None])
        == before[:, None, None, None]
    ).all()
    share = foreign_BTHW.reshape(count, num_frames, 4, 4, 4, 4).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(share.reshape(count, -1), told_BQ, atol=1e-6)
    still_B = (foreign_BTHW == foreign_BTHW[:, :1]).all(axis=(1, 2, 3))
    assert 0 < still_B.sum() < count  # the same squares in all frames, and not


def test_every_second_frame_is_looked_at_and_all_are_kept_small():
    rng = np.random.default_rng(0)
    clips_BTHWC = rng.integers(256, size=(2, *SHAPE), dtype=np.uint8)
    trained = random_classifier()
    seen = jax.device_get(clip_classifier.see(trained.params["look"], clips_BTHWC))
    assert seen.small_BTHWC.shape == (2, 3, 16, 16, 3) and seen.look_BSF.shape == (2, 2, 96)
    want = clips_BTHWC[1, 2, 4:6, 6:8].astype(float).mean(axis=(0, 1))
    np.testing.assert_allclose(seen.small_BTHWC[1, 2, 2, 3], want, atol=0.5)
    features_BF = trained.features(clips_BTHWC)
    np.testing.assert_allclose(np.square(features_BF).mean(axis=1), 1.0, rtol=1e-3)
    np.testing.assert_allclose(trained.features(clips_BTHWC[1:]), features_BF[1:], atol=1e-4)


def test_tests_of_the_distance_do_what_their_names_say():
    number_T = np.arange(17)
    clips = np.broadcast_to(
        (100 * np.arange(24)[:, None] + number_T[None])[..., None, None, None] % 251,
        (24, 17, 8, 8, 3),
    ).astype(np.uint8)
    labels_B = np.arange(24) % 12
    broken = dict(clip_damage.tests(clips, labels_B))
    first = {name: clip[0, :, 0, 0, 0].tolist() for name, clip in broken.items()}
    assert first["first frame, frozen"] == [0] * 17
    assert first["frozen after the middle"] == [*range(8), *[8] * 9]
    assert first["every second frame twice"] == [t // 2 * 2 for t in range(17)]
    assert first["two neighbouring frames change places"][7:11] == [7, 9, 8, 10]
    assert sorted(first["frames shuffled"]) == number_T.tolist() != first["frames shuffled"]
    other = clips[12, :, 0, 0, 0].tolist()
    assert first["second half of another clip of the class"] == [*range(8), *other[8:]]
    assert len(broken["only the faces that roll"]) == 6
    for name, clip in broken.items():
        assert clip.dtype == np.uint8 and clip.shape[1:] == clips.shape[1:], name


def test_training_learns_one_batch():
    settings = training.Settings(num_steps=8, clips_per_class=2)
    batch = next(training.class_balanced_batches(some_material(), settings))
    params = training.init_params(jax.random.key(0), 5)
    step = jax.jit(
        training.train_step.__wrapped__,
        static_argnames="settings",
        compiler_options=tiny.QUICK_TO_COMPILE,
    )
    state = training.make_optimizer(settings, settings.num_steps).init(params)
    losses = []
    for _ in range(4):  # the first is at a rate of nothing
        params, state, metrics = step(params, state, batch, jax.random.key(1), settings=settings)
        losses.append(sum(getattr(settings, f"{name}_weight") * metrics[name] for name in metrics))
    assert losses[0] == losses[1] > losses[2] > losses[3]


def test_the_head_is_fitted_to_whole_clips():
    rng = np.random.default_rng(0)
    labels_B = np.arange(240) % 12
    features_BF = rng.standard_normal((240, FEATURE_DIM)).astype(np.float32)
    features_BF[np.arange(240), labels_B] += 4
    head = {"kernel": np.zeros((FEATURE_DIM, 12), np.float32), "bias": np.zeros(12, np.float32)}
    fitted = training.fit_class_head(head, features_BF, labels_B)
    logits_BC = features_BF @ fitted["kernel"] + fitted["bias"][None]
    assert (logits_BC.argmax(axis=1) == labels_B).mean() > 0.95
    chex.assert_trees_all_equal(fitted, training.as_stored(fitted))


def test_shipped_classifier_knows_faces_motions_and_order(shipped, real):
    clips_BTHWC, labels_B = (part[::5] for part in real)
    assert shipped.class_names == NAMES and shipped.shape == (17, 64, 64, 3)
    features_BF = shipped.features(clips_BTHWC)
    np.testing.assert_allclose(np.square(features_BF).mean(axis=1), 1.0, rtol=1e-3)
    assert shipped.accuracy(features_BF, labels_B) > 0.9
    assert shipped.motion_agreement(features_BF, labels_B) > 0.9
    assert shipped.validation_accuracy > 0.9 and shipped.motion_accuracy > 0.9
    assert shipped.broken_steps(features_BF).mean() < 0.1
    shuffled_BTHWC, _ = clip_damage.shuffled(clips_BTHWC)
    assert shipped.broken_steps(shipped.features(shuffled_BTHWC)).mean() > 0.6
    assert clip_classifier.BUNDLED_FILE.stat().st_size < 1_500_000


@pytest.mark.slow  # compiles all that training does
def test_a_whole_training_gives_what_a_file_holds(monkeypatch, tmp_path):
    monkeypatch.setattr(MovingAvatars, "__len__", lambda self: 60)  # no multiple of a batch
    settings = training.Settings(num_steps=2, clips_per_class=2)
    trained = training.train_clip_classifier(settings, num_frames=3, progress=False)
    assert trained.num_reference == 60 and trained.shape == (3, 64, 64, 3)
    source = MovingAvatars("train", 3)
    features_BF = trained.features(clip_material.read_clips(source, range(60))[0])
    np.testing.assert_allclose(features_BF.mean(axis=0), trained.reference.mean_F, atol=1e-3)
    save_classifier(tmp_path / "clips.safetensors", trained)
    assert load_clip_classifier(tmp_path / "clips.safetensors").digest == trained.digest
