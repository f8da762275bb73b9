"""Registries: what people may add to the package, by name, each entry under a written contract.

A registry is a dictionary, and an entry is added as to any dictionary, in the package or in a file
of one's own that the config imports:

    WEIGHTINGS["power"] = Weighting(create=..., describe=..., observes=False)
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Generic, TypeVar, get_origin

from arm_jax.system.errors import InputError


class Entry:
    """The base of all contracts, which are frozen dataclasses of keyword arguments.

    Raises:
        InputError: an entry lacks a part that has no default, has one that the contract does not
            know, or a value where there must be a function. So a broken entry ends the import of
            its file, not a run.
    """

    def __new__(cls, **parts: Any) -> "Entry":
        if not parts:  # copied or unpickled, which fill the entry themselves
            return super().__new__(cls)
        fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
        required = [name for name, field in fields.items() if _required(field)]
        lacking = [name for name in required if name not in parts]
        unknown = [name for name in parts if name not in fields]
        broken = [
            name
            for name, value in parts.items()
            if name in fields and get_origin(fields[name].type) is Callable and not callable(value)
        ]
        for what, names in (("lacks", lacking), ("has no", unknown), ("cannot call its", broken)):
            if names:
                raise InputError(
                    f"an entry {cls.__name__}({', '.join(parts)}) {what} {', '.join(names)}; "
                    f"its parts are {', '.join(fields)}, see {cls.__module__}.{cls.__name__}"
                )
        return super().__new__(cls)


T = TypeVar("T", bound=Entry)


class Registry(dict[str, T], Generic[T]):
    """Entries by name, in the order in which they are listed to the user.

    Args:
        what: what an entry is, as the message about an unknown name calls it.
        contract: the class of the entries.
        entries: those that there are from the start.

    Raises:
        InputError: an entry is of another class, or `registry[name]` is not there.
    """

    def __init__(self, what: str, contract: type[T], **entries: T):
        super().__init__()
        self.what, self.contract = what, contract
        for name, entry in entries.items():
            self[name] = entry

    def __setitem__(self, name: str, entry: T) -> None:
        if not isinstance(entry, self.contract):
            raise InputError(
                f"{self.what} {name!r} is a {type(entry).__name__}; it must be a "
                f"{self.contract.__module__}.{self.contract.__name__}"
            )
        super().__setitem__(name, entry)

    def __missing__(self, name: str) -> T:
        raise InputError(f"{self.what} {name!r} is not known; choose one of {', '.join(self)}")


def _required(field: dataclasses.Field) -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing
