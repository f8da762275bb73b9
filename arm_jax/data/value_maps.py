"""The value map that was probably meant, where labels store other numbers than class indices."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np

from arm_jax.data.formats.contract import UnknownNames
from arm_jax.data.formats.drawing import counted
from arm_jax.data.labels import Classes, UnknownValues

_LONGEST = 20  # classes whose map fits a line

# How an override is written: a setting's name and its value as text.
Override = Callable[[str, str], str]


def override(key: str, value: str) -> str:
    """As `arm_jax.main` takes it."""
    return f"--config.{key}='{value}'"


class Stored:
    """Collects the values that the labels of a source store."""

    def __init__(self, classes: Classes):
        self._classes = classes
        self._present = np.zeros(256, bool)
        self._unknown = False
        self._names: Counter[str] = Counter()

    def add(self, found: np.ndarray | Exception) -> None:
        """Pixels by value, (256,), of a label without mistakes; or what is wrong with one."""
        if isinstance(found, np.ndarray):
            self._present |= found > 0
        elif isinstance(found, UnknownValues) and found.stored is not None:
            self._present |= found.stored > 0
            self._unknown = True
        elif isinstance(found, UnknownNames) and found.names:
            self._names += found.names

    def suggestion(self, write: Override = override) -> str:
        """A sentence with the map that would give every value a meaning; "" if none is likely."""
        if self._names:
            return self._pairs(write)
        if not self._unknown:
            return ""
        return suggested(np.flatnonzero(self._present).tolist(), self._classes, write)

    def _pairs(self, write: Override) -> str:
        """What can be done about names that are no classes."""
        pairs = []
        for name, _ in self._names.most_common(_LONGEST):
            alike = [known for known in self._classes.names if _bare(known) == _bare(name)]
            pairs.append(f"({_quoted(name)},{_quoted(alike[0] if alike else '')})")
        mapping = write("data.label_names", f"({','.join(pairs)},)")
        return (
            f"names that are no classes: {counted(self._names)}; add them to data.classes, or give"
            f' each the class it is, or "" to leave it out: {mapping}'
        )


def _bare(name: str) -> str:
    """What is left of a name without case, blanks and a plural. A cat is no car."""
    return re.sub(r"[\W_]+", "", name.lower()).removesuffix("s")


def _quoted(text: str) -> str:
    """As a literal in double quotes, which a shell's single ones can hold."""
    return json.dumps(text, ensure_ascii=False).replace("'", "\\u0027")


def suggested(values: Iterable[int], classes: Classes, write: Override = override) -> str:
    """As `Stored.suggestion`, for the values that all labels together store."""
    present = sorted(set(values) - {classes.ignore})
    number = classes.number
    others = [value for value in present if value != 255]
    if (
        len(others) not in (1, len(present))
        and others == list(range(len(others)))
        and (len(others) <= number)
    ):
        return f"255 usually marks pixels without a label: {write('data.ignore', '255')}"
    if number > _LONGEST:
        return ""
    if present == list(range(number + 1)):
        ignored = write("data.label_values", shift(classes, zero=True))
        return f"if 0 means no label, use {ignored}; if it is a class, name it first"
    if present and present[0] >= 1 and present[-1] == number:
        return f"the values begin at 1: {write('data.label_values', shift(classes))}"
    # Grey levels: 0 and 255, or 0, 128 and 255.
    everything = sorted(set(values))
    for levels in (everything, present):
        if len(levels) == number and levels[-1] > number:
            pairs = ",".join(f"({value},{index})" for index, value in enumerate(levels))
            mapping = write("data.label_values", f"({pairs})")
            return f"if these are the classes in order, use {mapping}"
    return ""


def shift(classes: Classes, *, zero: bool = False) -> str:
    """The map that takes 1 from every stored value, and of 0 makes the ignore value, as text."""
    pairs = [f"({k + 1},{k})" for k in range(classes.number)]
    return f"({','.join([f'(0,{classes.ignore})'] * zero + pairs)})"
