"""The classifier learns, is the same from the same seed, and its distance ranks damage sensibly."""

import dataclasses

import jax
import numpy as np
import pytest

from lpd_jax import bundled
from lpd_jax.evaluation import avatar_classifier as classifiers
from lpd_jax.evaluation import metrics
from lpd_jax.studies import classifier_training, corruptions
from tests import tiny as tiny_models

TINY = classifier_training.Settings(num_epochs=12, images_per_class=4, class_weight=1.0)


def colour_squares(seed: int, num_images: int):
    """16x16 pictures of two classes, dark and bright, with some texture."""
    generator = np.random.default_rng(seed)
    labels = np.arange(num_images, dtype=np.int32) % 2
    images = generator.integers(0, 100, (num_images, 16, 16, 3)) + 120 * labels[:, None, None, None]
    return images.astype(np.uint8), labels


def train_tiny(settings=TINY):
    return classifier_training.train_classifier(
        *colour_squares(0, 16), colour_squares(1, 10), ("dark", "bright"), settings, progress=False
    )


@pytest.fixture(scope="module")
def tiny():
    return train_tiny()


@pytest.fixture(scope="module")
def shipped():
    return classifiers.load_classifier()


def test_one_picture_is_judged_as_many_are(tiny):
    images_BHWC, labels_B = colour_squares(2, 4)
    logits_BC = tiny.logits(tiny.features(images_BHWC))
    shares_BC = np.stack([tiny.probabilities(image_HWC) for image_HWC in images_BHWC])
    np.testing.assert_allclose(shares_BC, jax.nn.softmax(logits_BC), atol=1e-5)
    assert (shares_BC.argmax(axis=1) == labels_B).all()


def test_training_learns_and_repeats(tiny):
    assert tiny.validation_accuracy == 1.0
    assert train_tiny().digest == tiny.digest


def test_another_seed_gives_other_weights_and_batches():
    rows = [np.arange(8), np.arange(8, 16)]
    first, second = (dataclasses.replace(TINY, seed=seed) for seed in (0, 1))
    batches = [list(classifier_training.class_balanced_batches(rows, s)) for s in (first, second)]
    assert not np.array_equal(*batches)
    kernels = [
        classifier_training.init_params(jax.random.key(seed), 16, 2)["class_head"]["kernel"]
        for seed in (0, 1)
    ]
    assert not np.array_equal(*kernels)


def test_saved_classifier_comes_back_equal(tiny, tmp_path):
    path = tmp_path / "folder" / "tiny.safetensors"
    classifiers.save_classifier(path, tiny)
    loaded = classifiers.load_classifier(path)
    assert loaded.digest == tiny.digest
    for field in ("class_names", "image_size", "validation_accuracy", "settings"):
        assert getattr(loaded, field) == getattr(tiny, field)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_features_have_one_norm_and_do_not_depend_on_the_batch(tiny):
    images, _ = colour_squares(2, classifiers.BATCH_SIZE + 7)  # one full batch, one padded
    features = tiny.features(images)
    assert features.shape == (len(images), classifiers.FEATURE_DIM)
    np.testing.assert_allclose(np.square(features).mean(axis=1), 1.0, rtol=1e-3)
    np.testing.assert_allclose(tiny.features(images[-5:]), features[-5:], atol=1e-5)


def test_swapped_squares_are_told_by_cell_and_come_from_the_class():
    settings = classifier_training.Settings(images_per_class=4, swapped_fraction=1.0)
    images = np.broadcast_to(np.arange(8.0)[:, None, None, None], (8, 16, 16, 3))
    swap_cells = jax.jit(
        classifier_training.swap_cells,
        static_argnums=2,
        compiler_options=tiny_models.QUICK_TO_COMPILE,
    )
    mixed, swapped = swap_cells(jax.random.key(0), images, settings)
    mixed = np.asarray(mixed)[..., 0]
    foreign = mixed != images[..., 0]
    share = foreign.reshape(8, 4, 4, 4, 4).mean(axis=(2, 4)).reshape(8, 16)
    np.testing.assert_allclose(np.asarray(swapped), share, atol=1e-6)
    assert not foreign[1::2].any() and foreign[::2].any()
    assert ((share > 0) & (share < 1)).any()  # the squares are not the cells
    assert (mixed.astype(int) // 4 == np.arange(8)[:, None, None] // 4).all()


def test_shipped_classifier_knows_the_styles(shipped):
    images, labels = (part[::4] for part in bundled.load_avatars("validation"))
    assert shipped.class_names == bundled.CLASS_NAMES and shipped.validation_accuracy > 0.99
    assert shipped.accuracy(shipped.features(images), labels) > 0.99
    assert classifiers.BUNDLED_FILE.stat().st_size < 1_000_000


def test_shipped_features_rank_damage_sensibly(shipped):
    train, _ = (part[::6] for part in bundled.load_avatars("train"))
    images, labels = (part[::2] for part in bundled.load_avatars("validation"))
    reference = metrics.feature_statistics(shipped.features(train))

    def distance(pictures):
        statistics = metrics.feature_statistics(shipped.features(pictures))
        return metrics.frechet_distance(statistics, reference)

    floor = distance(images)
    for patch in (4, 8):  # broken structure, of sizes that it was not trained to find
        little, much = (
            distance(corruptions.swap_patches(images, labels, patch, x)) for x in (0.05, 0.25)
        )
        assert 1.5 * floor < little < much / 2
    assert 2 * floor < distance(corruptions.blur(images, 2.0))
    assert 2 * floor < distance(corruptions.add_noise(images, 32.0))


def test_bad_input_is_one_clear_line(tiny, tmp_path):
    with pytest.raises(ValueError, match=r"images: got uint8 \(1, 8, 8, 3\), allowed is uint8"):
        tiny.features(np.zeros((1, 8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match=r"images: got float64"):
        tiny.features(np.zeros((1, 16, 16, 3)))
    with pytest.raises(ValueError, match="images_per_class: got 9, allowed are at most the 8"):
        train_tiny(dataclasses.replace(TINY, images_per_class=9))
    with pytest.raises(ValueError, match="num_epochs: got 0"):
        classifier_training.Settings(num_epochs=0)
    with pytest.raises(ValueError, match="seed: got -1, allowed are whole numbers from 0 to"):
        classifier_training.Settings(seed=-1)
    with pytest.raises(FileNotFoundError, match="classifier: no file .*missing"):
        classifiers.load_classifier(tmp_path / "missing")
    whole = tmp_path / "whole.safetensors"
    classifiers.save_classifier(whole, tiny)
    (tmp_path / "half.safetensors").write_bytes(whole.read_bytes()[:1000])
    with pytest.raises(ValueError, match="half.safetensors', which is no whole classifier"):
        classifiers.load_classifier(tmp_path / "half.safetensors")
