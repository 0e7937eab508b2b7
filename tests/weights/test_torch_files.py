"""Checkpoint files become arrays: every format and layout, and nothing in them ever runs."""

import argparse
import collections
import json
import struct
import tracemalloc
import zipfile

import chex
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from lpd_jax.runtime.errors import UserError
from lpd_jax.weights.from_torch.checkpoint_entries import clean_names
from lpd_jax.weights.from_torch.torch_files import read_state_dict
from tests.torch_writer import STORAGES, Call, Name, Tensor, write_legacy, write_zip

WRITERS = {"zip": write_zip, "legacy": write_legacy}
WEIGHTS = {
    "norm.weight": np.arange(4, dtype=np.float32),
    "head.weight": np.arange(12, dtype=np.float32).reshape(3, 4),
}


@pytest.fixture(params=WRITERS.values(), ids=WRITERS)
def write(request):
    return request.param


@pytest.fixture
def file(tmp_path):
    return tmp_path / "model.pth"


@pytest.mark.parametrize("dtype", STORAGES, ids=str)
def test_every_dtype(write, file, dtype):
    want = np.array([[0, 1, 2], [3, 100, 1]]).astype(dtype)
    weights = {"a": want, "scalar": want[1:, 0].reshape(())}
    write(file, weights)
    got = read_state_dict(file)
    assert got["a"].dtype == dtype and got["scalar"].shape == ()
    chex.assert_trees_all_equal(got, weights)


def test_views_of_one_storage(write, file):
    storage = np.arange(24, dtype=np.float32)
    rows = Tensor(storage, 4, (3, 4), (4, 1))
    turned = Tensor(storage, 4, (4, 3), (1, 4))
    every_second = Tensor(storage, 1, (5,), (2,))
    expanded = Tensor(storage, 7, (2, 3), (0, 0))
    empty = Tensor(storage, 24, (0, 3), (3, 1))
    write(file, {"a": rows, "b": turned, "c": every_second, "d": expanded, "e": empty})
    want = storage[4:16].reshape(3, 4)
    chex.assert_trees_all_equal(
        read_state_dict(file),
        {
            "a": want,
            "b": want.T,
            "c": storage[1:10:2],
            "d": np.full((2, 3), 7, np.float32),
            "e": np.zeros((0, 3), np.float32),
        },
    )


def test_what_stands_beside_the_weights_is_left_out(write, file):
    checkpoint = {
        "optimizer": {"state": {0: {"step": 5, "exp_avg": WEIGHTS["norm.weight"]}}, "groups": []},
        "model": Call("collections OrderedDict", (), {"_metadata": {"": {"version": 1}}}),
        "steps": 1000,
        "loss": Call("numpy.core.multiarray scalar", (Call("numpy dtype", ("f8",)), "x")),
        "args": Call("argparse Namespace", (), {"lr": 1e-4, "size": Call("torch Size", ((1, 2),))}),
        "device": Call("torch device", ("cuda", 0)),
        "dtype": Name("torch bfloat16"),
    }
    write(file, {**checkpoint, "model": WEIGHTS})
    chex.assert_trees_all_equal(read_state_dict(file), WEIGHTS)
    write(file, checkpoint)  # only the optimizer has tensors
    with pytest.raises(ValueError, match="holds no state dict"):
        read_state_dict(file)


def test_parameters_are_tensors(write, file):
    parameter = Call("torch._utils _rebuild_parameter", (WEIGHTS["norm.weight"], True, {}))
    write(file, {"norm.weight": parameter, "head.weight": WEIGHTS["head.weight"]})
    chex.assert_trees_all_equal(read_state_dict(file), WEIGHTS)


def test_ordered_dict_of_pairs(write, file):
    """So Python 2 pickled them."""
    pairs = [[name, value] for name, value in WEIGHTS.items()]
    write(file, Call("collections OrderedDict", (pairs,)))
    chex.assert_trees_all_equal(read_state_dict(file), WEIGHTS)


@pytest.mark.parametrize("key", ["model", "module", "state_dict", "model_state", "weights_of_ours"])
def test_wrapper_keys(file, key):
    write_zip(file, {"epoch": 3, key: WEIGHTS})
    chex.assert_trees_all_equal(read_state_dict(file), WEIGHTS)


@pytest.mark.parametrize(
    "name", ["ema", "model_ema", "ema_model", "ema_state_dict", "state_dict_ema"]
)
def test_a_moving_average_comes_last_unless_its_key_is_named(file, name):
    """The official samplers load "model"; what was taken is said, and what else there is."""
    average = {weight: value + 1 for weight, value in WEIGHTS.items()}
    lines = []
    write_zip(file, {name: average, "model": WEIGHTS, "steps": 7})
    chex.assert_trees_all_equal(read_state_dict(file, tell=lines.append), WEIGHTS)
    chex.assert_trees_all_equal(read_state_dict(file, key=name, tell=lines.append), average)
    assert lines == [
        f"{file.name}: took entry {taken!r}, others with weights of a model are {other!r}; "
        "--key chooses"
        for taken, other in (("model", name), (name, "model"))
    ]
    with pytest.raises(ValueError, match=f"key: got 'module', allowed are {name}, model, steps"):
        read_state_dict(file, key="module")


def test_a_key_may_be_the_dotted_name_of_an_entry_that_lies_deeper(file):
    average = {weight: value + 1 for weight, value in WEIGHTS.items()}
    lines = []
    write_zip(file, {"checkpoint": {"model": WEIGHTS, "ema": average}, "a.b": WEIGHTS})
    read_state_dict(file, key="checkpoint", tell=lines.append)
    assert "others with weights of a model are 'checkpoint.ema', 'a.b'; --key chooses" in lines[0]
    chex.assert_trees_all_equal(read_state_dict(file, key="checkpoint.ema"), average)
    chex.assert_trees_all_equal(read_state_dict(file, key="a.b"), WEIGHTS)
    with pytest.raises(
        ValueError, match=r"key: got 'checkpoint\.no', allowed are checkpoint, a\.b"
    ):
        read_state_dict(file, key="checkpoint.no")


def test_a_moving_average_alone_is_taken(file):
    lines = []
    write_zip(file, {"optimizer": {"model": [1]}, "model_ema": WEIGHTS})
    chex.assert_trees_all_equal(read_state_dict(file, tell=lines.append), WEIGHTS)
    assert lines == [f"{file.name}: took entry 'model_ema', the only one with weights of a model"]
    read_state_dict(file, lambda names: False, tell=lines.append)  # of a model that nobody knows
    assert lines[1] == f"{file.name}: took entry 'model_ema'"


def test_nothing_is_said_of_a_file_that_is_its_weights(file):
    write_zip(file, WEIGHTS)
    read_state_dict(file, tell=pytest.fail)


def test_state_dict_is_found_by_its_names(file):
    write_zip(file, {"model": {"critic.weight": WEIGHTS["norm.weight"]}, "generator": WEIGHTS})
    got = read_state_dict(file, is_model=lambda names: "head.weight" in names)
    chex.assert_trees_all_equal(got, WEIGHTS)


def test_prefixes_are_removed(file):
    names = ("module._orig_mod.norm.weight", "module.head._orig_mod.weight")
    write_zip(file, {"model": dict(zip(names, WEIGHTS.values(), strict=True))})
    chex.assert_trees_all_equal(read_state_dict(file), WEIGHTS)
    with pytest.raises(ValueError, match="'a' occurs twice"):
        clean_names({"a": 1, "module.a": 2})


def test_nothing_in_the_file_runs(write, file, tmp_path):
    trap = tmp_path / "trap"
    attack = Call("posix system", (f"touch {trap}",))
    others = [
        Call("builtins eval", (f"open({str(trap)!r}, 'w')",)),
        Call("builtins exec", ("raise SystemExit",), {"a": 1}),
        Call("torch._utils _rebuild_tensor_v2x", (1,)),
    ]
    write(file, {"model": {**WEIGHTS, "note": attack}, "attack": attack, "more": others})
    chex.assert_trees_all_equal(read_state_dict(file), WEIGHTS)
    assert not trap.exists()


def test_nothing_runs_by_the_other_opcodes(file, tmp_path):
    trap = tmp_path / "trap"
    command = b"X" + struct.pack("<I", len(f"touch {trap}")) + f"touch {trap}".encode()
    for opcodes in (
        b"(" + command + b"iposix\nsystem\n.",  # INST
        b"(cposix\nsystem\n" + command + b"o.",  # OBJ
        b"cposix\nsystem\n" + command + b"\x85\x81.",  # NEWOBJ
        b"\x8c\x05posix\x8c\x06system\x93" + command + b"\x85R.",  # STACK_GLOBAL
        b"cposix\nsystem\n" + command + b"\x85}\x92.",  # NEWOBJ_EX
    ):
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("a/data.pkl", b"\x80\x02" + opcodes)
        with pytest.raises(ValueError, match="holds a pickled posix.system object"):
            read_state_dict(file)
        assert not trap.exists()


def test_pickled_model_is_refused_by_name(write, file):
    write(file, Call("my.code LPD", (), {"_parameters": WEIGHTS}))
    with pytest.raises(ValueError, match=r"holds a pickled my\.code\.LPD object; allowed is a sta"):
        read_state_dict(file)


def test_weight_of_an_unknown_kind_is_refused_by_name(file):
    quantized = Call("torch._utils _rebuild_qtensor", (1, 2))
    write_zip(file, {**WEIGHTS, "fc.weight": quantized})
    with pytest.raises(ValueError, match="weight 'fc.weight' is a torch._utils._rebuild_qtensor"):
        read_state_dict(file)


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(0, (5,), (1,)), (3, (2,), (1,)), (0, (2, 2), (3, 1)), (-1, (2,), (1,)), (0, (2,), (-1,))],
)
def test_tensor_beyond_its_storage_is_refused(write, file, offset, shape, strides):
    write(file, {"a": Tensor(np.zeros(4, np.float32), offset, shape, strides)})
    with pytest.raises(ValueError, match=f"checkpoint: got '{file}' .*damaged"):
        read_state_dict(file)


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_truncated_file_is_one_clear_error(file, kind):
    if kind == "safetensors":
        safetensors.numpy.save_file(WEIGHTS, file)
    else:
        WRITERS[kind](file, {"model": WEIGHTS, "args": Call("argparse Namespace", (), {"a": 1})})
    whole = file.read_bytes()
    for length in range(0, len(whole), 7):
        file.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=f"checkpoint: got '{file}'") as caught:
            read_state_dict(file)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_damaged_file_never_gives_another_error(file, kind):
    if kind == "safetensors":
        safetensors.numpy.save_file(WEIGHTS, file)
    else:
        WRITERS[kind](file, {"model": WEIGHTS, "steps": [1, 2.0, "three"]})
    whole = file.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(400):
        damaged = bytearray(whole)
        damaged[random.integers(len(whole))] = random.integers(256)
        file.write_bytes(damaged)
        try:
            read_state_dict(file)
        except ValueError as error:
            assert str(file) in str(error)


def test_big_endian_and_compressed_zips(file):
    write_zip(file, WEIGHTS, byteorder="big")
    chex.assert_trees_all_equal(read_state_dict(file), WEIGHTS)
    write_zip(file, WEIGHTS, compression=zipfile.ZIP_DEFLATED)
    chex.assert_trees_all_equal(read_state_dict(file), WEIGHTS)


def test_safetensors(tmp_path):
    weights = {**WEIGHTS, "half": np.ones((2, 3), ml_dtypes.bfloat16), "scalar": np.float64(3)}
    weights = {f"module.{name}": np.asarray(value) for name, value in weights.items()}
    file = tmp_path / "model.safetensors"
    safetensors.numpy.save_file(weights, file, metadata={"format": "pt"})
    chex.assert_trees_all_equal(read_state_dict(file), clean_names(weights))


def test_large_file_takes_no_memory(tmp_path):
    file, numel = tmp_path / "large.safetensors", 16 << 20
    spans = {"dtype": "F32", "shape": [numel], "data_offsets": [0, 4 * numel]}
    header = json.dumps({"a": spans}).encode()
    with file.open("wb") as out:
        out.write(struct.pack("<Q", len(header)) + header)
        out.truncate(8 + len(header) + 4 * numel)  # a hole: 64 MB that no disk holds
    tracemalloc.start()
    array = read_state_dict(file)["a"]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert array.shape == (numel,) and peak < 1 << 20
    assert not array.flags.writeable


def test_other_files_are_refused(tmp_path, file):
    with pytest.raises(FileNotFoundError, match="model.pth is not there"):
        read_state_dict(file)
    with pytest.raises(FileNotFoundError, match="is a folder; allowed is a file"):
        read_state_dict(tmp_path)
    for content, message in (
        (b"", "is empty"),
        (b"<!doctype html>", "neither a PyTorch checkpoint nor a safetensors file"),
        (b"PK\x03\x04" + b"0" * 50, "truncated"),
    ):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            read_state_dict(file)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", "a")
    with pytest.raises(ValueError, match="has no data.pkl"):
        read_state_dict(file)
    write_zip(file, {"epoch": 3})
    with pytest.raises(ValueError, match="holds no state dict"):
        read_state_dict(file)


@pytest.mark.parametrize("legacy", [False, True])
def test_files_that_torch_itself_writes(file, legacy):
    torch = pytest.importorskip("torch")
    base = torch.arange(24.0).reshape(4, 6)
    model = collections.OrderedDict(
        a=base,
        b=base[1:, ::2].T,
        c=torch.nn.Parameter(base.to(torch.float16)),
        d=base.to(torch.bfloat16),
        e=torch.arange(3),
    )
    checkpoint = {"model": model, "args": argparse.Namespace(lr=1e-4), "steps": 7}
    torch.save(checkpoint, file, _use_new_zipfile_serialization=not legacy)
    got = read_state_dict(file)
    assert got.keys() == model.keys()
    assert got["d"].dtype == ml_dtypes.bfloat16
    for name, want in model.items():
        want = want.detach().to(torch.float64).numpy()
        np.testing.assert_array_equal(got[name].astype(np.float64), want)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        ("<!DOCTYPE html>\n<html>" + " " * 10_000, "web page"),
        ("\ufeff\n<html>", "web page"),
    ],
)
@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_what_a_failed_download_leaves_is_named_with_the_remedy(tmp_path, name, text, remedy):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=remedy):
        read_state_dict(tmp_path / name)
