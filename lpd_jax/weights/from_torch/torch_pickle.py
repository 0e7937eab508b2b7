"""Reads the pickle inside a PyTorch checkpoint without running it: nothing it names is called.

`pickle.load` calls whatever a file names. Here a few names have a meaning of ours, any other
becomes a StandIn. The machine is the standard library's, in Python: the one in C reserves what a
small file asks for (a memo index of 2^31), and nothing keeps it from hashing nested tuples until
the process dies.
"""

import dataclasses
import mmap
import pickle
import struct
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from lpd_jax.runtime.errors import UserError

STORAGE_DTYPES = {
    "DoubleStorage": np.dtype(np.float64),
    "FloatStorage": np.dtype(np.float32),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
    "UntypedStorage": np.dtype(np.uint8),
}
DTYPES = {
    "torch.uint16": np.dtype(np.uint16),
    "torch.uint32": np.dtype(np.uint32),
    "torch.uint64": np.dtype(np.uint64),
    "torch.float8_e4m3fn": np.dtype(ml_dtypes.float8_e4m3fn),
    "torch.float8_e5m2": np.dtype(ml_dtypes.float8_e5m2),
}
LONGEST_NAME = 500
# A damaged stream can ask for anything: an empty stack, a missing memo, items of a number.
DAMAGE = (
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError),
    *(EOFError, struct.error, pickle.UnpicklingError),
)


@dataclasses.dataclass(frozen=True)
class StorageRecord:
    """A flat piece of the file: `numel` elements from element `start` of storage `key`."""

    key: str
    dtype: np.dtype
    numel: int
    start: int = 0


@dataclasses.dataclass(frozen=True)
class TensorRecord:
    """A strided view of a storage; offset and strides count elements. Nothing is read yet."""

    storage: StorageRecord
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype

    def __post_init__(self):
        numbers = (self.offset, *self.shape, *self.strides)
        counts = all(type(n) is int and n >= 0 for n in numbers)
        tuples = isinstance(self.shape, tuple) and isinstance(self.strides, tuple)
        if not counts or not tuples or len(self.shape) != len(self.strides):
            # The numbers may be anything the file nests, so they are not printed.
            raise UserError("a tensor's offset, shape and strides are no counts")


@dataclasses.dataclass(eq=False)
class StandIn:
    """An object, class or function the file names and nobody runs; `state` is what it was given."""

    name: str
    arguments: tuple = ()
    state: Any = None

    def __post_init__(self):
        _check_name(self.name)

    def _drop(self, *items: Any) -> None:
        """Nobody asks for the items of a list or mapping whose class we do not know."""

    append = extend = __setitem__ = _drop


def read_pickle(stream: BinaryIO | mmap.mmap) -> tuple[Any, dict[str, StorageRecord]]:
    """Reads one pickle from `stream`, up to and including its STOP.

    Returns:
        The object, of plain Python values, TensorRecords and StandIns (a set becomes a list); and
        every storage it mentions, by key.

    Raises:
        UserError: the stream ends early or is no pickle.
    """
    unpickler = _InertUnpickler(stream)
    try:
        return unpickler.load(), unpickler.storages
    except DAMAGE as error:
        raise UserError(f"its pickle is damaged ({str(error) or 'it ends early'})") from None


class _Mapping(dict):
    """A dict of the file without nested keys: to hash a deep one ends the process."""

    __slots__ = ()

    def __setitem__(self, key: Any, value: Any) -> None:
        parts = key if isinstance(key, tuple) else (key,)
        if not any(isinstance(part, tuple | list | dict) for part in parts):
            super().__setitem__(key, value)


_Machine: Any = pickle._Unpickler  # Any: the types of the standard library leave its opcodes out


class _InertUnpickler(_Machine):
    """Holds plain values, records and StandIns: there is nothing on its stack to call."""

    def __init__(self, stream: BinaryIO | mmap.mmap):
        super().__init__(stream, encoding="latin-1")  # of Python 2's strings: fits any bytes
        self.storages: dict[str, StorageRecord] = {}

    def find_class(self, module: str, name: str) -> StandIn:
        return StandIn(f"{module}.{name}")

    def persistent_load(self, identity: Any) -> Any:
        record = _storage(identity)
        if isinstance(record, StorageRecord):
            known = self.storages.setdefault(record.key, record)
            if known.dtype.itemsize != record.dtype.itemsize:
                raise UserError(f"storage {record.key} has two element sizes")
        return record

    def load_reduce(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = _meaning(self.stack[-1], arguments)

    load_newobj = load_reduce

    def load_newobj_ex(self) -> None:
        self.stack.pop()  # keywords
        self.load_reduce()

    def _instantiate(self, function: Any, arguments: list) -> None:  # for INST and OBJ
        self.append(_meaning(function, tuple(arguments)))

    def load_build(self) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], StandIn):
            self.stack[-1].state = state

    def load_empty_dictionary(self) -> None:
        self.append(_Mapping())

    # Sets become lists, which hash nothing; a bytearray would be allocated before it is read.
    load_empty_set, load_frozenset = _Machine.load_empty_list, _Machine.load_list
    load_additems, load_bytearray8 = _Machine.load_appends, _Machine.load_binbytes8

    def refuse(self) -> None:
        raise UserError("an opcode that has no place in a checkpoint")


# What protocols 1 to 5 write, without extensions and outside buffers. Protocol 0 names no storage.
OPCODES = """
    proto frame stop mark pop pop_mark binput long_binput memoize binget long_binget
    none true false int binint binint1 binint2 long long1 long4 binfloat
    binstring short_binstring binunicode short_binunicode binunicode8
    binbytes short_binbytes binbytes8 bytearray8 empty_tuple tuple tuple1 tuple2 tuple3
    empty_list append appends empty_set additems frozenset empty_dictionary setitem setitems
    global stack_global inst obj reduce newobj newobj_ex build binpersid
"""
_InertUnpickler.dispatch = dict.fromkeys(range(256), _InertUnpickler.refuse) | {
    code: getattr(_InertUnpickler, action.__name__)
    for code, action in _Machine.dispatch.items()
    if action.__name__.removeprefix("load_") in OPCODES.split()
}


def _meaning(function: Any, arguments: Any) -> Any:
    """What a call in the file stands for. Nothing outside this module is ever called."""
    if not isinstance(function, StandIn) or not isinstance(arguments, tuple):
        raise UserError("a call without a name or a tuple of arguments")
    match function.name:
        case "torch._utils._rebuild_tensor" | "torch._utils._rebuild_tensor_v2":
            return _tensor(*arguments[:4])
        case "torch._utils._rebuild_tensor_v3":
            storage, offset, shape, strides, _, _, dtype = arguments[:7]
            return _tensor(storage, offset, shape, strides, dtype)
        case "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state":
            return arguments[0]
        case "torch._tensor._rebuild_from_type_v2":
            return _meaning(arguments[0], arguments[2])
        case "torch.Size":
            return arguments[0]
        case "collections.OrderedDict" if arguments:
            return _from_pairs(arguments[0])
        case "collections.OrderedDict" | "collections.defaultdict":
            return _Mapping()
    return StandIn(function.name, arguments)


def _from_pairs(pairs: list) -> _Mapping:
    """Python 2 wrote an OrderedDict so. The pairs are moved: many copies would fill memory."""
    mapping = _Mapping()
    for key, value in pairs:
        mapping[key] = value
    pairs.clear()
    return mapping


def _tensor(storage, offset, shape, strides, dtype: StandIn | None = None) -> Any:
    """A tensor, or a StandIn for one whose elements are of no kind we know (complex, quantized)."""
    if not isinstance(storage, StorageRecord):
        return StandIn(f"tensor in a {getattr(storage, 'name', 'strange storage')}")
    if dtype is None:
        return TensorRecord(storage, offset, shape, strides, storage.dtype)
    if dtype.name not in DTYPES:
        return StandIn(f"tensor of {dtype.name}")
    return TensorRecord(storage, offset, shape, strides, DTYPES[dtype.name])


def _storage(identity: Any) -> Any:
    """('storage', type, key, device, numel[, view]); old files also have ('module', class, ...)."""
    if isinstance(identity, tuple) and identity[:1] == ("module",):
        return identity[1]
    if not isinstance(identity, tuple) or identity[:1] != ("storage",) or len(identity) < 5:
        raise UserError("a persistent id that is no storage")
    _, kind, key, _, numel, *rest = identity
    module, _, name = getattr(kind, "name", "").rpartition(".")
    if name not in STORAGE_DTYPES or module.split(".")[0] != "torch":
        return StandIn(f"{module}.{name}")
    start = 0
    if rest and rest[0] is not None:  # (key of the view, first element, number of elements)
        _, start, numel = rest[0]
    if any(type(n) is not int or n < 0 for n in (start, numel)) or not isinstance(key, str | int):
        raise UserError("a storage's key, start or length is no name or count")
    _check_name(str(key))
    return StorageRecord(str(key), STORAGE_DTYPES[name], numel, start)


def _check_name(name: str) -> None:
    """Names stand in errors, which are one line; and many long ones would fill memory."""
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise UserError(f"a name with control characters or of more than {LONGEST_NAME} letters")
