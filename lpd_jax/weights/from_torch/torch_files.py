"""Weights out of .pth, .pt and .safetensors files as NumPy arrays, without torch.

The file is mapped into memory and every array is a read-only view of it: a 5 GB checkpoint costs
no memory until its weights are used, and the optimizer state beside them is never touched.
Formats: torch's zip (1.6 and later), torch's older stream of pickles, safetensors.
"""

import io
import mmap
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from lpd_jax.runtime.arguments import as_path
from lpd_jax.runtime.errors import UserError, shown, shown_path
from lpd_jax.runtime.foreign_files import LOOKED_AT, what_instead
from lpd_jax.runtime.json_files import parse_json
from lpd_jax.weights.from_torch import sharded_files
from lpd_jax.weights.from_torch.checkpoint_entries import find_state_dict
from lpd_jax.weights.from_torch.torch_pickle import (
    StandIn,
    StorageRecord,
    TensorRecord,
    read_pickle,
)
from lpd_jax.weights.weight_files import MOST_WEIGHTS

ZIP_START = b"PK\x03\x04"
LEGACY_START = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"  # a pickled magic number
LEGACY_PICKLES = 3  # magic number, protocol version, machine; the checkpoint follows
COUNT_BYTES = 8  # before each storage of a legacy file, and before a safetensors header
SAFETENSORS_DTYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U64": np.uint64,
    "U32": np.uint32,
    "U16": np.uint16,
    "U8": np.uint8,
    "BOOL": np.bool_,
}

# What reading a damaged or encrypted file raises.
DAMAGE = (
    *(ValueError, OSError, EOFError, RuntimeError, OverflowError),
    *(struct.error, zipfile.BadZipFile, zlib.error),
)

# The bytes of a storage, uint8 [n].
ReadStorage = Callable[[StorageRecord], np.ndarray]
Tell = Callable[[str], object]


def read_state_dict(
    path: str | PathLike,
    is_model: Callable[[Iterable[str]], bool] = lambda names: True,
    key: str | None = None,
    tell: Tell = lambda line: None,
) -> dict[str, np.ndarray]:
    """Reads the weights of one model from a checkpoint file; no code in the file is run.

    Args:
        path: a .pth, .pt or .safetensors file; its content decides, not its ending. Of weights in
            several files the .index.json.
        is_model: tells from the names whether these are the weights wanted. Of several state dicts
            the first it accepts is taken, in the order of WRAPPER_KEYS, then of the file; if it
            accepts none, the first there is.
        key: the entry of the checkpoint that holds the weights, to overrule that order.
        tell: called with a line that says which entry was taken, and which others hold weights.

    Returns:
        Official name -> read-only array in the file's dtype, prefixes such as "module." removed.

    Raises:
        FileNotFoundError: no such file.
        UserError: the file is truncated, damaged, of no known format, or holds no state dict.
    """
    path = as_path("checkpoint", path)
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "not there"
        raise FileNotFoundError(
            f"checkpoint {path} is {kind}; allowed is a file, of weights in several the .index.json"
        )
    if not path.stat().st_size:
        raise UserError(f"checkpoint: got {shown_path(path)}, which is empty; fetch it again")
    try:
        if path.suffix == sharded_files.ENDING:
            return sharded_files.read_sharded(path, lambda x: _read_mapped(x, is_model, key, tell))
        return _read_mapped(path, is_model, key, tell)
    except DAMAGE as error:
        raise UserError(
            f"checkpoint: got {shown_path(path)} ({path.stat().st_size:,} bytes): {error}"
        ) from None


def _read_mapped(
    path: Path, is_model: Callable, key: str | None, tell: Tell
) -> dict[str, np.ndarray]:
    with path.open("rb") as file:
        # Arrays keep the map alive; the file may be closed.
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if mapped[: len(ZIP_START)] == ZIP_START:
            checkpoint, read_storage = _read_zip(mapped, file)
        elif mapped[: len(LEGACY_START)] == LEGACY_START:
            checkpoint, read_storage = _read_legacy(mapped)
        elif mapped[COUNT_BYTES : COUNT_BYTES + 1] == b"{":
            checkpoint, read_storage = _read_safetensors(mapped)
        else:
            reason = what_instead(mapped[:LOOKED_AT])
            known = "neither a PyTorch checkpoint nor a safetensors file"
            raise UserError(f"{known}, but {reason}" if reason else known)
        tensors, line = find_state_dict(checkpoint, is_model, key)
        if len(tensors) > MOST_WEIGHTS:
            raise UserError(f"it holds {len(tensors):,} weights, allowed are {MOST_WEIGHTS:,}")
        if line:
            tell(f"{path.name}: {line}")
        return {name: _to_array(name, record, read_storage) for name, record in tensors.items()}


def _to_array(name: str, record: TensorRecord, read_storage: ReadStorage) -> np.ndarray:
    """A view of the mapped file, strided as the tensor was. UserError beyond its storage."""
    raw, width = read_storage(record.storage), record.dtype.itemsize
    start = (record.storage.start + record.offset) * width
    if 0 in record.shape:
        return np.zeros(record.shape, record.dtype)
    reach = sum((n - 1) * step for n, step in zip(record.shape, record.strides, strict=True)) + 1
    if start + reach * width > raw.size:
        raise UserError(f"weight {shown(name)} reaches beyond its storage; the file is damaged")
    flat = np.frombuffer(raw, record.dtype, reach, start)
    steps = [step * width for step in record.strides]
    return np.lib.stride_tricks.as_strided(flat, record.shape, steps, writeable=False)


def _read_zip(mapped: mmap.mmap, file: BinaryIO) -> tuple[Any, ReadStorage]:
    """ARCHIVE/data.pkl, ARCHIVE/data/KEY and ARCHIVE/byteorder; storages lie uncompressed."""
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError):
        raise UserError("truncated: the table at its end is missing, fetch it again") from None
    names = [name for name in archive.namelist() if name.split("/")[1:] == ["data.pkl"]]
    if len(names) != 1:
        raise UserError("a zip file, but no PyTorch checkpoint: it has no data.pkl")
    folder = names[0].removesuffix("data.pkl")
    big_endian = f"{folder}byteorder" in archive.namelist() and (
        archive.read(f"{folder}byteorder") == b"big"
    )
    checkpoint, _ = read_pickle(io.BytesIO(archive.read(names[0])))

    def read_storage(record: StorageRecord) -> np.ndarray:
        try:
            entry = archive.getinfo(f"{folder}data/{record.key}")
        except KeyError:
            raise UserError(f"storage {record.key} is missing; the file is damaged") from None
        raw = _zip_entry(archive, entry, mapped)
        if raw.size < record.numel * record.dtype.itemsize:
            raise UserError(f"storage {record.key} is truncated")
        if big_endian and record.dtype.itemsize > 1:
            raw = raw.view(f"u{record.dtype.itemsize}").byteswap().view(np.uint8)
        return raw

    return checkpoint, read_storage


def _zip_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, mapped: mmap.mmap) -> np.ndarray:
    if entry.compress_type != zipfile.ZIP_STORED:  # someone packed it again
        return np.frombuffer(archive.read(entry), np.uint8)
    header = mapped[entry.header_offset : entry.header_offset + 30]
    if header[:4] != ZIP_START or len(header) < 30:
        raise UserError(f"{entry.filename} is not where the table says; the file is damaged")
    name_length = int.from_bytes(header[26:28], "little")
    extra_length = int.from_bytes(header[28:30], "little")
    start = entry.header_offset + 30 + name_length + extra_length
    return _bytes_of(mapped, start, entry.file_size)


def _read_legacy(mapped: mmap.mmap) -> tuple[Any, ReadStorage]:
    """Five pickles, then each storage: its length in elements and its bytes, little endian."""
    for _ in range(LEGACY_PICKLES):
        read_pickle(mapped)
    checkpoint, storages = read_pickle(mapped)
    keys, _ = read_pickle(mapped)
    position, spans = mapped.tell(), {}
    for key in keys if isinstance(keys, list) else []:
        if str(key) not in storages:
            raise UserError(f"storage {key} belongs to nothing; the file is damaged")
        count = int.from_bytes(_bytes_of(mapped, position, COUNT_BYTES).tobytes(), "little")
        spans[str(key)] = position + COUNT_BYTES, count * storages[str(key)].dtype.itemsize
        position = sum(spans[str(key)])

    def read_storage(record: StorageRecord) -> np.ndarray:
        if record.key not in spans:
            raise UserError(f"storage {record.key} is missing; the file is damaged")
        return _bytes_of(mapped, *spans[record.key])

    return checkpoint, read_storage


def _read_safetensors(mapped: mmap.mmap) -> tuple[Any, ReadStorage]:
    """A JSON header of dtype, shape and byte range per name, then the bytes."""
    length = int.from_bytes(mapped[:COUNT_BYTES], "little")
    start = COUNT_BYTES + length
    try:
        header = parse_json(_bytes_of(mapped, COUNT_BYTES, length).tobytes())
        header.pop("__metadata__", None)
        spans = {name: _span(*entry["data_offsets"]) for name, entry in header.items()}
        tensors = {name: _safetensors_record(name, entry) for name, entry in header.items()}
    except (KeyError, TypeError, AttributeError):
        raise UserError("its safetensors header is damaged") from None

    def read_storage(record: StorageRecord) -> np.ndarray:
        begin, end = spans[record.key]
        if end - begin != record.numel * record.dtype.itemsize:
            raise UserError(f"weight {shown(record.key)} has another size than its shape")
        return _bytes_of(mapped, start + begin, end - begin)

    return tensors, read_storage


def _span(begin: Any, end: Any) -> tuple[int, int]:
    if type(begin) is not int or type(end) is not int:
        raise TypeError
    return begin, end


def _safetensors_record(name: str, entry: dict[str, Any]) -> TensorRecord | StandIn:
    if entry["dtype"] not in SAFETENSORS_DTYPES:
        return StandIn(f"tensor of {entry['dtype']}")
    dtype, shape = np.dtype(SAFETENSORS_DTYPES[entry["dtype"]]), tuple(entry["shape"])
    strides = tuple(int(np.prod(shape[i + 1 :], dtype=np.int64)) for i in range(len(shape)))
    numel = int(np.prod(shape, dtype=np.int64))
    return TensorRecord(StorageRecord(name, dtype, numel), 0, shape, strides, dtype)


def _bytes_of(mapped: mmap.mmap, start: int, length: int) -> np.ndarray:
    """A view of part of the file, uint8 [length]. Raises UserError where the file ends early."""
    if start < 0 or length < 0 or start + length > len(mapped):
        raise UserError("truncated: its data ends early, fetch it again")
    return np.frombuffer(mapped, np.uint8, length, start)
