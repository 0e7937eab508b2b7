"""The pictures that ship with the package."""

import numpy as np
import pytest
from PIL import Image

from lpd_jax import bundled
from lpd_jax.bundled.imagenet import imagenet_class_names


@pytest.fixture(scope="module")
def splits():
    return {split: bundled.load_avatars(split) for split in ("train", "validation")}


def test_each_class_has_900_pictures_to_train_on_and_100_to_validate(splits):
    for split, count in (("train", 900), ("validation", 100)):
        images, labels = splits[split]
        assert images.shape == (12 * count, 64, 64, 3) and images.dtype == np.uint8
        np.testing.assert_array_equal(labels, np.arange(12).repeat(count))
        assert not images.flags.writeable and not labels.flags.writeable


def test_tiles_are_cut_row_by_row(splits):
    """Picture 926 of the third class: row 37, column 1 of its file."""
    path = bundled.FOLDER / "avatars12" / "02_notionists.webp"
    with Image.open(path) as mosaic:
        tile = np.asarray(mosaic.convert("RGB").crop((64, 37 * 64, 128, 38 * 64)))
    np.testing.assert_array_equal(splits["validation"][0][2 * 100 + 26], tile)


def test_how_many_validation_pictures_are_also_training_pictures(splits):
    """funEmoji has too few variations for 1000 different pictures. Changes only with the files."""
    train = {image.tobytes() for image in splits["train"][0]}
    shared = np.array([image.tobytes() in train for image in splits["validation"][0]])
    counts = shared.reshape(12, 100).sum(axis=1)
    named = {name: int(n) for name, n in zip(bundled.CLASS_NAMES, counts, strict=True) if n}
    assert named == {"funEmoji": 48, "miniavs": 1}


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="^split: got 'test', allowed are 'train' and 'validat"):
        bundled.load_avatars("test")


def test_a_missing_and_a_damaged_file_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="^bundled pictures: .*00.webp is missing"):
        bundled.read_mosaic(tmp_path / "00.webp")
    (tmp_path / "01.webp").write_bytes(b"RIFF nothing")
    with pytest.raises(ValueError, match="^bundled pictures: got .*01.webp, which is damaged"):
        bundled.read_mosaic(tmp_path / "01.webp")
    Image.new("RGB", (64, 64)).save(tmp_path / "02.webp")
    with pytest.raises(
        ValueError, match="^bundled pictures: got .*02.webp, which is damaged.* wrong size"
    ):
        bundled.read_mosaic(tmp_path / "02.webp")


def test_imagenet_has_a_thousand_names_in_the_order_of_its_labels():
    names = imagenet_class_names()
    assert len({name.casefold() for name in names}) == len(names) == 1000
    # As every released model has them: synsets are sorted.
    known = {0: "tench", 207: "golden retriever", 388: "giant panda", 999: "toilet tissue"}
    assert {label: names[label] for label in known} == known
    lines = (bundled.FOLDER / "imagenet_classes.txt").read_text().splitlines()
    synsets = [line.split()[0] for line in lines if not line.startswith("#")]
    assert synsets == sorted(set(synsets))
