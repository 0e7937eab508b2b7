"""Folders as people have them: links, circles, names of any bytes, files of any kind."""

import json
import logging
import os
import shutil
import unicodedata

import pytest
from PIL import Image

from lpd_jax.data import folder_walk
from lpd_jax.data.data_config import DataConfig
from lpd_jax.data.image_folder import FolderPictures, place_of
from lpd_jax.data.pictures import open_images
from lpd_jax.generation.request import resolve_labels
from tests.data import photos


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_walk, "told", set())
    photos.write_folder(tmp_path / "train", 2)
    return tmp_path


def files(root) -> list[str]:
    return FolderPictures(str(root), "train").files


def said(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records]


ORDINARY = ["ant/0.png", "ant/1.png", "bee/0.png", "bee/1.png", "cow/0.png", "cow/1.png"]


@pytest.mark.parametrize("target", [".", "..", "../..", "/", "deep", "../bee"])
def test_a_link_back_is_passed_by_and_named(root, caplog, target):
    (root / "train" / "ant" / "deep").mkdir()
    link = root / "train" / "ant" / "deep" / "again"
    link.symlink_to(root / "train" / "ant" / target)
    with caplog.at_level(logging.WARNING):
        assert files(root) == ORDINARY
    (line,) = said(caplog)
    assert line.startswith(f"data.path: {root / 'train'}: 1 links left out, which lead back")
    assert line.endswith("such as ant/deep/again")


def test_links_to_what_lies_elsewhere_are_followed_once(root, caplog):
    photos.write_folder(root / "elsewhere", 1)
    (root / "elsewhere" / "ant" / "more").mkdir()
    shutil.copy(root / "train" / "ant" / "0.png", root / "elsewhere" / "ant" / "more")
    for name in ("one", "two"):
        (root / "train" / "ant" / name).symlink_to(root / "elsewhere" / "ant")
    (root / "train" / "dog").symlink_to(root / "elsewhere" / "bee")
    (root / "train" / "bee" / "file.png").symlink_to(root / "elsewhere" / "cow" / "0.png")
    assert files(root) == sorted(
        [*ORDINARY, "ant/one/0.png", "ant/one/more/0.png", "bee/file.png", "dog/0.png"]
    )
    assert said(caplog)[0].endswith("such as ant/two")


def test_links_to_nothing_and_to_themselves_are_no_folders(root, caplog):
    (root / "train" / "dog").symlink_to(root / "unplugged" / "dog")
    (root / "train" / "self").symlink_to(root / "train" / "self")
    (root / "train" / "ant" / "self").symlink_to(root / "train" / "ant" / "self")
    (root / "train" / "ant" / "nowhere").symlink_to(root / "nowhere")
    (root / "train" / "ant" / "9.png").symlink_to(root / "nowhere.png")
    assert files(root) == sorted([*ORDINARY, "ant/9.png"])  # a picture that is missing
    words = "4 links left out, which lead to nothing, such as dog"
    assert [line.split(": ", 2)[2] for line in said(caplog)] == [words]
    source = open_images(DataConfig("folder", path=str(root), image_size=8), "train")
    with pytest.raises(ValueError, match="^image .*ant/9.png: missing or damaged"):
        source[2]


def test_a_circle_of_two_links_ends(root):
    for here, there in (("ant", "bee"), ("bee", "ant")):
        (root / "train" / here / "other").symlink_to(root / "train" / there)
    assert files(root) == ORDINARY


def test_what_is_left_out_is_counted_and_said_once(root, caplog):
    for name in ("a.heic", "b.HEIC", "notes.txt", "README", "._0.png"):
        (root / "train" / "ant" / name).write_bytes(b"x")
    os.mkfifo(root / "train" / "ant" / "pipe.png")
    (root / "train" / "ant" / "endless.png").symlink_to("/dev/zero")
    for _ in range(2):
        assert files(root) == ORDINARY
    words = "6 files left out, no pictures: .heic (2), pipe or device (2), "
    (line,) = [line.split(": ", 2)[2] for line in said(caplog)]
    assert line.startswith(words)
    assert sorted(line.removeprefix(words).split(", ")) == [".txt (1)", "no ending (1)"]


@pytest.mark.parametrize("ending", ["bmp", "tif", "tiff", "gif", "jfif", "ppm", "JPE", "webp"])
def test_files_of_all_common_kinds_are_read(root, ending):
    kind = {"tif": "TIFF", "jfif": "JPEG", "JPE": "JPEG"}.get(ending, ending.upper())
    Image.fromarray(photos.pixels(0)).save(root / "train" / "ant" / f"2.{ending}", kind)
    config = DataConfig("folder", path=str(root), image_size=8)
    source = open_images(config, "train")
    assert len(source) == 7 and source[2]["image"].shape == (8, 8, 3)


def test_a_folder_that_cannot_be_read_is_named(root, monkeypatch):
    def scandir(folder):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(folder_walk.os, "scandir", scandir)
    with pytest.raises(ValueError, match=r"^data.path: folder .* cannot be read \(Permission den"):
        files(root)


def test_split_folders_may_be_named_in_any_case(root):
    (root / "train").rename(root / "Train")
    photos.write_folder(root / "VAL", 1)
    assert files(root) == ORDINARY
    validation = FolderPictures(str(root), "validation")
    assert len(validation.files) == 3 and validation.class_names == photos.CLASSES
    photos.write_folder(root / "train", 1)  # the exact name goes first
    assert len(files(root)) == 3


def test_one_name_in_two_forms_is_one_class(root):
    composed = unicodedata.normalize("NFC", "café")
    apart = unicodedata.normalize("NFD", "café")
    (root / "train" / "ant").rename(root / "train" / apart)
    (root / "val" / composed).mkdir(parents=True)
    shutil.copy(root / "train" / "bee" / "0.png", root / "val" / composed)
    names = FolderPictures(str(root), "train").class_names
    assert names == ("bee", composed, "cow")
    validation = FolderPictures(str(root), "validation")
    assert validation.labels == [1]
    for label in (composed, apart):
        assert resolve_labels(label, 3, names).tolist() == [1]
        assert resolve_labels(label, 3, ("bee", apart, "cow")).tolist() == [1]
    assert place_of(f"{composed}/1.png") == place_of(f"{apart}/1.png")
    (root / "train" / composed).mkdir()  # both forms on one disk
    shutil.copy(root / "train" / "bee" / "0.png", root / "train" / composed / "z.png")
    both = FolderPictures(str(root), "train")
    assert both.class_names == names and both.labels.count(1) == 3


def test_names_that_are_no_text_are_read_and_can_be_printed(root):
    folder = os.fsencode(root / "train")
    try:
        os.rename(folder + b"/ant/0.png", folder + b"/ant/caf\xe9.png")
        os.rename(folder + b"/bee", folder + b"/b\xeae")
    except OSError:
        pytest.skip("this file system has names of UTF-8 alone")
    source = open_images(DataConfig("folder", path=str(root), image_size=8), "train")
    assert len(source) == 6 and source[1]["image"].shape == (8, 8, 3)
    assert source.class_names == ("ant", r"b\xeae", "cow")
    assert source.pictures.name(1).endswith(r"ant/caf\xe9.png")
    json.dumps([source.class_names, source.description], ensure_ascii=False).encode()


@pytest.mark.parametrize("name", ["@eaDir", "__MACOSX", "lost+found", "$RECYCLE.BIN", "#recycle"])
def test_folders_that_systems_make_are_no_classes_and_hold_no_pictures(root, name):
    for place in (root / "train", root / "train" / "ant"):
        (place / name / "0.png").mkdir(parents=True)
        shutil.copy(root / "train" / "bee" / "0.png", place / name / "0.png" / "THUMB.png")
    assert files(root) == ORDINARY
    assert folder_walk.is_hidden(f"ant/{name}/0.npz") and not folder_walk.is_hidden("./ant/0.npz")


def test_pictures_in_no_class_folder_are_counted(root, caplog):
    for name in ("z.png", "y.JPG", ".hidden.png", "notes.txt"):
        shutil.copy(root / "train" / "bee" / "0.png", root / "train" / name)
    with caplog.at_level(logging.WARNING):
        assert files(root) == ORDINARY
    (line,) = said(caplog)
    assert line.endswith("2 pictures left out, which lie in no class folder, such as y.JPG")


def test_a_program_may_change_its_folder(root, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(root)
    source = open_images(DataConfig("folder", path="../" + root.name, image_size=8), "train")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert source[0]["image"].shape == (8, 8, 3)
