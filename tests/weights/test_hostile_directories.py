"""Model directories that are broken or meant to do harm: one line each, before anything is "
"built."""

import json
import struct

import numpy as np
import pytest
import safetensors.numpy

from lpd_jax.models.family import config_from_dict, config_to_dict
from lpd_jax.runtime.errors import UserError
from lpd_jax.weights.from_torch import convert_file
from lpd_jax.weights.model_directory import load_model_directory, read_directory_config
from tests import tiny

HUGE = (10**9, 10**29, -1, 0, 1.5, "a" * 10_000, None, True, [], {}, [[]], [10**9] * 100_000)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return tiny.write_model_directory(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def folder(good, tmp_path):
    for file in good.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def refusal(load, folder) -> str:
    with pytest.raises(UserError) as error:
        load(folder)
    line = str(error.value)
    assert "\n" not in line and len(line) < 500
    return line


@pytest.mark.parametrize("model", [tiny.LPD, tiny.PAR, tiny.VQ], ids=["lpd", "par", "vq"])
def test_every_size_is_bounded(model):
    """Each field of each family, whatever it is set to: made, or refused in a readable line."""
    for field, value in config_to_dict(model).items():
        for odd in HUGE:
            try:
                config_from_dict({**config_to_dict(model), field: odd})
            except UserError as error:
                assert len(str(error)) < 500
            else:
                is_size = isinstance(value, int | list) and not isinstance(value, bool)
                assert odd in (None, True, 0, []) or not is_size


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": ' * 10_000 + "1" + "}" * 10_000, "nested too deeply"),
        ("[" * 100_000, "damaged"),
        ('{"format_version": 1, "format_version": 1}', "'format_version' twice"),
        ('{"format_version": NaN}', "NaN is no number"),
        ('{"format_version": ' + "1" * 5000 + "}", "damaged"),
        ('{"format_version": 1e400}', "format_version: got inf"),
        ('{"format_version": 1, "' + "k" * 10_000 + '": 1}', "unknown field"),
        ('{"format_version": 1, "a\\nb": 1}', r"'a\nb': got an unknown field"),
        ("version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("\n<!DOCTYPE html><html>", "web page"),
        ("null", "allowed is an object"),
        ("", "damaged"),
    ],
)
def test_what_is_no_config(folder, text, words):
    (folder / "config.json").write_text(text)
    assert words in refusal(read_directory_config, folder)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("image_size", [10**9, 10**9], "image_size"),
        ("image_size", [8] * 100_000, "image_size"),
        ("class_names", ["a"] * 100_000, "class_names: got 100000"),
        ("class_names", ["a" * 10_000, 3, "b"], "class_names: got 3"),
        ("generation", {"temperature": 1e300}, "temperature"),
        ("generation", {"seed": 10**29}, "seed"),
        ("transformer", {"family": ["lpd"]}, "family"),
    ],
)
def test_other_fields(folder, field, value, words):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {field: value}))
    assert words in refusal(read_directory_config, folder)


def test_a_name_of_any_length_is_only_a_name(folder):
    config = json.loads((folder / "config.json").read_text())
    config["class_names"] = ["a" * 10_000, "\ud800", "猫"]
    (folder / "config.json").write_text(json.dumps(config))
    assert len(read_directory_config(folder).class_names[0]) == 10_000


def write_weights(folder, leaves) -> None:
    safetensors.numpy.save_file(leaves, folder / "model.safetensors")


def leaves_of(folder) -> dict[str, np.ndarray]:
    return safetensors.numpy.load_file(folder / "model.safetensors")


@pytest.mark.parametrize("dtype", [np.int64, np.bool_, np.uint8, np.int8, np.complex64])
def test_weights_that_are_no_floats(folder, dtype):
    leaves = leaves_of(folder)
    write_weights(folder, leaves | {"norm/scale": leaves["norm/scale"].astype(dtype)})
    assert "norm/scale: got numbers of type" in refusal(load_model_directory, folder)


def test_doubles_are_converted_on_purpose(folder):
    leaves = {name: leaf.astype(np.float64) for name, leaf in leaves_of(folder).items()}
    write_weights(folder, leaves)
    scale = load_model_directory(folder).transformer["norm"]["scale"]
    assert scale.dtype == np.float32
    np.testing.assert_array_equal(scale, leaves["norm/scale"])


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_weights_that_are_not_finite(folder, value):
    leaves = leaves_of(folder)
    leaves["norm/scale"] = leaves["norm/scale"].astype(np.float64)
    leaves["norm/scale"][3] = value
    write_weights(folder, leaves)
    assert "norm/scale: got 1 of 16 values" in refusal(load_model_directory, folder)


def test_weights_of_any_finite_size_are_weights(folder):
    leaves = leaves_of(folder) | {"norm/scale": np.full(16, 3e38, np.float32)}
    write_weights(folder, leaves)
    assert load_model_directory(folder).transformer["norm"]["scale"].max() > 1e38


@pytest.mark.parametrize(
    "name",
    ["/" * 100_000, "a/" * 100_000 + "a", "", "a//b", "norm/scale/x", "norm", "/a", "a/"],
    ids=["slashes", "deep", "empty", "gap", "below", "above", "start", "end"],
)
def test_names_that_are_no_paths(folder, name):
    write_weights(folder, leaves_of(folder) | {name: np.zeros(1, np.float32)})
    assert "got weight" in refusal(load_model_directory, folder)


def read_header(folder) -> tuple[dict, bytes]:
    raw = (folder / "model.safetensors").read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def write_header(folder, header: bytes, data: bytes, length: int | None = None) -> None:
    told = struct.pack("<Q", len(header) if length is None else length)
    (folder / "model.safetensors").write_bytes(told + header + data)


@pytest.mark.parametrize("length", [0, 1, 10**8 + 1, 2**63, 2**64 - 1])
def test_a_header_whose_length_lies(folder, length):
    header, data = read_header(folder)
    write_header(folder, json.dumps(header).encode(), data, length)
    assert "truncated or damaged" in refusal(load_model_directory, folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("data_offsets", x) for x in ([0, 4], [4, 0], [0, 10**12], [-4, 4], [0], "x", None)),
        *(("shape", x) for x in ([10**12], [2**32, 2**32], [-1], [1.5], ["a"], None)),
        *(("dtype", x) for x in ("F8_E4M3", "C64", "I64", "XX", "", 3, None)),
    ],
)
def test_a_header_that_lies(folder, field, value):
    header, data = read_header(folder)
    header["norm/scale"][field] = value
    write_header(folder, json.dumps(header).encode(), data)
    refusal(load_model_directory, folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ("<!DOCTYPE html>\n<html>", "web page"),
        ("", "truncated or damaged"),
    ],
)
def test_what_a_failed_download_leaves(folder, text, words):
    (folder / "model.safetensors").write_text(text)
    assert words in refusal(load_model_directory, folder)


def test_more_weights_than_any_model_has(folder):
    write_weights(folder, {f"n{i}": np.zeros(1, np.float32) for i in range(20_001)})
    assert "got 20,001 weights" in refusal(load_model_directory, folder)
    refusal(convert_file, folder / "model.safetensors")


def test_a_code_of_more_bits_than_python_writes():
    with pytest.raises(UserError, match="^codebook_size: got a whole number of 65537 bits"):
        config_from_dict({"family": "vq", "quantizer": "lfq", "codebook_dim": 2**16})
