"""A reader of pickles that builds numbers, text and containers, and nothing else.

A pickle is a program: it calls functions, makes objects of any class, and sets their attributes.
Here a name is looked up in a table of the caller's functions, and whatever it does not list becomes
`Foreign`, which does nothing. Time and memory grow no faster than the file: keys are plain, so that
hashing them is quick, and no length is believed before the bytes are there.
"""

import pickle
import struct
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO, ClassVar


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Names that only an attack asks for; a file that holds one is refused as a whole.
_PROGRAMS = _words(
    """asyncio builtins __builtin__ bdb code codeop commands concurrent ctypes _ctypes dill
    cloudpickle gc importlib inspect io _io marshal multiprocessing nt os pdb pickle _pickle pip
    posix posixpath profile pty pydoc runpy shutil signal site socket _socket ssl subprocess sys
    tempfile thread threading timeit trace types urllib webbrowser zipimport"""
)
# What is harmless among those: data of these kinds lies beside the tensors of many files.
_HARMLESS = _words(
    """bool bytearray bytes complex dict float frozenset getattr int list object range set slice str
    tuple type SimpleNamespace BytesIO Signals"""
)


class ForbiddenName(Exception):
    """The pickle asks for a name that would run a program, or to change this reader."""


class Foreign:
    """Stands for an object of a class that is not known here. It holds nothing.

    Attributes:
      name: of the class or function, with its module.
    """

    def __init__(self, name: str):
        self.name = name

    def append(self, item: Any) -> None:
        pass

    def extend(self, items: Any) -> None:
        pass

    def add(self, item: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass


class PlainDict(dict):
    """A dict with keys of numbers and text; other entries are left out.

    Hashing a nested tuple can take exponential time, since it may hold the same part many times.
    """

    def __init__(self, items: Iterable[Any] = ()):
        super().__init__()
        for key, value in items:
            self[key] = value

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(key, str | int | float | bytes | None):
            super().__setitem__(key, value)


class _Bounded:
    """A file of which no more is asked than it has left."""

    def __init__(self, file: BinaryIO, size: int):
        self._file, self._size = file, size
        self.readline = file.readline

    def read(self, length: int) -> bytes:
        if not 0 <= length <= self._size - self._file.tell():
            raise EOFError("a text or number longer than the file")
        return self._file.read(length)

    def readinto(self, _: Any) -> int:
        raise ValueError("a buffer")


class Unpickler(pickle._Unpickler):
    """Reads one pickle from where the file stands.

    The standard library's reader in Python, as its twin in C reserves memory for any number of a
    slot that a pickle names.

    Args:
      file: open for reading.
      size: of the file, bytes.
      functions: (module, name) -> what a call of that name does. Other values stand for
        themselves, and cannot be called.
      load: what a reference to something outside of the pickle stands for.
    """

    # The parts of the standard library's reader that are used here.
    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]
    dispatch: ClassVar[dict[int, Callable[..., None]]] = dict(pickle._Unpickler.dispatch)
    for _opcode in (
        pickle.BYTEARRAY8,
        pickle.NEXT_BUFFER,
        pickle.READONLY_BUFFER,
        pickle.EXT1,
        pickle.EXT2,
        pickle.EXT4,
    ):
        del dispatch[_opcode[0]]

    def __init__(
        self,
        file: BinaryIO,
        size: int,
        functions: Mapping[tuple[str, str], Any],
        load: Callable[[Any], Any],
    ):
        # Python 2 wrote the oldest of these files.
        super().__init__(_Bounded(file, size), encoding="latin1")
        self._functions, self._load = functions, load

    def load(self) -> Any:
        try:
            return super().load()
        except (KeyError, IndexError, struct.error) as error:
            raise ValueError("a step that no pickle of tensors has") from error

    def find_class(self, module: str, name: str) -> Any:
        known = self._functions.get((module, name))
        if known is not None:
            return known
        if module.partition(".")[0] in _PROGRAMS and name not in _HARMLESS:
            raise ForbiddenName(f"{module}.{name}")
        return Foreign(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        return self._load(pid)

    def _call(self, function: Any, arguments: Any) -> Any:
        if isinstance(function, Foreign):
            return Foreign(function.name)
        if not isinstance(arguments, tuple | list) or not any(
            function is known for known in self._functions.values() if callable(known)
        ):
            raise ValueError("a call of what is no function")
        return function(*arguments)

    def _instantiate(self, klass: Any, args: Any) -> None:
        self.append(self._call(klass, args))

    def load_reduce(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], arguments)

    def load_newobj(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], arguments)

    def load_newobj_ex(self) -> None:
        self.stack.pop()  # arguments by name
        self.load_newobj()

    def load_build(self) -> None:
        """Attributes of an object: nothing here has any that matter."""
        self.stack.pop()
        if not isinstance(self.stack[-1], Foreign | PlainDict):
            raise ForbiddenName("a change of this reader")

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([(key, value)])

    def load_setitems(self) -> None:
        items = self.pop_mark()
        self._set(zip(items[::2], items[1::2], strict=True))

    def _set(self, items: Iterable[tuple[Any, Any]]) -> None:
        target = self.stack[-1]
        if not isinstance(target, Foreign | PlainDict):
            raise ValueError("an entry of what is no dictionary")
        for key, value in items:
            target[key] = value

    def load_empty_dict(self) -> None:
        self.append(PlainDict())

    def load_dict(self) -> None:
        items = self.pop_mark()
        self.append(PlainDict(zip(items[::2], items[1::2], strict=True)))

    def load_empty_set(self) -> None:
        self.append(Foreign("builtins.set"))

    def load_frozenset(self) -> None:
        self.pop_mark()
        self.append(Foreign("builtins.frozenset"))

    dispatch |= {
        pickle.REDUCE[0]: load_reduce,
        pickle.NEWOBJ[0]: load_newobj,
        pickle.NEWOBJ_EX[0]: load_newobj_ex,
        pickle.BUILD[0]: load_build,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.EMPTY_DICT[0]: load_empty_dict,
        pickle.DICT[0]: load_dict,
        pickle.EMPTY_SET[0]: load_empty_set,
        pickle.FROZENSET[0]: load_frozenset,
    }
