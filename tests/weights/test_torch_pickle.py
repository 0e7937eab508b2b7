"""Hostile pickles: whatever a stream asks for, nothing runs, nothing grows, one error comes out."""

import copyreg
import gc
import io
import mmap
import pickle
import struct
import sys
import tracemalloc

import numpy as np
import pytest

from lpd_jax.weights.from_torch.torch_pickle import (
    StandIn,
    StorageRecord,
    TensorRecord,
    read_pickle,
)

STORAGE = b"(\x8c\x07storagectorch\nFloatStorage\n\x8c\x010\x8c\x03cpuK\x04tQ"
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n(" + STORAGE + b"K\x00K\x02K\x02\x86K\x02K\x01\x86tR"
RECORD = StorageRecord("0", np.dtype(np.float32), 4)
INERT = (type(None), bool, int, float, str, bytes, StandIn, StorageRecord, TensorRecord)


def load(opcodes: bytes):
    return read_pickle(io.BytesIO(b"\x80\x04" + opcodes + b"."))[0]


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def peak_of(call) -> int:
    tracemalloc.start()
    call()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("protocol", range(1, pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_of_every_protocol(protocol):
    value = [None, True, False, 7, -300, 70_000, 1 << 40, 1 << 3000, 0.5, "a", "é" * 300]
    value += [b"", b"b" * 300, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [[], {}], {"a": {1: 2}}]
    value += [{(1, "flat"): 3, None: 4, 2.5: 5}, *map(str, range(300)), *map(str, range(300))]
    if protocol < 3:  # Python 2's protocols write bytes as a call
        value = [item for item in value if not isinstance(item, bytes)]
    assert read_pickle(io.BytesIO(pickle.dumps(value, protocol))) == (value, {})


def test_sets_become_lists_and_bytearrays_bytes():
    assert sorted(read_pickle(io.BytesIO(pickle.dumps({1, 2, 3}, 4)))[0]) == [1, 2, 3]
    assert read_pickle(io.BytesIO(pickle.dumps(frozenset({4}), 4)))[0] == [4]
    assert read_pickle(io.BytesIO(pickle.dumps(bytearray(b"ab"), 5)))[0] == b"ab"


def test_pickles_follow_each_other_in_a_map(tmp_path):
    file = tmp_path / "pickles"
    values = [{"a": list(range(300))}, "b" * 100_000, [1.5]]
    file.write_bytes(b"".join(pickle.dumps(v, p) for v, p in zip(values, (2, 4, 5), strict=True)))
    with file.open("rb") as opened:
        mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    assert [read_pickle(mapped)[0] for _ in values] == values
    assert mapped.tell() == len(mapped)
    with pytest.raises(ValueError, match="damaged .it ends early."):
        read_pickle(mapped)


@pytest.mark.parametrize(
    "opcodes",
    [
        b"cMODULE\nfunction\n)R",  # GLOBAL, REDUCE
        b"\x8c\x0cMODULE\x8c\x0eOuter.function\x93)R",  # STACK_GLOBAL of a nested name
        b"cMODULE\nOuter.function\n)\x81",  # NEWOBJ
        b"cMODULE\nOuter\n)}\x92",  # NEWOBJ_EX
        b"(cMODULE\nOuter\no",  # OBJ without arguments
        b"(K\x01iMODULE\nOuter\n",  # INST
        b"cMODULE\nOuter\n)R}\x8c\x0c__setstate__K\x01sb",  # BUILD
        b"cMODULE\nOuter\n)R)R",  # what a call gave is called
        b"cMODULE\nOuter\n](K\x01e",  # a class, then a list
    ],
)
def test_no_opcode_imports_or_calls(opcodes, tmp_path, monkeypatch):
    (tmp_path / "lpd_jax_trap.py").write_text("class Outer:\n  function = list\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert isinstance(load(opcodes.replace(b"MODULE", b"lpd_jax_trap")), StandIn | list)
    assert "lpd_jax_trap" not in sys.modules


@pytest.mark.parametrize("function", [b"K\x01", b"\x8c\x01a", b"]", b"N", b"}", TENSOR])
@pytest.mark.parametrize("call", [b")R", b")\x81", b")}\x92"])
def test_only_names_can_be_called(function, call):
    with pytest.raises(ValueError, match="damaged .a call without a name"):
        load(function + call)
    with pytest.raises(ValueError, match="a call without a name or a tuple"):
        load(b"cmath\nsin\n" + function + b"R")


def test_names_near_the_allowed_ones_are_stand_ins():
    for name in ("torch._utils _rebuild_tensor_v2x", "torch._utils2 _rebuild_parameter"):
        value = load(b"c" + "\n".join(name.split()).encode() + b"\nK\x05\x85R")
        assert (value.name, value.arguments) == (name.replace(" ", "."), (5,))
    assert load(b"ctorch._utils\n_rebuild_parameter_of_mine\nK\x05\x85R").arguments == (5,)


def test_an_extension_is_refused_even_if_this_process_knows_it(monkeypatch):
    monkeypatch.setitem(copyreg._inverted_registry, 240, ("posix", "system"))
    monkeypatch.setitem(copyreg._inverted_registry, 241, ("posix", "system"))
    monkeypatch.setitem(copyreg._extension_cache, 240, print)
    for opcodes in (b"\x82\xf0", b"\x82\xf1", b"\x83\xf0\x00", b"\x84\xf0\x00\x00\x00"):
        with pytest.raises(ValueError, match="an opcode that has no place"):
            load(opcodes + b")R")
    assert 241 not in copyreg._extension_cache  # every unpickler of the process shares it


@pytest.mark.parametrize("opcodes", [b"\x97", b"C\x01a\x98", b"\xff", b"\x00"])
def test_outside_buffers_and_unknown_opcodes_are_refused(opcodes):
    with pytest.raises(ValueError, match="an opcode that has no place"):
        load(opcodes)


@pytest.mark.parametrize("state", [b"}\x8c\x04name\x8c\x01xs", b"N}\x8c\x04name\x8c\x01xs\x86"])
def test_build_alters_no_record_and_no_class(state):
    """The state is a __dict__, or a __dict__ and slots."""
    tensor = TensorRecord(RECORD, 0, (2, 2), (2, 1), RECORD.dtype)
    altered = state.replace(b"\x04name", b"\x05shape")
    assert load(TENSOR + altered + b"b") == tensor
    assert load(STORAGE + state.replace(b"\x04name", b"\x03key") + b"b") == RECORD
    value = load(b"cmy\nobject\n" + state + b"b")
    assert value.name == "my.object" and value.state in ({"name": "x"}, (None, {"name": "x"}))
    assert load(b"}" + state + b"b") == {} and load(b"]" + state + b"b") == []
    assert StandIn("a").name == "a" and StandIn("a").state is None


def test_items_of_unknown_lists_and_mappings_are_dropped():
    for items in (b"K\x01a", b"(K\x01K\x02e", b"K\x01K\x02s", b"(K\x01K\x02u"):
        assert load(b"cmy\nlist\n)R" + items).name == "my.list"


def test_stand_ins_are_keys_by_identity():
    value = load(b"}(cmy\nenum\nK\x01\x85RK\x01cmy\nenum\nK\x01\x85RK\x02" + TENSOR + b"K\x03u")
    assert list(value.values()) == [1, 2, 3]


@pytest.mark.parametrize("key", [b")\x85", b"(K\x01]t", b"(\x91", b"N" + b"\x85" * 100_000])
def test_nested_keys_are_left_out(key):
    """Python's hash of a deep tuple overflows the stack of the process."""
    pairs = b"ccollections\nOrderedDict\n](" + key + b"K\x01\x86e\x85R"
    for opcodes in (b"}" + key + b"K\x01s", b"}(" + key + b"K\x01u", pairs):
        assert load(opcodes) == {}
    assert len(load(b"\x8f(" + key + b"\x90")) == len(load(b"(" + key + b"\x91")) == 1


@pytest.mark.parametrize(
    "opcodes",
    [
        b"N" + b"\x85" * 200_000,  # tuples
        b"]" * 200_000 + b"a" * 199_999,
        b"cmy\nobject\n" * 50_000 + b"b" * 49_999,  # states of states
        b"(" * 200_000 + b"N" + b"t" * 200_000,
    ],
)
def test_deep_nesting_is_read_and_freed(opcodes):
    value = load(opcodes)
    assert isinstance(value, tuple | list | StandIn)
    del value
    gc.collect()


def test_deep_calls_are_damage():
    rebuild = b"ctorch._tensor\n_rebuild_from_type_v2\n\x94"
    with pytest.raises(ValueError, match="damaged"):
        load(rebuild + b"0" + b"h\x00N" * 5_000 + b")" + b"\x87" * 5_000 + b"h\x00N\x86R")


HUGE = 1 << 28  # bytes; a reader that falls for it survives its failure


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize(
    "opcodes",
    [
        b"Nr" + struct.pack("<I", 1 << 24),  # LONG_BINPUT: the memo as an array
        b"\x8b" + struct.pack("<i", HUGE),  # LONG4
        b"X" + struct.pack("<I", HUGE),  # BINUNICODE
        b"B" + struct.pack("<I", HUGE),  # BINBYTES
        b"T" + struct.pack("<i", HUGE),  # BINSTRING
        b"\x8d" + struct.pack("<Q", HUGE),  # BINUNICODE8
        b"\x8e" + struct.pack("<Q", HUGE),  # BINBYTES8
        b"\x96" + struct.pack("<Q", HUGE),  # BYTEARRAY8
        b"\x95" + struct.pack("<Q", HUGE),  # FRAME
        b"\x8e" + struct.pack("<Q", (1 << 64) - 1),
        b"\x95" + struct.pack("<Q", (1 << 64) - 1),
    ],
)
def test_sizes_beyond_the_stream_take_no_memory(tmp_path, opcodes, mapped):
    file = tmp_path / "bomb"
    file.write_bytes(b"\x80\x04" + opcodes + b"a" * 100)
    with file.open("rb") as opened:
        whole = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    stream = whole if mapped else io.BytesIO(whole[:])

    def read():
        with pytest.raises(ValueError, match="damaged"):
            read_pickle(stream)

    assert peak_of(read) < 1 << 20


@pytest.mark.parametrize(
    ("start", "step"),
    [
        # One list of pairs, size, name or shape, used 1,000 times.
        (b"](" + b"".join(b"M%sN\x86" % struct.pack("<H", i) for i in range(5000)) + b"e\x940",
         b"ccollections\nOrderedDict\nh\x00\x85R"),
        (b"](" + b"N" * 50_000 + b"e\x940", b"ctorch\nSize\nh\x00\x85R"),
        (text("a" * 50_000) + b"\x940", b"h\x00h\x00\x93"),
        (b"N", b"0ctorch._utils\n_rebuild_tensor\n(h\x00)))tR\x940"),
    ],
    ids=["pairs", "size", "name", "tensor"],
)  # fmt: skip
def test_what_is_used_often_is_not_copied(start, step):
    def read():
        try:
            load(start + b"](" + step * 1000 + b"e")
        except ValueError as error:
            assert "name" in str(error) or "damaged" in str(error)

    assert peak_of(read) < 8 << 20


def test_stand_in_for_a_stand_in_has_no_endless_name():
    rebuild = b"ctorch._utils\n_rebuild_tensor\n\x94"
    nested = rebuild + b"h\x00(" * 100 + b"cmy\nstorage\n" + b")))tR" * 100
    with pytest.raises(ValueError, match="a name with control characters or of more than"):
        load(nested)


@pytest.mark.parametrize("shape", [b"](K\x02e", b"\x8c\x012", b"N", b"\x88\x85", b"(K\x02K\x02t"])
def test_shapes_are_tuples_of_counts(shape):
    with pytest.raises(ValueError, match="damaged"):
        load(b"ctorch._utils\n_rebuild_tensor\n(" + STORAGE + b"K\x00" + shape + b"K\x01\x85tR")


def test_errors_stay_on_one_line():
    for opcodes in (
        text("a\nb") + text("c") + b"\x93",
        b"(\x8c\x07storagectorch\nFloatStorage\n" + text("0\n1") + b"\x8c\x03cpuK\x04tQ",
    ):
        with pytest.raises(ValueError, match="a name with control characters") as caught:
            load(opcodes)
        assert "\n" not in str(caught.value)


def test_random_opcodes_give_inert_values_or_one_error():
    pieces = [bytes([code]) for code in b"(0e]as}ut)RbQo." * 4]
    pieces += [bytes([code]) for code in b"\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94N12"]
    pieces += [b"h\x00", b"h\x01", b"q\x01", b"K\x02", b"\x8c\x01a", b"\x8c\x07storage", b"U\x01a"]
    pieces += [b"cposix\nsystem\n", b"iposix\nsystem\n", STORAGE, TENSOR, b"\x95" + b"\0" * 8]
    pieces += [b"ccollections\nOrderedDict\n", b"ctorch\nSize\n", b"ctorch\nFloatStorage\n"] * 3
    random, values = np.random.default_rng(0), 0
    for _ in range(20_000):
        opcodes = b"".join(pieces[i] for i in random.integers(len(pieces), size=8))
        try:
            value, storages = read_pickle(io.BytesIO(opcodes + b"."))
        except ValueError as error:
            assert "\n" not in str(error)
            continue
        values += 1
        assert set(map(type, storages.values())) <= {StorageRecord}
        assert_inert(value)
    assert values > 300


def assert_inert(value):
    seen, waiting = set(), [value]
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        assert isinstance(item, (*INERT, list, tuple, dict)) and not callable(item)
        if isinstance(item, StandIn):
            waiting += [item.arguments, item.state]
        elif isinstance(item, dict):
            waiting += [*item, *item.values()]
        elif isinstance(item, list | tuple):
            waiting += item
