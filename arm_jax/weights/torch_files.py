"""Tensors out of PyTorch's own files, without PyTorch and without running what is in them.

A `.pth` file is a pickle, and a pickle is a program. This reader resolves only the names in
`_KNOWN`: what rebuilds tensors, and the containers they lie in. A file that asks for any other is
refused before anything of it has run. Both formats are read: the zip archive of PyTorch 1.6 and
later, and the older stream of pickles, in which mmsegmentation's model zoo is stored.
"""

import collections
import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from arm_jax.system.errors import InputError

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
        InputError: not a PyTorch file, truncated, or a pickle that asks for more than tensors.
    """
    try:
        with path.open("rb") as file:
            if zipfile.is_zipfile(file):
                return _read_zip(file)
            file.seek(0)
            return _read_stream(file)
    except _ForbiddenName as error:
        raise InputError(
            f"{path}: refused, because its pickle asks for {error}, which is not a tensor; "
            "save the state dict alone, or convert it to .safetensors"
        ) from None
    # Whatever else goes wrong inside a pickle or an archive means that the file is damaged.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: not a readable PyTorch file ({reason})") from None


class _ForbiddenName(Exception):
    """A global that the pickle asks for, and that a file of tensors has no need of."""


class _Storage:
    """A storage whose numbers may be read only after the object that refers to them."""

    def __init__(self, dtype: np.dtype, length: int):
        self.dtype = dtype
        self.values = np.zeros(length, dtype)

    def fill(self, data: bytes) -> None:
        if len(data) != self.values.nbytes:
            raise EOFError(f"a tensor of {self.values.nbytes} bytes has {len(data)}")
        self.values[...] = np.frombuffer(data, self.dtype.newbyteorder("<"))


class _Unused:
    """Stands for the bookkeeping of training frameworks, which is never looked at."""

    def __init__(self, *args: Any, **kwargs: Any):
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> "_Unused":
        return self

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        pass

    def extend(self, items: Any) -> None:
        pass


class _Constructor:
    """A function that a pickle may call, and not alter: pickles can set attributes too."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]):
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setstate__(self, state: Any) -> None:
        raise _ForbiddenName("a change of this reader")


def _rebuild_tensor(
    storage: _Storage,
    offset: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    *_: Any,
) -> np.ndarray:
    """A view of a storage, refused when it would reach outside of it."""
    if any(length < 0 for length in size) or any(step < 0 for step in stride) or offset < 0:
        raise ValueError("a tensor with a negative size")
    if len(size) != len(stride):
        raise ValueError("a tensor with strides of another rank")
    if 0 in size:
        return np.zeros(size, storage.dtype)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if last >= len(storage.values):
        raise ValueError("a tensor that reaches beyond its storage")
    strides = tuple(step * storage.dtype.itemsize for step in stride)
    return np.lib.stride_tricks.as_strided(storage.values[offset:], size, strides)


def _rebuild_parameter(data: np.ndarray, *_: Any) -> np.ndarray:
    return data


_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _Constructor(_rebuild_tensor),
    ("torch._utils", "_rebuild_tensor"): _Constructor(_rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): _Constructor(_rebuild_parameter),
    ("torch", "Size"): tuple,
    **{("torch", name): dtype for name, dtype in _DTYPES.items()},
    # What mmengine keeps beside the tensors of a training run: nothing of it is called.
    ("builtins", "getattr"): _Unused,
    ("__builtin__", "getattr"): _Unused,
    ("numpy", "dtype"): _Unused,
    ("numpy", "ndarray"): _Unused,
    ("numpy.core.multiarray", "_reconstruct"): _Unused,
    ("numpy.core.multiarray", "scalar"): _Unused,
    ("numpy._core.multiarray", "_reconstruct"): _Unused,
    ("numpy._core.multiarray", "scalar"): _Unused,
    ("_codecs", "encode"): _Unused,
    ("mmengine.logging.history_buffer", "HistoryBuffer"): _Unused,
}


class _Unpickler(pickle.Unpickler):
    """Resolves the names in `_KNOWN`, and storages through `load_storage`."""

    def __init__(self, file: BinaryIO, load_storage: Callable[[tuple], _Storage]):
        # Python 2 wrote the oldest of these files.
        super().__init__(file, encoding="latin1")
        self._load_storage = load_storage

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise _ForbiddenName(f"{module}.{name}") from None

    def persistent_load(self, pid: Any) -> _Storage:
        if not (isinstance(pid, tuple) and pid and pid[0] == "storage"):
            raise ValueError("a reference to something that is not a storage")
        return self._load_storage(pid[1:])


def _no_storage(_: tuple) -> _Storage:
    raise ValueError("a storage in the header")


def _read_zip(file: BinaryIO) -> Any:
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("a zip archive without one data.pkl")
        root = pickles[0].removesuffix("data.pkl")
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
            raise ValueError("big-endian tensors")
        storages: dict[str, _Storage] = {}

        def load_storage(reference: tuple) -> _Storage:
            dtype, key, _, length = reference[:4]
            if key not in storages:
                storages[key] = _Storage(dtype, length)
                storages[key].fill(archive.read(f"{root}data/{key}"))
            return storages[key]

        return _Unpickler(io.BytesIO(archive.read(pickles[0])), load_storage).load()


def _read_stream(file: BinaryIO) -> Any:
    """Three headers, the object, the order of its storages, then their numbers in that order."""
    if _Unpickler(file, _no_storage).load() != _OLD_FORMAT_NUMBER:
        raise ValueError("no PyTorch signature")
    if _Unpickler(file, _no_storage).load() != _OLD_FORMAT_VERSION:
        raise ValueError("an unknown version of PyTorch's old format")
    system = _Unpickler(file, _no_storage).load()
    if not system.get("little_endian", True):
        raise ValueError("big-endian tensors")
    storages: dict[str, _Storage] = {}

    def load_storage(reference: tuple) -> _Storage:
        dtype, key, _, length = reference[:4]
        if len(reference) > 4 and reference[4] is not None:
            raise ValueError("a storage that is a view of another, from before PyTorch 0.4")
        return storages.setdefault(key, _Storage(dtype, length))

    result = _Unpickler(file, load_storage).load()
    for key in _Unpickler(file, _no_storage).load():
        storage = storages[key]
        (length,) = struct.unpack("<q", file.read(8))
        if length != len(storage.values):
            raise ValueError("a storage of another length than announced")
        storage.fill(file.read(storage.values.nbytes))
    return result
