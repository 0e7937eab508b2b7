"""Images by index: which file is which record, what is cropped how, and what is refused."""

import contextlib
import copy
import dataclasses
import errno
import io
import logging
import os
import pickle
import re
import shutil
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from lpd_jax.bundled import load_avatars
from lpd_jax.data.batches import TrainingBatches, validation_batches
from lpd_jax.data.data_config import EXIF, DataConfig
from lpd_jax.data.image_folder import FolderPictures, check_apart
from lpd_jax.data.pictures import BadImage, open_images
from lpd_jax.images import adm_center_crop
from lpd_jax.runtime.disk_faults import DiskError
from lpd_jax.runtime.errors import UserError
from lpd_jax.runtime.picture_files import read_picture
from tests import tiny
from tests.data import photos


def folder_config(root, **fields) -> DataConfig:
    return DataConfig(dataset="folder", path=str(root), image_size=8, **fields)


def same(record, seed, label):
    np.testing.assert_array_equal(record["image"], adm_center_crop(photos.pixels(seed), 8))
    assert record["label"] == label and record["label"].dtype == np.int32


@pytest.fixture
def split_folders(tmp_path):
    photos.write_folder(tmp_path / "train", 3)
    photos.write_folder(tmp_path / "val", 1)
    return tmp_path


@pytest.mark.parametrize("size", [0, 24])
def test_the_bundled_pictures(size):
    source = open_images(DataConfig(image_size=size), "validation")
    images_BHWC, labels_B = load_avatars("validation")
    assert (len(source), source.num_classes) == (1200, 12)
    expected = adm_center_crop(images_BHWC[700], size or 64)
    np.testing.assert_array_equal(source[700]["image"], expected)
    np.testing.assert_array_equal(source.view(700, 1)["image"], expected[:, ::-1])
    assert source[700]["label"] == labels_B[700] == 7


def test_split_folders(split_folders):
    source = open_images(folder_config(split_folders), "train")
    assert (len(source), source.num_classes) == (9, 3)
    for i in range(9):
        same(source[i], 100 * (i // 3) + i % 3, i // 3)
    assert len(list(source)) == 9
    with pytest.raises(IndexError):
        source[9]
    validation = open_images(folder_config(split_folders), "validation")
    assert [int(validation[i]["label"]) for i in range(len(validation))] == [0, 1, 2]
    (split_folders / "val").rename(split_folders / "held_out")
    named = open_images(folder_config(split_folders, validation_split="held_out"), "validation")
    same(named[1], 100, 1)


def test_split_folders_without_class_folders_are_no_classes(tmp_path):
    for split in ("Train", "val"):
        (tmp_path / split).mkdir()
        Image.fromarray(photos.pixels(1)).save(tmp_path / split / "1.png")
    words = "which holds folders of splits, but no class folders in them; allowed are"
    for split in ("train", "validation"):
        with pytest.raises(ValueError, match=words):
            open_images(folder_config(tmp_path), split)


def test_a_validation_folder_without_some_class_keeps_the_numbers_of_training(split_folders):
    for file in (split_folders / "val" / "ant").iterdir():
        file.unlink()
    (split_folders / "val" / "ant").rmdir()
    source = open_images(folder_config(split_folders), "validation")
    assert [int(source[i]["label"]) for i in range(2)] == [1, 2] and source.num_classes == 3
    (split_folders / "val" / "ape").mkdir()
    with pytest.raises(
        ValueError, match="val', which holds 'ape'; allowed are the class folders of train"
    ):
        open_images(folder_config(split_folders), "validation")


def test_class_folders_alone_are_parted_the_same_way_whatever_is_added(tmp_path):
    def files_of(split, share=1 / 3):
        return FolderPictures(str(tmp_path), split, validation_share=share).files

    photos.write_folder(tmp_path, 10)
    parts = {split: files_of(split) for split in ("train", "validation")}
    assert 4 <= len(parts["validation"]) <= 16
    assert sorted(parts["train"] + parts["validation"]) == sorted(
        FolderPictures(str(tmp_path), "train", "all").files
    )
    for name in photos.CLASSES:
        Image.fromarray(photos.pixels(0)).save(tmp_path / name / "new.png")
    for split, files in parts.items():
        assert set(files) <= set(files_of(split))
    # A larger share holds out more, and the same ones.
    assert set(parts["validation"]) < set(files_of("validation", 0.6))


def test_of_few_images_each_split_has_one(tmp_path):
    photos.write_folder(tmp_path, 2)
    for share, held_out in ((0.001, 1), (0.999, 3)):
        parts = [
            FolderPictures(str(tmp_path), split, validation_share=share).files
            for split in ("train", "validation")
        ]
        assert [len(files) for files in parts] == [6 - held_out, held_out]
        assert not set(parts[0]) & set(parts[1])
    with pytest.raises(
        ValueError, match="^data.validation_share: got 1.0, allowed are numbers betw"
    ):
        folder_config(tmp_path, validation_share=1.0)


def test_a_class_is_never_held_out_as_a_whole(tmp_path):
    """Of a hundred classes with a picture each, five were never learned."""
    for number in range(100):
        (tmp_path / f"class_{number:02d}").mkdir()
        Image.fromarray(photos.pixels(number)).save(tmp_path / f"class_{number:02d}" / "0.png")
    Image.fromarray(photos.pixels(100)).save(tmp_path / "class_40" / "1.png")
    training, validation = (FolderPictures(str(tmp_path), x) for x in ("train", "validation"))
    assert set(training.labels) == set(range(100)) and validation.labels == [40]
    several = FolderPictures(str(tmp_path), "validation", validation_share=0.999)
    assert several.labels == [40]


def test_what_is_an_image_and_what_is_not(tmp_path):
    photos.write_folder(tmp_path / "train", 1)
    ant = tmp_path / "train" / "ant"
    (ant / ".thumbnails" / "deeper").mkdir(parents=True)
    Image.fromarray(photos.pixels(7)).save(ant / ".thumbnails" / "deeper" / "0.png")
    Image.fromarray(photos.pixels(5)).save(ant / "b.WEBP", lossless=True)
    (ant / "deeper").mkdir()
    Image.fromarray(photos.pixels(6)).save(ant / "deeper" / "c.jpg")
    (ant / "notes.txt").write_text("no image")
    (ant / "._0.png").write_text("no image either")
    (tmp_path / "train" / ".cache").mkdir()
    pictures = FolderPictures(str(tmp_path), "train")
    assert pictures.files == [
        "ant/0.png",
        "ant/b.WEBP",
        "ant/deeper/c.jpg",
        "bee/0.png",
        "cow/0.png",
    ]
    same(open_images(folder_config(tmp_path), "train")[1], 5, 0)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_pictures_of_any_mode_become_rgb(mode):
    image = Image.fromarray(photos.pixels(0)).convert(mode)
    file = io.BytesIO()
    image.save(file, "JPEG" if mode == "CMYK" else "PNG", quality=95)
    image_HWC = np.asarray(read_picture(file.getvalue()))
    assert (image_HWC.dtype, image_HWC.shape) == (np.uint8, (20, 26, 3))
    close = np.abs(image_HWC.astype(int) - np.asarray(image.convert("RGB")))
    assert close.mean() < (20 if mode == "CMYK" else 1e-9)


@pytest.mark.parametrize("shape", [(20_000, 1), (1, 20_000), (2, 201)])
def test_a_picture_too_thin_to_crop_is_named_and_may_be_skipped(split_folders, shape):
    thin = np.zeros((*shape, 3), np.uint8)
    Image.fromarray(thin).save(split_folders / "train" / "bee" / "0.png")
    height, width = shape
    words = rf"^image .*bee/0.png: .*got {width}x{height} pixels, .* bad_images=skip"
    with pytest.raises(BadImage, match=words.replace(" bad", ".*bad")):
        open_images(folder_config(split_folders), "train")[3]
    skipping = open_images(folder_config(split_folders, bad_images="skip"), "train")
    same(skipping[3], 101, 1)


def test_pictures_are_upright_unless_they_are_asked_for_as_stored(tmp_path):
    mark = Image.Exif()
    mark[0x0112] = 6
    (tmp_path / "train" / "ant").mkdir(parents=True)
    file = tmp_path / "train" / "ant" / "0.png"
    Image.fromarray(photos.pixels(0)).save(file, exif=mark)
    sources = {x: open_images(folder_config(tmp_path, exif=x), "train") for x in EXIF}
    same(sources["stored"][0], 0, 0)
    turned_HWC = np.ascontiguousarray(np.rot90(photos.pixels(0), -1))
    expected = adm_center_crop(turned_HWC, 8)
    np.testing.assert_array_equal(sources["upright"][0]["image"], expected)
    # Tokens of the one are not taken for those of the other.
    assert sources["stored"].description != sources["upright"].description
    with pytest.raises(ValueError, match="^data.exif: got 'no', allowed are upright, stored"):
        folder_config(tmp_path, exif="no")


def damage(split_folders):
    (split_folders / "train" / "bee" / "0.png").write_bytes(b"no picture")
    whole = (split_folders / "train" / "bee" / "1.png").read_bytes()
    (split_folders / "train" / "bee" / "1.png").write_bytes(whole[: len(whole) // 2])


def test_a_damaged_or_missing_image_is_named(split_folders):
    source = open_images(folder_config(split_folders), "train")
    damage(split_folders)
    (split_folders / "train" / "cow" / "2.png").unlink()
    for index, name in ((3, "bee/0.png"), (4, "bee/1.png"), (8, "cow/2.png")):
        with pytest.raises(ValueError) as error:
            source[index]
        message = str(error.value)
        assert message.startswith(f"image {split_folders / 'train' / name}: missing or damaged (")
        assert "\n" not in message and "data.bad_images=skip" in message
    # So it reaches the training loop from the threads that read ahead.
    with pytest.raises(ValueError, match="^image .*: missing or damaged"):
        list(validation_batches(source, 3, num_threads=2))


@pytest.mark.parametrize(
    ("data", "output", "is_apart"),
    [
        ("train", "train/run", False),
        ("train", "train", False),
        ("train", "train/ant/run", False),
        ("train", "train/.run", True),
        ("train", "trained", True),
        ("train", "run", True),
        (".", "run", True),  # beside the splits
        (".", "val/run", False),
        (".", "train/run", False),
        ("~/train", "~/train/run", False),
        ("~/train", "~/run", True),
    ],
)
def test_a_run_among_the_class_folders_is_refused(
    split_folders, monkeypatch, data, output, is_apart
):
    """Its own samples would be a class."""
    monkeypatch.chdir(split_folders)
    monkeypatch.setenv("HOME", str(split_folders))
    with contextlib.nullcontext() if is_apart else pytest.raises(UserError, match="^workdir: got "):
        check_apart("workdir", output, folder_config(data))


@pytest.mark.parametrize("bad_images", ["fail", "skip"])
def test_a_disk_that_is_gone_makes_no_picture_a_bad_one(split_folders, monkeypatch, bad_images):
    """Skipping would go through all of them, and a token cache would lack them for good."""
    source = open_images(folder_config(split_folders, bad_images=bad_images), "train")

    def read(file):
        raise OSError(errno.EMFILE, "Too many open files", str(file))

    with monkeypatch.context() as patches:
        patches.setattr("lpd_jax.data.image_folder.read_file", read)
        with pytest.raises(DiskError, match="ant/0.png: could not be read .*Too many open files"):
            source[0]
    (split_folders / "train").rename(split_folders / "away")
    with pytest.raises(DiskError, match="ant/0.png: could not be read .*No such file"):
        source[0]
    (split_folders / "away").rename(split_folders / "train")
    same(source[0], 0, 0)
    assert not source.bad_images


def test_a_damaged_image_is_skipped_on_demand_and_named_once(split_folders, caplog):
    damage(split_folders)
    source = open_images(folder_config(split_folders, bad_images="skip"), "train")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            same(source[3], 102, 1)  # the next that is readable
            same(source[4], 102, 1)
    told = [record.message.split("train/")[1] for record in caplog.records]
    for number, line in enumerate(told):
        assert re.fullmatch(
            rf"bee/{number}.png: missing or damaged \(.+\); {number + 1} so far", line
        )
    assert len(told) == 2 and sorted(source.bad_images) == [3, 4]
    batches = TrainingBatches(source, 9, 0)
    labels = sorted(next(batches)["labels"].tolist())
    assert labels == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_images_none_of_which_can_be_read(tmp_path):
    photos.write_folder(tmp_path / "train", 1)
    for file in tmp_path.rglob("*.png"):
        file.write_bytes(b"")
    source = open_images(folder_config(tmp_path, bad_images="skip"), "train")
    with pytest.raises(ValueError, match="^data: got 3 images, of which none can be read"):
        source[1]


@pytest.mark.parametrize(
    ("make", "fields", "message"),
    [
        ((), {"path": "nowhere"}, "data.path: got 'nowhere', allowed is a folder of class folders"),
        ((), {}, "which holds no folders; allowed are folders 'train' and 'val'"),
        (
            ("cat",),
            {},
            "class folder {root}/cat, which holds no images; allowed are files ending in .jpeg",
        ),
        (("train/cat",), {}, "class folder {root}/train/cat, which holds no images"),
        (("cat",), {"train_split": "test"}, "which holds no 'test' with class folders in it"),
        (("train/cat",), {"train_split": "test"}, "but no class folders in 'test'"),
    ],
)
def test_a_folder_without_images_is_refused(tmp_path, make, fields, message):
    for name in make:
        (tmp_path / name).mkdir(parents=True)
    fields = {"path": str(tmp_path), "dataset": "folder", "image_size": 8} | fields
    with pytest.raises(ValueError) as error:
        open_images(DataConfig(**fields), "train")
    assert message.format(root=tmp_path) in str(error.value)
    assert str(error.value).startswith("data.path") and "\n" not in str(error.value)


@pytest.mark.parametrize("place", ["cat", ""])
def test_photos_of_a_phone_that_nobody_reads_are_named(tmp_path, place):
    (tmp_path / place).mkdir(exist_ok=True)
    for name in ("IMG_1.HEIC", "IMG_2.heic", "IMG_1.MOV"):
        (tmp_path / place / name).write_bytes(b"x")
    words = r"holds no (images|folders) but \.heic \(2\), \.mov \(1\); HEIC has to be converted"
    with pytest.raises(ValueError, match=words):
        open_images(folder_config(tmp_path), "train")


def test_pictures_without_class_folders_are_told_where_to_go(tmp_path):
    for number in range(3):
        Image.fromarray(photos.pixels(0)).save(tmp_path / f"{number}.png")
    (tmp_path / "notes.txt").write_text("")
    words = f"which holds 3 images and no folders; move them .* or all into '{tmp_path / 'all'}'"
    with pytest.raises(ValueError, match=words):
        open_images(folder_config(tmp_path), "train")


def test_an_archive_is_told_to_be_unpacked(tmp_path):
    (tmp_path / "photos.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match="class folders .an archive has to be unpacked.$"):
        open_images(folder_config(tmp_path / "photos.zip"), "train")


def test_a_split_without_images_is_refused(tmp_path):
    (tmp_path / "ant").mkdir()
    Image.fromarray(photos.pixels(0)).save(tmp_path / "ant" / "0.png")  # one alone is for training
    words = "^data.path: got .*, which holds a single file; allowed are 2 images or more, one of"
    with pytest.raises(ValueError, match=words):
        open_images(folder_config(tmp_path), "validation")


class TinyPhotos(tfds.core.GeneratorBasedBuilder):
    """12 and 5 photographs of three classes, one of them grey, one damaged."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(encoding_format="png"),
            "label": tfds.features.ClassLabel(num_classes=3),
            "file_name": tfds.features.Text(),
        }
        features = tfds.features.FeaturesDict(features)
        return tfds.core.DatasetInfo(
            builder=self, features=features, supervised_keys=("image", "label")
        )

    def _split_generators(self, dl_manager):
        return {
            "train": self._generate_examples(12),
            "validation": self._generate_examples(5),
            "test": self._generate_examples(2, with_labels=False),
        }

    def _generate_examples(self, count, with_labels=True):
        for i in range(count):
            file = io.BytesIO()
            image = Image.fromarray(photos.pixels(i))
            image.convert("L" if i == 3 else "RGB").save(file, "PNG")
            content = file.getvalue()[: 40 if i == 4 else None]
            label = i % 3 if with_labels else -1
            yield i, {"image": io.BytesIO(content), "label": label, "file_name": f"{i}.png"}


class TinyTexts(tfds.core.GeneratorBasedBuilder):
    """No images."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features.FeaturesDict({"text": tfds.features.Text()})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        yield 0, {"text": "word"}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    tfds.disable_progress_bar()
    for builder in (TinyPhotos, TinyTexts):
        builder(data_dir=folder, file_format="array_record").download_and_prepare()
    return folder


def tfds_config(data_dir, name="tiny_photos", **fields) -> DataConfig:
    return DataConfig(dataset="tfds", name=name, path=str(data_dir), image_size=8, **fields)


def test_a_tfds_set_is_read_without_tensorflow(data_dir):
    source = open_images(tfds_config(data_dir, bad_images="skip"), "train")
    assert (len(source), source.num_classes) == (12, 3)
    wanted = {i: adm_center_crop(photos.pixels(i), 8) for i in range(12) if i not in (3, 4)}
    found = [
        [i for i, crop in wanted.items() if np.array_equal(crop, source[k]["image"])]
        for k in range(12)
    ]
    # The grey one is like none of them, the damaged one like the one that takes its place.
    assert sorted(map(len, found)).count(1) == 11 and set(sum(found, [])) == set(wanted)
    for k, seeds in enumerate(found):
        assert not seeds or source[k]["label"] == seeds[0] % 3
    assert [name for name in source.bad_images.values() if "tiny_photos/1.0.0 train[" in name]
    assert "tensorflow" not in sys.modules


def test_a_damaged_record_of_tfds_is_a_bad_picture(data_dir, tmp_path):
    shutil.copytree(data_dir, tmp_path, dirs_exist_ok=True)
    (file,) = tmp_path.glob("tiny_photos/**/*train.array_record*")
    content = file.read_bytes()
    file.write_bytes(bytes(len(content) // 10) + content[len(content) // 10 :])
    with pytest.raises(BadImage, match="Corrupted .*data.bad_images=skip"):
        open_images(tfds_config(tmp_path), "train")[0]
    skipping = open_images(tfds_config(tmp_path, bad_images="skip"), "train")
    assert skipping[0]["image"].shape == (8, 8, 3) and skipping.bad_images


def test_a_tfds_split_may_be_a_slice(data_dir):
    config = tfds_config(data_dir, train_split="train[:25%]", validation_split="train[25%:]")
    assert [len(open_images(config, split)) for split in ("train", "validation")] == [3, 9]
    assert len(open_images(tfds_config(data_dir), "validation")) == 5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "tiny_photo"}, "data.name: got 'tiny_photo' (Dataset tiny_photo not found); all"),
        ({"name": "tiny_photos:2.0.0"}, "data.name: got 'tiny_photos:2.0.0' ("),
        ({"name": "a b"}, "data.name: got 'a b' (Parsing builder name string a b failed); allowed"),
        ({"name": "tiny_texts"}, "data.name: got 'tiny_texts', whose records hold text; allowed"),
        ({"path": "nowhere"}, "data.name: got 'tiny_photos', not prepared in nowhere/tiny_photos/"),
        ({"train_split": "dev"}, "data.name: tiny_photos, split: got 'dev' (Unknown split"),
        ({"train_split": "train[:x]"}, "data.name: tiny_photos, split: got 'train[:x]' (Error pa"),
    ],
)
def test_a_tfds_set_that_is_not_there_is_named(data_dir, fields, message):
    fields = {"name": "tiny_photos", "path": str(data_dir)} | fields
    with pytest.raises(ValueError) as error:
        open_images(DataConfig(dataset="tfds", image_size=8, **fields), "train")
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def test_other_datasets_need_no_tfds_and_none_needs_tensorflow(tmp_path):
    photos.write_folder(tmp_path / "train", 2)
    program = (
        "import sys; sys.modules['tensorflow'] = sys.modules['tensorflow_datasets'] = None\n"
        "from lpd_jax.data.pictures import open_images\n"
        "from lpd_jax.data.batches import DataConfig, TrainingBatches\n"
        f"config = DataConfig('folder', path={str(tmp_path)!r}, image_size=8)\n"
        "print(next(TrainingBatches(open_images(config, 'train'), 4, 0))['images'].shape)\n"
        "try: open_images(DataConfig('tfds', 'mnist', image_size=8), 'train')\n"
        "except ValueError as error: print(error)\n"
    )
    result = tiny.run_python("-c", program, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    shape, message = result.stdout.splitlines()
    assert shape == "(4, 8, 8, 3)"
    assert message.startswith(
        "data.dataset: got 'tfds', but tensorflow-datasets cannot be imported"
    )


def test_random_views_are_crops_that_their_number_decides(split_folders):
    config = DataConfig(
        "folder", path=str(split_folders), image_size=8, random_views=True, random_crop=0.5
    )
    source = open_images(config, "train")
    plain = open_images(dataclasses.replace(config, random_crop=1.0), "train")
    np.testing.assert_array_equal(source.view(0, 0)["image"], plain.view(0, 0)["image"])
    views = [source.view(0, view)["image"] for view in range(1, 9)]
    assert all(view.shape == (8, 8, 3) for view in views)
    assert len({view.tobytes() for view in views}) == len(views)
    np.testing.assert_array_equal(source.view(0, 5)["image"], views[4])
    batch = next(TrainingBatches(source, 4, seed=0, random_views=True, num_threads=0))
    again = next(TrainingBatches(source, 4, seed=0, random_views=True, num_threads=0))
    np.testing.assert_array_equal(batch["images"], again["images"])


@pytest.mark.parametrize(
    "fields", [{}, {"dataset": "tokens", "path": "x", "random_views": True}], ids=["", "tokens"]
)
def test_random_crops_need_random_views_of_pictures(fields):
    with pytest.raises(ValueError, match="^data.random_crop: got 0.8, allowed without random_view"):
        DataConfig(random_crop=0.8, **fields)
    with pytest.raises(ValueError, match=r"^data.random_crop: got 0.0, allowed are \(0, 1\]"):
        DataConfig(random_crop=0.0)


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ("Training/{}", "holds splits, no classes: Test Set, Training; data.train_split and"),
        ("train/{}", "holds {root}/train, but no class folders in 'validation'"),
        ("photos/train/{}", "holds folders of splits inside of photos; allowed are"),
        ("{}/train", "holds folders of splits inside of ant, bee, cow; allowed are"),
    ],
)
def test_splits_of_other_names_or_in_other_places_are_no_classes(tmp_path, layout, message):
    other = {"Training": "Test Set", "train": "test"}
    for name in photos.CLASSES:
        for mine in (layout, *(layout.replace(x, y) for x, y in other.items() if x in layout)):
            (folder := tmp_path / mine.format(name)).mkdir(parents=True)
            Image.fromarray(photos.pixels(1)).save(folder / "1.png")
    with pytest.raises(ValueError) as error:
        open_images(folder_config(tmp_path), "validation")
    assert message.format(root=tmp_path) in str(error.value)
    assert str(error.value).startswith("data.path, data.validation_split: got ")
    if layout.startswith("Training"):
        named = folder_config(tmp_path, train_split="Training", validation_split="Test Set")
        assert open_images(named, "validation").class_names == photos.CLASSES


def test_a_class_may_be_called_as_a_split_is(tmp_path):
    for name in ("train", "bus"):
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.fromarray(photos.pixels(i)).save(tmp_path / name / f"{i}.png")
    assert open_images(folder_config(tmp_path), "train").class_names == ("bus", "train")


def test_a_record_of_tfds_without_a_class_is_named(data_dir):
    config = tfds_config(data_dir, train_split="test")
    with pytest.raises(BadImage, match=r"tiny_photos/1.0.0 test\[0\]: .*label -1, allowed are 0"):
        open_images(config, "train")[0]


def test_a_source_can_be_sent_to_another_process(split_folders):
    source = open_images(folder_config(split_folders, bad_images="skip"), "train")
    for other in (pickle.loads(pickle.dumps(source)), copy.deepcopy(source)):
        np.testing.assert_array_equal(other[3]["image"], source[3]["image"])
        assert other.description == source.description


def test_a_file_of_more_bytes_than_any_picture_is_named_not_read(split_folders):
    file = split_folders / "train" / "bee" / "0.png"
    os.truncate(file, 2**40)  # with nothing in it, it takes no room
    with pytest.raises(BadImage, match=r"bee/0.png: .*1,099,511,627,776 bytes; allowed are pic"):
        open_images(folder_config(split_folders), "train")[3]
