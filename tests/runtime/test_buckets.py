"""Paths of this machine and of buckets, and what cannot be in one."""

import pathlib
import sys

import numpy as np
import pytest
from etils import epath
from etils.epath import backend

from lpd_jax.data.foreign_caches import open_foreign_cache
from lpd_jax.data.tfds_pictures import TfdsPictures
from lpd_jax.decoding.order_bank import load_or_make_bank
from lpd_jax.decoding.schedule import make_schedule
from lpd_jax.evaluation.avatar_classifier import load_classifier, save_classifier
from lpd_jax.images import read_image, save_png
from lpd_jax.runtime import bucket_cache, buckets
from lpd_jax.runtime.atomic_files import check_output_file, replacing_directory, replacing_file
from lpd_jax.runtime.errors import UserError
from lpd_jax.runtime.locks import writing_to
from lpd_jax.weights.from_torch.torch_files import read_state_dict
from tests.buckets import folder_buckets


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Where the files of all buckets lie; relative paths lead elsewhere."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with folder_buckets(tmp_path / "buckets"):
        yield tmp_path / "buckets"
    assert not list((tmp_path / "here").iterdir())  # above all no folder called gs:


def test_what_is_a_bucket():
    for path in ("gs://b/x", "s3://b", epath.Path("gs://b/x"), pathlib.Path("gs://b/x"), "ftp://b"):
        assert buckets.is_bucket(path)
    for path in ("a/gs://b", "/gs:/b", "C:/x", "gs:x", "", "a:b/c"):
        assert not buckets.is_bucket(path)


@pytest.mark.parametrize(
    "path", ["ftp://b/x", "gs:/b/x", "gs://", "gs:///x", pathlib.Path("gs://b/x")]
)
def test_addresses_of_no_bucket_are_refused(path):
    words = "^output: got '.*', allowed are folders of this machine and of buckets: gs://BUCKET"
    with pytest.raises(UserError, match=words):
        buckets.located("output", path)


@pytest.mark.parametrize(("scheme", "package"), [("gs", "gcsfs"), ("s3", "s3fs")])
def test_a_bucket_needs_its_package(monkeypatch, scheme, package):
    monkeypatch.setitem(sys.modules, package, None)
    new = type(backend.fsspec_backend)()  # which remembers nothing
    monkeypatch.setattr(new, "_get_filesystem", new._get_filesystem.__wrapped__.__get__(new))
    monkeypatch.setattr(backend, "fsspec_backend", new)
    monkeypatch.setattr(sys.modules["fsspec.registry"], "_registry", {})
    words = (
        f"^tokenizer: got '{scheme}://b/x', but {package} is missing; allowed is .* after "
        r"`pip install 'lpd_jax\[buckets\]'`$"
    )
    with pytest.raises(UserError, match=words):
        buckets.reachable("tokenizer", f"{scheme}://b/x")


def test_a_bucket_that_cannot_be_reached_is_one_line(monkeypatch):
    class NoKeys:
        def exists(self, path):
            raise RuntimeError("no keys\nwere found")

    monkeypatch.setattr(buckets, "file_system", lambda path: NoKeys())
    with pytest.raises(UserError, match="^model: got 's3://b', which cannot be reached: no keys w"):
        buckets.reachable("model", "s3://b")


def test_a_file_of_a_bucket_appears_whole_or_not_at_all(root):
    file = check_output_file("output", "gs://b/pictures/a.png", (".png",))
    with pytest.raises(RuntimeError), replacing_file(file) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert not root.exists()
    with replacing_file(file) as temporary:
        temporary.write_bytes(b"whole")
    assert (root / "b/pictures/a.png").read_bytes() == b"whole"
    with pytest.raises(UserError, match="^output: got 'gs://b/a.jpg', allowed are names ending"):
        check_output_file("output", "gs://b/a.jpg", (".png",))
    save_png("gs://b/pictures/b.png", np.zeros((2, 3, 3), np.uint8))
    assert read_image("input", "gs://b/pictures/b.png").shape == (2, 3, 3)
    with buckets.local_file("input", "gs://b/pictures/a.png") as copy:
        assert copy.read_bytes() == b"whole"
    assert not copy.exists()


def test_files_are_listed_without_what_stands_for_folders(root):
    for name in ("f/cat/1.png", "f/cat/deep/2.png", "f/a.txt", "other/3.png"):
        (root / "b" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "b" / name).write_bytes(b"x")
    folder = epath.Path("s3://b/f")
    assert list(buckets.files_below(folder)) == ["a.txt", "cat/1.png", "cat/deep/2.png"]
    assert buckets.subfolders(folder) == ["cat"]
    assert buckets.subfolders(folder / "no") == []
    assert buckets.read_bytes(folder / "cat" / "1.png") == b"x"
    buckets.delete_folder(folder / "cat")
    buckets.delete_folder(folder / "cat")
    assert list(buckets.files_below(folder)) == ["a.txt"]


def test_what_is_kept_here_is_fetched_once_and_anew_where_it_changed(root, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (root / "b/t/deep").mkdir(parents=True)
    (root / "b/t/deep/1").write_bytes(b"one")
    (root / "b/t/2").write_bytes(b"two")
    folder = epath.Path("gs://b/t")
    local = bucket_cache.kept_here(folder)
    assert (local / "deep/1").read_bytes() + (local / "2").read_bytes() == b"onetwo"
    with monkeypatch.context() as patch:
        patch.setattr(buckets, "copy_file", lambda *_: pytest.fail("fetches again"))
        assert bucket_cache.kept_here(folder) == local
    (root / "b/t/2").write_bytes(b"three")
    assert (bucket_cache.kept_here(folder) / "2").read_bytes() == b"three"
    assert (local / "2").read_bytes() == b"two"


def write_to_a_folder(path):
    with replacing_directory(path):
        pytest.fail("makes a folder")


def lock(path):
    with writing_to("output", pathlib.Path(path)):
        pytest.fail("makes a folder")


@pytest.mark.parametrize(
    ("field", "use"),
    [
        ("output", write_to_a_folder),
        ("output", lock),
        ("from", lambda path: open_foreign_cache(path, "train")),
        ("data.path", lambda path: TfdsPictures("mnist", path, "train")),
        ("checkpoint", read_state_dict),
        ("path", lambda path: save_classifier(path, load_classifier())),
        (
            "cache_dir",
            lambda path: load_or_make_bank(
                "raster", (2, 2), make_schedule(4, 2), 2, cache_dir=path
            ),
        ),
    ],
)
def test_what_cannot_be_in_a_bucket_says_so(root, field, use):
    with pytest.raises(UserError, match=f"^{field}: got 'gs:/.*', allowed is a path of this mach"):
        use("gs://b/x")
