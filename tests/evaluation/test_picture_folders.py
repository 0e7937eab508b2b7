"""Folders and files of pictures to judge, as people have them."""

import zipfile

import numpy as np
import pytest
from PIL import Image

from lpd_jax import bundled
from lpd_jax.evaluation.judges import I3D_WEIGHT, is_file_of_i3d
from lpd_jax.evaluation.picture_sets import open_pictures
from lpd_jax.evaluation.protocol import evaluate
from lpd_jax.evaluation.references import load_reference, make_reference
from lpd_jax.weights.public_files import INCEPTION, local_public_file
from tests import tiny
from tests.data import photos
from tests.evaluation import judging
from tests.torch_writer import write_zip


@pytest.fixture
def folder(tmp_path):
    for number in range(5):
        write(tmp_path / "real" / f"{number}.png", number)
    return tmp_path / "real"


def write(file, seed=0, height=8, width=8):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photos.pixels(seed, height, width)).save(file)


def test_links_are_followed_and_what_systems_make_is_left_out(folder, tmp_path):
    write(tmp_path / "elsewhere" / "5.png")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "circle").symlink_to(folder)
    write(folder / "@eaDir" / "0.png" / "THUMB.png")
    write(folder / ".cache" / "9.png")
    names = [*(f"{number}.png" for number in range(5)), "linked/5.png"]
    assert open_pictures(str(folder)).names == names


def test_what_is_no_picture_is_counted_and_only_those_asked_for_are_looked_at(folder, caplog):
    (folder / "photo.heic").write_bytes(b"x")
    (folder / "4.png").write_bytes(b"no picture")
    assert open_pictures(str(folder), num_images=4).count == 4
    assert f"pictures: {folder}: 1 file left out, no pictures: .heic (1)" in caplog.text
    with pytest.raises(ValueError, match=r"^pictures: got '.*4\.png': "):
        open_pictures(str(folder), num_images=5)


def test_so_many_of_class_folders_are_of_all_classes(folder, tmp_path):
    for name in ("owl", "ant", "cat"):
        for number in range(4):
            write(tmp_path / "classes" / name / f"{number}.png", number)
    some, all_of_them = (open_pictures(str(tmp_path / "classes"), num_images=n) for n in (6, 0))
    taken = some.pictures.names[:6]
    assert [name.split("/")[0] for name in taken] == ["ant", "ant", "cat", "cat", "owl", "owl"]
    assert some.settings()["taken"] == "evenly among all"
    assert sorted(some.pictures.names) == all_of_them.names
    assert "taken" not in all_of_them.settings()
    # Of one folder they are the first, which a model may have drawn of its classes in turn.
    assert open_pictures(str(folder), num_images=2).pictures.names[:2] == ["0.png", "1.png"]


def test_so_many_of_a_data_set_are_of_all_classes():
    some = open_pictures("avatars12", split="validation", num_images=24)
    images_BHWC, labels_B = bundled.load_avatars("validation")
    rows = np.linspace(0, len(labels_B) - 1, 24).astype(int)
    assert set(labels_B[rows]) == set(range(12))
    np.testing.assert_array_equal(next(some.batches(range(24))), images_BHWC[rows])
    assert some.settings()["taken"] == "evenly among all"
    assert "taken" not in open_pictures("avatars12", split="validation").settings()


def test_a_link_to_nothing_is_named(folder, tmp_path):
    (folder / "gone.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(ValueError, match="^pictures: got .*gone.png': No such file"):
        open_pictures(str(folder))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda file: file.write_bytes(b""), "3.png': no picture of a format that is read"),
        (lambda file: write(file, height=9), "3.png' of 8x9 pixels, allowed is one size for all"),
        (lambda file: write(file, width=9), "3.png' of 9x8 pixels, allowed is one size for all"),
    ],
    ids=["empty", "taller", "wider"],
)
def test_what_cannot_be_judged_is_named_before_any_is(folder, harm, words):
    harm(folder / "3.png")
    with pytest.raises(ValueError, match="^pictures: got ") as error:
        open_pictures(str(folder))
    assert words in str(error.value)


def test_pictures_that_differ_only_in_how_they_are_turned_are_of_one_size(tmp_path):
    write(tmp_path / "0.png", height=6)
    mark = Image.Exif()
    mark[0x0112] = 6
    Image.fromarray(photos.pixels(1, 8, 6)).save(tmp_path / "1.png", exif=mark)
    pictures = open_pictures(str(tmp_path))
    assert next(pictures.batches(range(2))).shape == (2, 6, 8, 3)


def test_a_folder_whose_name_is_no_text_is_judged(folder, tmp_path):
    odd = folder.rename(tiny.folder_without_text(tmp_path))
    pictures, judge = open_pictures(str(odd)), judging.tiny_judge()
    evaluate(pictures, judge, make_reference(pictures, judge), tmp_path / "out")
    assert r"caf\xe9" in (tmp_path / "out" / "evaluation.md").read_text(encoding="utf-8")


def test_other_files_are_not_said_to_be_missing(folder, tmp_path):
    np.save(tmp_path / "real.npy", np.zeros((4, 8, 8, 3), np.uint8))
    for name in ("real.npy", "real/0.png"):
        with pytest.raises(ValueError, match="^pictures: got .*, which is another kind of file"):
            open_pictures(str(tmp_path / name))


@pytest.mark.parametrize("labels", [["a"] * 4, [0.5, np.nan, 1, 2], [[0, 1]] * 4])
def test_labels_that_are_no_class_numbers_are_no_labels(tmp_path, labels):
    judging.write_pictures(tmp_path / "real.npz", count=4, arr_1=np.array(labels))
    assert open_pictures(str(tmp_path / "real.npz")).labels is None


def test_a_reference_of_too_few_pictures_or_other_features_is_named(tmp_path):
    judge, file = judging.tiny_judge(), tmp_path / "real.npz"
    for count in (0, 1):
        judging.write_pictures(file, count=count)
        with pytest.raises(ValueError, match=f"^reference: got .* of {count} pictures, allowed"):
            load_reference(file, judge)
    gaussian = {"mu": np.zeros(5), "sigma": np.eye(5)}
    for features in (np.zeros((9, 8)), np.full((9, 5), np.nan), np.zeros(5), np.array(["a"])):
        np.savez(file, features=features, **gaussian)
        with pytest.raises(ValueError, match=r"^reference: got .* whose features are .*, 5\]"):
            load_reference(file, judge)


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_pictures_of_an_array_come_from_any_place_on(tmp_path, write, monkeypatch):
    images = np.random.default_rng(0).integers(256, size=(30, 8, 8, 3), dtype=np.uint8)
    write(tmp_path / "real.npz", labels_first=np.arange(300), arr_0=images)
    pictures = open_pictures(str(tmp_path / "real.npz"))
    for rows in (range(30), range(7, 20), range(29, 30)):
        found = np.concatenate([*pictures.batches(rows)])
        np.testing.assert_array_equal(found, images[rows.start : rows.stop])
    if write is np.savez:  # what lies before is not read
        monkeypatch.setattr(zipfile.ZipExtFile, "seek", lambda *_: 1 / 0)
        next(pictures.batches(range(20, 30)))


def test_weights_of_a_network_may_lie_at_home(tmp_path, monkeypatch):
    """A shell leaves the ~ of --network=~/own.pt as it is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    write_zip(tmp_path / "own.pt", {I3D_WEIGHT: np.zeros(3, np.float32)})
    assert is_file_of_i3d("~/own.pt") and not is_file_of_i3d("~/other.pt")
    with local_public_file(INCEPTION, "~/own.pt") as path:  # one's own need not be the published
        assert path == tmp_path / "own.pt"
