"""Models by name: bundled ones, folders, repositories of a hub that is not asked for real."""

import sys
import types

import numpy as np
import pytest

from lpd_jax.pipeline import Pipeline
from lpd_jax.runtime.errors import UserError
from lpd_jax.weights import hub
from lpd_jax.weights.hub import BUNDLED_MODELS, DEFAULT_MODEL, find_model_directory
from tests import tiny

NAME = "owner/tiny-model"


@pytest.fixture
def model(tmp_path):
    return tiny.write_model_directory(tmp_path / "downloaded")


@pytest.fixture
def asked(monkeypatch, model, tmp_path):
    """What the hub was asked for; it has one repository, and is reached from an empty folder."""
    asked = []

    def hf_hub_download(name, file, revision):
        asked.append((name, file if revision is None else f"{file}@{revision}"))
        if name != NAME:
            raise OSError("offline: cannot reach the hub\nand a page of advice")
        return str(model / file)

    def snapshot_download(name, **options):
        asked.append((name, options))
        return str(model)

    stub = types.ModuleType("huggingface_hub")
    stub.hf_hub_download, stub.snapshot_download = hf_hub_download, snapshot_download
    monkeypatch.setitem(sys.modules, "huggingface_hub", stub)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return asked


def test_a_repository_is_fetched_and_loaded(asked, model):
    fetched = Pipeline.from_pretrained(NAME)
    assert [name for name, _ in asked] == [NAME] * 2
    # Only what a model is made of, whatever else the repository holds, and of one commit.
    assert set(asked[1][1]["allow_patterns"]) == {path.name for path in model.iterdir()}
    assert asked[1][1]["revision"] == "downloaded"
    assert fetched.class_names == tiny.CLASS_NAMES
    local = Pipeline.from_pretrained(model)
    np.testing.assert_array_equal(fetched.request(0).order, local.request(0).order)


@pytest.mark.parametrize("revision", ["v1.0", "refs/pr/3", "0a1b2c3"])
def test_a_revision_of_a_repository_is_fetched(asked, model, revision):
    assert find_model_directory(f"{NAME}@{revision}") == model
    assert asked[0] == (NAME, f"config.json@{revision}")
    assert asked[1][0] == NAME and asked[1][1]["revision"] == "downloaded"


def test_of_another_librarys_repository_nothing_but_the_config_is_fetched(asked, model):
    (model / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    with pytest.raises(UserError, match=f"^model: got '{NAME}', whose config.json is that of ano"):
        find_model_directory(NAME)
    assert asked == [(NAME, "config.json")]


def test_no_name_is_not_the_current_folder(asked, model, monkeypatch):
    monkeypatch.chdir(model)
    with pytest.raises(FileNotFoundError, match="model: got '', which is no directory"):
        find_model_directory("")
    assert find_model_directory(".").resolve() == model


def test_a_folder_of_that_name_wins(asked, tmp_path):
    folder = tmp_path / "here" / NAME
    folder.mkdir(parents=True)
    assert find_model_directory(NAME).resolve() == folder
    # Beside it, a name with a slash is a path that was mistyped.
    with pytest.raises(FileNotFoundError, match="got 'owner/tiny', which is no directory"):
        find_model_directory("owner/tiny")
    assert not asked


@pytest.mark.parametrize("name", ["lpd_l_256", "mit-han-lab/lpd_l_256"])
def test_a_folder_without_a_model_hides_no_published_one(asked, tmp_path, monkeypatch, name):
    monkeypatch.setattr(hub, "fetch_model", lambda name: f"fetched {name}")
    folder = tmp_path / "here" / name  # as an evaluation's may be called
    (folder / "shards").mkdir(parents=True)
    assert find_model_directory(name) == f"fetched {name}"
    (folder / "config.json").write_text("{}")
    assert find_model_directory(name).resolve() == folder


@pytest.mark.parametrize("name", ["owner/other", "other.owner/a-b_c"])
def test_what_cannot_be_fetched_is_one_line_naming_it(asked, name):
    with pytest.raises(UserError, match=f"^model: got '{name}', .*: offline: cannot rea") as error:
        find_model_directory(name)
    assert "\n" not in str(error.value) and [name for name, _ in asked] == [name]


def test_a_hub_that_is_not_installed_is_one_line_naming_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(
        UserError, match=f"^model: got '{NAME}', .*pip install 'lpd_jax.hub.'"
    ) as error:
        find_model_directory(NAME)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["avatar12", "owner/name/more", "owner//name"])
def test_an_unknown_name_lists_what_is_allowed(asked, name):
    with pytest.raises(FileNotFoundError, match=f"^model: got '{name}', .*avatars12") as error:
        find_model_directory(name)
    assert "\n" not in str(error.value) and not asked
    assert ("did you mean 'avatars12'?" in str(error.value)) == (name == "avatar12")


def test_bundled_models_are_model_directories():
    assert DEFAULT_MODEL in BUNDLED_MODELS
    for name, folder in BUNDLED_MODELS.items():
        assert find_model_directory(name) == folder and (folder / "config.json").is_file()


def test_the_model_of_clips_goes_by_its_name(monkeypatch, tmp_path):
    folder = tiny.write_clip_model(tmp_path / "stand_in", guidance_scale=1.5)
    monkeypatch.setitem(BUNDLED_MODELS, "clips", folder)
    pipe = Pipeline.from_pretrained("clips")
    assert pipe.config.draws_clips and pipe.image_size == (5, 16, 16)
    request = pipe.request(["owl", 1])
    assert request.labels.tolist() == [2, 1] and request.generation.guidance_scale == 1.5


def test_a_bundled_model_that_is_not_there_is_one_line_naming_it(monkeypatch, tmp_path):
    monkeypatch.setitem(BUNDLED_MODELS, "clips", tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="^model: got 'clips', whose weights") as error:
        Pipeline.from_pretrained("clips")
    assert "nowhere" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "address",
    ["https://huggingface.co/own-er/name.x", "https://hf.co/own-er/name.x/tree/main"]
    + ["hf://own-er/name.x", "http://www.huggingface.co/own-er/name.x?a=b"],
)
def test_of_a_page_of_the_hub_the_line_says_the_name(address):
    with pytest.raises(ValueError, match="an address; allowed is 'own-er/name.x' of it$"):
        find_model_directory(address)


def test_of_a_file_of_a_model_directory_the_line_says_the_folder(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"x")
    for name in ("config.json", "model.safetensors"):
        with pytest.raises(FileNotFoundError, match=f"allowed is its folder, '{tmp_path}'$"):
            find_model_directory(tmp_path / name)


def test_a_checkpoint_is_no_model_directory(tmp_path):
    (tmp_path / "model.pth").write_bytes(b"weights")
    with pytest.raises(FileNotFoundError, match="which is a file; .* launch/convert.py makes of"):
        find_model_directory(tmp_path / "model.pth")
