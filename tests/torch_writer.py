"""Writes checkpoint files as torch.save does, opcode by opcode, for machines without torch."""

import io
import pickle
import struct
import zipfile
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

STORAGES = {
    np.dtype(np.float64): "DoubleStorage",
    np.dtype(np.float32): "FloatStorage",
    np.dtype(np.float16): "HalfStorage",
    np.dtype(ml_dtypes.bfloat16): "BFloat16Storage",
    np.dtype(np.int64): "LongStorage",
    np.dtype(np.int32): "IntStorage",
    np.dtype(np.int16): "ShortStorage",
    np.dtype(np.int8): "CharStorage",
    np.dtype(np.uint8): "ByteStorage",
    np.dtype(np.bool_): "BoolStorage",
}


class Name(NamedTuple):
    """A class or function, "module attribute"."""

    name: str


class Call(NamedTuple):
    """`function(*arguments)`, then `__setstate__(state)`, when the file is loaded the usual way."""

    function: str
    arguments: tuple = ()
    state: Any = None


class Tensor(NamedTuple):
    """A view of a one-dimensional storage; two views of one array share it."""

    storage: np.ndarray
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def write_zip(path, checkpoint, byteorder="little", compression=zipfile.ZIP_STORED) -> None:
    """The format of torch 1.6 and later."""
    writer = Writer()
    pickled = writer.pickle(checkpoint)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("best/data.pkl", pickled)
        archive.writestr("best/byteorder", byteorder)
        for key, storage in enumerate(writer.storages):
            entry = zipfile.ZipInfo(f"best/data/{key}")
            entry.compress_type = compression
            entry.extra = b"FB" + struct.pack("<H", 5) + b"\0" * 5  # torch aligns data like this
            if byteorder == "big":
                storage = storage.view(f"u{storage.itemsize}").byteswap()
            archive.writestr(entry, storage.tobytes())
        archive.writestr("best/version", "3\n")


def write_legacy(path, checkpoint) -> None:
    """The format before torch 1.6."""
    writer = Writer(legacy=True)
    with open(path, "wb") as file:
        machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
        for header in (0x1950A86A20F9469CFC6C, 1001, machine):
            file.write(pickle.dumps(header, protocol=2))
        file.write(writer.pickle(checkpoint))
        file.write(pickle.dumps([str(key) for key in range(len(writer.storages))], protocol=2))
        for storage in writer.storages:
            file.write(struct.pack("<q", storage.size) + storage.tobytes())


class Writer:
    """Emits protocol 2, as torch.save does."""

    def __init__(self, legacy: bool = False):
        self.legacy = legacy
        self.storages: list[np.ndarray] = []
        self.memo: dict[str, int] = {}

    def pickle(self, value: Any) -> bytes:
        self.out = io.BytesIO()
        self.out.write(b"\x80\x02")
        self.emit(value)
        return self.out.getvalue() + b"."

    def emit(self, value: Any) -> None:
        write = self.out.write
        if value is None or isinstance(value, bool):
            write({None: b"N", True: b"\x88", False: b"\x89"}[value])
        elif isinstance(value, int):
            write(b"J" + struct.pack("<i", value))
        elif isinstance(value, float):
            write(b"G" + struct.pack(">d", value))
        elif isinstance(value, str):
            self.emit_once(value, b"X" + struct.pack("<I", len(value.encode())) + value.encode())
        elif isinstance(value, np.ndarray):
            flat = value.reshape(-1)
            steps = tuple(step // value.itemsize for step in flat.reshape(value.shape).strides)
            self.emit(Tensor(flat, 0, value.shape, steps))
        elif isinstance(value, Name):
            self.emit_once(value.name, b"c" + "\n".join(value.name.split()).encode() + b"\n")
        elif isinstance(value, Tensor):
            self.emit_tensor(value)
        elif isinstance(value, Call):
            self.emit(Name(value.function))
            self.emit(value.arguments)
            write(b"R")
            if value.state is not None:
                self.emit(value.state)
                write(b"b")
        else:
            self.emit_container(value)

    def emit_once(self, key: str, opcodes: bytes) -> None:
        if key in self.memo:
            self.out.write(b"h" + bytes([self.memo[key]]))
            return
        self.out.write(opcodes)
        if len(self.memo) < 256:
            self.memo[key] = len(self.memo)
            self.out.write(b"q" + bytes([self.memo[key]]))

    def emit_container(self, value: tuple | list | dict) -> None:
        opening, closing = {tuple: (b"(", b"t"), list: (b"](", b"e"), dict: (b"}(", b"u")}[
            type(value)
        ]
        self.out.write(opening)
        for item in value.items() if isinstance(value, dict) else [(item,) for item in value]:
            for part in item:
                self.emit(part)
        self.out.write(closing)

    def emit_tensor(self, tensor: Tensor) -> None:
        same = (i for i, storage in enumerate(self.storages) if storage is tensor.storage)
        key = next(same, len(self.storages))
        if key == len(self.storages):
            self.storages.append(tensor.storage)
        self.emit(Name("torch._utils _rebuild_tensor_v2"))
        self.out.write(b"(")
        kind = Name(f"torch {STORAGES[tensor.storage.dtype]}")
        identity = ("storage", kind, str(key), "cuda:0", tensor.storage.size)
        self.emit((*identity, None) if self.legacy else identity)
        self.out.write(b"Q")
        for part in (tensor.offset, tensor.shape, tensor.strides, False):
            self.emit(part)
        self.emit(Call("collections OrderedDict"))
        self.out.write(b"tR")
