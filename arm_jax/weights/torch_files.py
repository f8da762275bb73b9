"""Tensors out of PyTorch's own files, without PyTorch and without running what is in them.

A `.pth` file is a pickle; `inert_pickle` reads it, and this file supplies what rebuilds tensors.
Objects of other classes are read as `Foreign` and hold nothing. Both formats are read: the zip
archive of PyTorch 1.6 and later, and the older stream of pickles, in which mmsegmentation's model
zoo is stored. No tensor is believed to be larger than the file.
"""

import io
import math
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from arm_jax.system.errors import InputError
from arm_jax.weights.inert_pickle import ForbiddenName, Foreign, PlainDict, Unpickler

__all__ = ["Foreign", "read"]

_DTYPES = {
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
}
_OLD_FORMAT_NUMBER = 0x1950A86A20F9469CFC6C
_OLD_FORMAT_VERSION = 1001


def read(path: Path) -> Any:
    """The object saved in the file, its tensors as numpy arrays.

    Raises:
        InputError: not a PyTorch file, damaged, or a pickle that asks for a program.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if zipfile.is_zipfile(file):
                return _read_zip(file, size)
            file.seek(0)
            return _read_stream(file, size)
    except ForbiddenName as error:
        raise InputError(
            f"{path}: refused, because its pickle asks for {error}, which is not a tensor; "
            "save the state dict alone, or convert it to .safetensors"
        ) from None
    # Whatever else goes wrong inside a pickle or an archive means that the file is damaged.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{path}: not a readable PyTorch file ({reason[:200]}); fetch it again, or name a file"
            " of weights"
        ) from None


class _Storage:
    """A storage whose numbers may be read only after the object that refers to them."""

    def __init__(self, dtype: np.dtype, length: int):
        self.dtype = dtype
        self.values = np.zeros(length, dtype)

    def fill(self, data: bytes) -> None:
        if len(data) != self.values.nbytes:
            raise EOFError(f"a tensor of {self.values.nbytes} bytes has {len(data)}")
        self.values[...] = np.frombuffer(data, self.dtype.newbyteorder("<"))


class _Storages:
    """The storages of a file, by key. All together are no larger than the file."""

    def __init__(self, size: int):
        self._size, self._bytes = size, 0
        self._found: dict[str, _Storage] = {}

    def get(self, reference: Any) -> tuple[str, _Storage, bool]:
        """Key and storage that a pickle refers to, and whether it is new."""
        if not (isinstance(reference, tuple) and len(reference) > 4 and reference[0] == "storage"):
            raise ValueError("a reference to something that is not a storage")
        dtype, key, _, length = reference[1:5]
        if not (isinstance(dtype, np.dtype) and isinstance(key, str) and _is_size(length)):
            raise ValueError("a storage without a type, name or length")
        if len(reference) > 5 and reference[5] is not None:
            raise ValueError("a storage that is a view of another, from before PyTorch 0.4")
        if key in self._found:
            return key, self._found[key], False
        self._bytes += length * dtype.itemsize
        if self._bytes > self._size:
            raise ValueError(f"storages of {self._bytes:,} bytes in a file of {self._size:,}")
        self._found[key] = _Storage(dtype, length)
        return key, self._found[key], True

    def __getitem__(self, key: str) -> _Storage:
        if not isinstance(key, str) or key not in self._found:
            raise ValueError("a storage that nothing refers to")
        return self._found[key]


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and value >= 0


def _rebuild_tensor(
    storage: _Storage,
    offset: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    *_: Any,
) -> np.ndarray:
    """A view of a storage, refused when it would reach outside of it or repeat its numbers."""
    if not isinstance(storage, _Storage):
        raise ValueError("a tensor without a storage")
    for numbers in ((offset,), size, stride):
        if not isinstance(numbers, tuple) or not all(map(_is_size, numbers)):
            raise ValueError("a tensor with a negative size, or one that is no number")
    if len(size) != len(stride):
        raise ValueError("a tensor with strides of another rank")
    if 0 in size:
        return np.zeros(size, storage.dtype)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if last >= len(storage.values) or math.prod(size) > len(storage.values):
        raise ValueError("a tensor that reaches beyond its storage, or is larger")
    strides = tuple(step * storage.dtype.itemsize for step in stride)
    return np.lib.stride_tricks.as_strided(storage.values[offset:], size, strides)


def _rebuild_parameter(data: Any, *_: Any) -> Any:
    return data


def _rebuild_from_type(function: Any, _type: Any, arguments: Any, *_: Any) -> Any:
    """A tensor of a class of its own, with attributes that are left out."""
    if function not in (_rebuild_tensor, _rebuild_parameter) or not isinstance(arguments, tuple):
        raise ValueError("a tensor rebuilt in an unknown way")
    return function(*arguments)


def _size(numbers: Any = ()) -> tuple:
    return tuple(numbers) if isinstance(numbers, tuple | list) else ()


_FUNCTIONS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): PlainDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _rebuild_from_type,
    ("torch", "Size"): _size,
    **{("torch", name): dtype for name, dtype in _DTYPES.items()},
}


def _load(file: BinaryIO, size: int, storage: Callable[[Any], _Storage]) -> Any:
    return Unpickler(file, size, _FUNCTIONS, storage).load()


def _no_storage(_: Any) -> _Storage:
    raise ValueError("a storage in the header")


def _read_zip(file: BinaryIO, size: int) -> Any:
    with zipfile.ZipFile(file) as archive:
        names = set(archive.namelist())

        def member(name: str) -> bytes:
            # PyTorch does not compress: what is larger than the file would only fill the memory.
            if archive.getinfo(name).file_size > size:
                raise ValueError(f"{name} is larger than the file")
            return archive.read(name)

        pickles = [name for name in names if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("a zip archive without one data.pkl")
        root = pickles[0].removesuffix("data.pkl")
        if f"{root}byteorder" in names and member(f"{root}byteorder") != b"little":
            raise ValueError("big-endian tensors")
        storages = _Storages(size)

        def load_storage(reference: Any) -> _Storage:
            key, storage, new = storages.get(reference)
            if new:
                storage.fill(member(f"{root}data/{key}"))
            return storage

        pickled = member(pickles[0])
        return _load(io.BytesIO(pickled), len(pickled), load_storage)


def _read_stream(file: BinaryIO, size: int) -> Any:
    """Three headers, the object, the order of its storages, then their numbers in that order."""
    if _load(file, size, _no_storage) != _OLD_FORMAT_NUMBER:
        raise ValueError("no PyTorch signature")
    if _load(file, size, _no_storage) != _OLD_FORMAT_VERSION:
        raise ValueError("an unknown version of PyTorch's old format")
    system = _load(file, size, _no_storage)
    if not isinstance(system, dict) or not system.get("little_endian", True):
        raise ValueError("big-endian tensors")
    storages = _Storages(size)
    result = _load(file, size, lambda reference: storages.get(reference)[1])
    keys = _load(file, size, _no_storage)
    if not isinstance(keys, list):
        raise ValueError("no list of storages")
    for key in keys:
        storage = storages[key]
        (length,) = struct.unpack("<q", file.read(8))
        if length != len(storage.values):
            raise ValueError("a storage of another length than announced")
        storage.fill(file.read(storage.values.nbytes))
    return result
