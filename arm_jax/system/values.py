"""Kinds of values: what is valid, in words, from Python and from the command line.

Each kind has three methods. `valid` returns the value in its one form (a list becomes a tuple, a
whole number that stands for a real one a float), `parse` does so from a command line's text, and
both raise ValueError for what does not fit, without words: `describe` has them, as they continue
"it must be ...". Only where these would not show what is wrong, they raise `Explained`.
"""

import ast
import difflib
import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Explained(ValueError):
    """A value that is not valid, with a sentence on what is wrong, which continues "KEY: "."""


class Kind(Protocol):
    """What all of these have in common."""

    def valid(self, value: Any) -> Any: ...

    def parse(self, text: str) -> Any: ...

    def describe(self, plural: bool = False) -> str: ...


FLOAT32 = (2 - 2**-23) * 2.0**127  # the largest number of the arrays that settings become


@dataclass(frozen=True)
class Whole:
    """A whole number from `low` to `high`; a truth value is none. None: no limit."""

    low: int | None = None
    high: int | None = None
    only: tuple[int, ...] = ()  # these alone

    def valid(self, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            raise ValueError
        number = int(value)
        if not _within(number, self.low, self.high) or (self.only and number not in self.only):
            raise ValueError
        if abs(number) >= 1 << 63:  # which no array takes
            raise ValueError
        return number

    def parse(self, text: str) -> int:
        return self.valid(literal(text))

    def describe(self, plural: bool = False) -> str:
        if self.only:
            return _alternatives(map(str, self.only))
        return ("whole numbers" if plural else "a whole number") + _range(self.low, self.high)


@dataclass(frozen=True)
class Real:
    """A finite number from `low` to `high`, larger than `above`."""

    low: float | None = None
    high: float | None = None
    above: float | None = None

    def valid(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise ValueError
        try:
            number = float(value)
        except OverflowError:  # a whole number of hundreds of digits
            raise ValueError from None
        if not math.isfinite(number) or not _within(number, self.low, self.high):
            raise ValueError
        if self.above is not None and number <= self.above:
            raise ValueError
        if abs(number) > FLOAT32:
            raise Explained(f"{number:g} is beyond what 32 bits hold, {FLOAT32:.3g}")
        return number

    def parse(self, text: str) -> float:
        return self.valid(literal(text))

    def describe(self, plural: bool = False) -> str:
        words = "numbers" if plural else "a number"
        above = "" if self.above is None else f" above {self.above:g}"
        return words + above + _range(self.low, self.high)


@dataclass(frozen=True)
class Flag:
    """True or False."""

    def valid(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError
        return value

    def parse(self, text: str) -> bool:
        words = {"true": True, "1": True, "false": False, "0": False}
        if text.strip().lower() not in words:
            raise ValueError
        return words[text.strip().lower()]

    def describe(self, plural: bool = False) -> str:
        return "True or False"


@dataclass(frozen=True)
class Text:
    """Any text of one line."""

    def valid(self, value: Any) -> str:
        if not isinstance(value, str) or not value.isprintable():
            raise ValueError
        return value

    def parse(self, text: str) -> str:
        return self.valid(text)

    def describe(self, plural: bool = False) -> str:
        return "texts" if plural else "a line of text"


@dataclass(frozen=True)
class Name(Text):
    """The name of a table's entry. The table, which may be slow to import, refuses other names."""

    def describe(self, plural: bool = False) -> str:
        return "one of the names in docs/settings.md"


@dataclass(frozen=True)
class Choice:
    """One of a few names."""

    names: tuple[str, ...]

    def valid(self, value: Any) -> str:
        if not isinstance(value, str) or value not in self.names:
            raise ValueError
        return value

    def parse(self, text: str) -> str:
        return self.valid(text)

    def describe(self, plural: bool = False) -> str:
        names = _alternatives(name or '""' for name in self.names)
        return f"names out of {names}" if plural else names


@dataclass(frozen=True)
class Several:
    """A tuple of values of one kind.

    Attributes:
      of: the kind of each.
      number: how many, or None for any number.
      names: what they are, in words.
      optional: () is valid too.
    """

    of: Kind
    number: int | None = None
    names: str = ""
    optional: bool = False

    def valid(self, value: Any) -> tuple[Any, ...]:
        if isinstance(value, str) and isinstance(self.of, Choice):
            value = (value,) if value else ()  # one name stands for itself
        if not isinstance(value, tuple | list):
            raise ValueError
        values = tuple(self.of.valid(one) for one in value)
        if values or not self.optional:
            if self.number is not None and len(values) != self.number:
                raise ValueError
            if not values:
                raise ValueError
        return values

    def parse(self, text: str) -> tuple[Any, ...]:
        """From `1,2`, `(1, 2)`, `[1, 2]`; texts need no quotes; one value stands for itself."""
        text = text.strip()
        if not text:
            return self.valid(())
        if isinstance(self.of, Text | Choice) and text[0] not in "([\"'":
            return self.valid(tuple(part.strip() for part in text.split(",")))
        value = literal(text)
        if self.number is None and not isinstance(value, tuple | list):
            value = (value,)
        return self.valid(value)

    @property
    def example(self) -> str:
        """A valid value as it may stand on the command line."""
        if isinstance(self.of, Several):
            if isinstance(self.of.of, Text):
                return '(("Car","car"),("dirt",""))'
            return "((128,64,128),(0,0,142))" if self.of.number == 3 else "((0,0),(255,1))"
        if isinstance(self.of, Choice):
            return ",".join(self.of.names[:2])
        if isinstance(self.of, Text):
            return "road,building,sky"
        if isinstance(self.of, Real):
            return "0.5,0.9"
        return "512,1024"

    def describe(self, plural: bool = False) -> str:
        number = "" if self.number is None else f"{self.number} "
        names = f" ({self.names})" if self.names else ""
        words = f"{number}{self.of.describe(plural=True)}{names}"
        if plural:
            words = f"tuples of {words}"
        return words + (", or ()" if self.optional else "")


@dataclass(frozen=True)
class Mappings:
    """A tuple of mappings, whose one form is that of pairs in the order of the fields.

    Attributes:
      fields: key -> the kind of its value.
      required: the keys that each must have.
      example: a valid value as it may stand on the command line.
    """

    fields: Mapping[str, Kind]
    required: tuple[str, ...]
    example: str

    def valid(self, value: Any) -> tuple[tuple[tuple[str, Any], ...], ...]:
        if not isinstance(value, tuple | list):
            raise ValueError
        return tuple(self._one(number, one) for number, one in enumerate(value, 1))

    def _one(self, number: int, value: Any) -> tuple[tuple[str, Any], ...]:
        given = _pairs(value)
        for key in given:
            if key not in self.fields:
                near = difflib.get_close_matches(str(key), self.fields, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(self.fields)}"
                raise Explained(f"number {number} has the unknown key {key!r}; {hint}")
        for key in self.required:
            if key not in given:
                raise Explained(f"number {number} has no {key!r}; give it one")
        found = []
        for key, kind in self.fields.items():
            if key in given:
                try:
                    found.append((key, kind.valid(given[key])))
                except Explained as error:
                    raise Explained(f"{key} of number {number}: {error}") from error
                except ValueError:
                    raise Explained(
                        f"number {number} has {key} = {given[key]!r}; it must be {kind.describe()}"
                    ) from None
        return tuple(found)

    def parse(self, text: str) -> tuple[tuple[tuple[str, Any], ...], ...]:
        """From a tuple of dicts, or one dict."""
        value = literal(text) if text.strip() else ()
        return self.valid((value,) if isinstance(value, dict) else value)

    def describe(self, plural: bool = False) -> str:
        return f"a tuple of mappings with the keys {', '.join(self.fields)}, or ()"


def _pairs(value: Any) -> dict[Any, Any]:
    """Of a mapping, or of its pairs."""
    if hasattr(value, "items"):
        return dict(value.items())
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValueError
    if not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in value):
        raise ValueError
    if not all(isinstance(key, str) for key, _ in value):
        raise ValueError
    return dict(value)


@dataclass(frozen=True)
class WordOr:
    """One word that stands for itself, or a value of a kind."""

    word: str
    of: Kind

    def valid(self, value: Any) -> Any:
        return value if value == self.word else self.of.valid(value)

    def parse(self, text: str) -> Any:
        return self.word if text.strip() == self.word else self.of.parse(text)

    def describe(self, plural: bool = False) -> str:
        return f"{self.word} or {self.of.describe(plural)}"


@dataclass(frozen=True)
class Either:
    """A value of the one kind, or of the other."""

    first: Kind
    second: Kind

    def valid(self, value: Any) -> Any:
        try:
            return self.first.valid(value)
        except ValueError:
            return self.second.valid(value)

    def parse(self, text: str) -> Any:
        try:
            return self.first.parse(text)
        except ValueError:
            return self.second.parse(text)

    def describe(self, plural: bool = False) -> str:
        return f"{self.first.describe(plural)}, or {self.second.describe(plural)}"


def literal(text: str) -> Any:
    """A Python literal. Raises ValueError for all else."""
    try:
        return ast.literal_eval(text.strip())
    except (SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError from None


def _within(number: float, low: float | None, high: float | None) -> bool:
    return (low is None or number >= low) and (high is None or number <= high)


def _range(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f" from {low:,} to {high:,}"
    if low is not None:
        return f" of at least {low:,}"
    return "" if high is None else f" and of at most {high:,}"


def _alternatives(names: Any) -> str:
    *rest, last = names
    return f"{', '.join(rest)} or {last}" if rest else last
