"""Reads the pickle inside a PyTorch checkpoint without running it: nothing it names is called.

`pickle.load` calls whatever a file names. Here the standard library only splits the stream into
opcodes; the few names a state dict needs have a meaning of ours, any other becomes a StandIn.
"""

import dataclasses
import mmap
import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO, cast

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
    "uint16": np.dtype(np.uint16),
    "uint32": np.dtype(np.uint32),
    "uint64": np.dtype(np.uint64),
    "float8_e4m3fn": np.dtype(ml_dtypes.float8_e4m3fn),
    "float8_e5m2": np.dtype(ml_dtypes.float8_e5m2),
}
# A damaged stream can ask for anything: an empty stack, a missing memo, a list as a key.
DAMAGE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)


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
        if any(type(n) is not int or n < 0 for n in numbers) or len(self.shape) != len(
            self.strides
        ):
            # The numbers may be anything the file nests, so they are not printed.
            raise UserError("a tensor's offset, shape and strides are no counts")


@dataclasses.dataclass(eq=False)
class StandIn:
    """An object, class or function the file names and nobody runs; `state` is what it was given."""

    name: str
    arguments: tuple = ()
    state: Any = None


def read_pickle(stream: BinaryIO | mmap.mmap) -> tuple[Any, dict[str, StorageRecord]]:
    """Reads one pickle from `stream`, up to and including its STOP.

    Returns:
        The object, of plain Python values, TensorRecords and StandIns; and every storage it
        mentions, by key.

    Raises:
        ValueError: the stream ends early or is no pickle.
    """
    machine = _Machine()
    try:
        # A map reads like a file, which its type does not say.
        for opcode, argument, _ in pickletools.genops(cast(BinaryIO, stream)):
            machine.run(opcode.name, argument)
        return machine.stack.pop(), machine.storages
    except DAMAGE as error:
        raise UserError(f"its pickle is damaged ({error})") from None


class _Machine:
    """The stack machine of the pickle format, without the power to call."""

    def __init__(self):
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []  # stacks below each open mark
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, StorageRecord] = {}

    def run(self, name: str, argument: Any) -> None:
        if name in PUSHES:
            self.stack.append(argument)
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name]())
        elif name in ACTIONS:
            ACTIONS[name](self, argument)
        elif name not in IGNORED:
            raise UserError(f"opcode {name} has no place in a checkpoint")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.outer.pop()
        return items

    def drop_mark(self) -> None:
        self.pop_mark()

    def mark(self) -> None:
        self.outer.append(self.stack)
        self.stack = []

    def put(self, index: int | None) -> None:
        self.memo[len(self.memo) if index is None else index] = self.stack[-1]

    def pop(self) -> None:
        # The pickler pops the mark itself when nothing stands above it.
        if self.stack:
            self.stack.pop()
        else:
            self.pop_mark()

    def pop_tuple(self, length: int) -> None:
        if len(self.stack) < length:
            raise UserError("a tuple lacks its items")
        self.stack[-length:] = [tuple(self.stack[-length:])]

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif isinstance(target, set):
            target.update(items)

    def set_items(self, items: list[Any]) -> None:
        if isinstance(self.stack[-1], dict):
            self.stack[-1].update(zip(items[::2], items[1::2], strict=True))

    def push_dict(self, items: list[Any]) -> None:
        self.stack.append({})
        self.set_items(items)

    def build(self) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], StandIn):
            self.stack[-1].state = state

    def call(self, arguments: Any, function: Any) -> None:
        self.stack.append(_meaning(function, arguments))

    def call_with_keywords(self) -> None:
        self.stack.pop()
        self.call(self.stack.pop(), self.stack.pop())

    def call_marked(self) -> None:
        function, *arguments = self.pop_mark()
        self.call(tuple(arguments), function)

    def call_named(self, name: str) -> None:
        self.call(tuple(self.pop_mark()), StandIn(name.replace(" ", ".")))

    def push_stack_global(self) -> None:
        attribute, module = self.stack.pop(), self.stack.pop()
        self.stack.append(StandIn(f"{module}.{attribute}"))

    def push_persistent(self, identity: Any) -> None:
        record = _storage(identity)
        if isinstance(record, StorageRecord):
            known = self.storages.setdefault(record.key, record)
            if known.dtype.itemsize != record.dtype.itemsize:
                raise UserError(f"storage {record.key} has two element sizes")
        self.stack.append(record)


PUSHES = frozenset(
    ("INT", "LONG", "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
    + ("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8")
    + ("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BYTEARRAY8")
)
IGNORED = frozenset(("PROTO", "FRAME", "STOP"))
CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": lambda m, _: m.mark(),
    "POP": lambda m, _: m.pop(),
    "POP_MARK": lambda m, _: m.drop_mark(),
    "DUP": lambda m, _: m.stack.append(m.stack[-1]),
    "LIST": lambda m, _: m.push(m.pop_mark()),
    "TUPLE": lambda m, _: m.push(tuple(m.pop_mark())),
    "FROZENSET": lambda m, _: m.push(frozenset(m.pop_mark())),
    "DICT": lambda m, _: m.push_dict(m.pop_mark()),
    "TUPLE1": lambda m, _: m.pop_tuple(1),
    "TUPLE2": lambda m, _: m.pop_tuple(2),
    "TUPLE3": lambda m, _: m.pop_tuple(3),
    "APPEND": lambda m, _: m.append([m.stack.pop()]),
    "APPENDS": lambda m, _: m.append(m.pop_mark()),
    "ADDITEMS": lambda m, _: m.append(m.pop_mark()),
    "SETITEM": lambda m, _: m.set_items([m.stack.pop(), m.stack.pop()][::-1]),
    "SETITEMS": lambda m, _: m.set_items(m.pop_mark()),
    "PUT": lambda m, index: m.put(index),
    "BINPUT": lambda m, index: m.put(index),
    "LONG_BINPUT": lambda m, index: m.put(index),
    "MEMOIZE": lambda m, _: m.put(None),
    "GET": lambda m, index: m.stack.append(m.memo[index]),
    "BINGET": lambda m, index: m.stack.append(m.memo[index]),
    "LONG_BINGET": lambda m, index: m.stack.append(m.memo[index]),
    "GLOBAL": lambda m, name: m.stack.append(StandIn(name.replace(" ", "."))),
    "STACK_GLOBAL": lambda m, _: m.push_stack_global(),
    "REDUCE": lambda m, _: m.call(m.stack.pop(), m.stack.pop()),
    "NEWOBJ": lambda m, _: m.call(m.stack.pop(), m.stack.pop()),
    "NEWOBJ_EX": lambda m, _: m.call_with_keywords(),
    "OBJ": lambda m, _: m.call_marked(),
    "INST": lambda m, name: m.call_named(name),
    "BUILD": lambda m, _: m.build(),
    "PERSID": lambda m, identity: m.push_persistent(identity),
    "BINPERSID": lambda m, _: m.push_persistent(m.stack.pop()),
}


def _meaning(function: Any, arguments: Any) -> Any:
    """What a call in the file stands for. Nothing outside this module is ever called."""
    name = function.name if isinstance(function, StandIn) else type(function).__name__
    if not isinstance(arguments, tuple):
        raise UserError(f"{name} without a tuple of arguments")
    if name in ("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2"):
        storage, offset, shape, strides = arguments[:4]
        return _tensor(storage, offset, shape, strides)
    if name == "torch._utils._rebuild_tensor_v3":
        storage, offset, shape, strides, _, _, dtype = arguments[:7]
        return _tensor(storage, offset, shape, strides, dtype)
    if name.startswith("torch._utils._rebuild_parameter"):
        return arguments[0]
    if name == "torch._tensor._rebuild_from_type_v2":
        return _meaning(arguments[0], arguments[2])
    if name in ("collections.OrderedDict", "torch.Size"):
        kind = dict if name == "collections.OrderedDict" else tuple
        return kind(*arguments[:1])
    return {} if name == "collections.defaultdict" else StandIn(name, arguments)


def _tensor(
    storage, offset, shape, strides, dtype: StandIn | None = None
) -> TensorRecord | StandIn:
    """A tensor, or a StandIn for one whose elements are of no kind we know (complex, quantized)."""
    if not isinstance(storage, StorageRecord):
        return StandIn(f"tensor in a {getattr(storage, 'name', 'strange storage')}")
    if dtype is None:
        return TensorRecord(storage, offset, tuple(shape), tuple(strides), storage.dtype)
    if dtype.name.removeprefix("torch.") not in DTYPES:
        return StandIn(f"tensor of {dtype.name}")
    known = DTYPES[dtype.name.removeprefix("torch.")]
    return TensorRecord(storage, offset, tuple(shape), tuple(strides), known)


def _storage(identity: Any) -> StorageRecord | StandIn:
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
    return StorageRecord(str(key), STORAGE_DTYPES[name], numel, start)
