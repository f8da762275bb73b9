"""Tables of a page: what stands in a cell, how it is aligned, what it is sorted by."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

NOTHING = "\u2013"


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
      title: its heading.
      digits: decimals of its numbers; None for texts, which are aligned to the left.
      bar: the number that fills the bar behind a cell, None for no bars.
      help: shown when the pointer rests on the heading.
    """

    title: str
    digits: int | None = None
    bar: float | None = None
    help: str = ""


@dataclass(frozen=True)
class Cell:
    """A cell that is more than a number or a text.

    Attributes:
      value: a number, a text or None: what is shown and what is sorted by.
      text: shown in place of `value`.
      color: RGB of a swatch before the text.
      note: shown when the pointer rests on it.
      href: where a click leads, for example "#part" or a file beside the page.
    """

    value: float | str | None
    text: str | None = None
    color: tuple[int, int, int] | None = None
    note: str = ""
    href: str = ""


@dataclass(frozen=True)
class Shown:
    """A cell as the template writes it."""

    text: str
    key: str
    number: bool
    fill: float | None
    cell: Cell


@dataclass(frozen=True)
class Table:
    """Rows under columns.

    Attributes:
      columns: from left to right.
      rows: each with an entry a column: a `Cell`, a number, a text, or None for nothing.
      caption: one line above the table; it names the units.
      totals: rows under the others, which stay there when the table is sorted.
      sortable: whether a click on a heading sorts by it.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    caption: str = ""
    totals: Sequence[Sequence[Any]] = field(default=())
    sortable: bool = True

    def shown(self, row: Sequence[Any]) -> list[Shown]:
        """The cells of a row; raises ValueError when their number is not that of the columns."""
        return [_shown(value, column) for value, column in zip(row, self.columns, strict=True)]


def _shown(value: Any, column: Column) -> Shown:
    cell = value if isinstance(value, Cell) else Cell(value)
    number = column.digits is not None
    plain = cell.value
    if plain is None or (isinstance(plain, float) and math.isnan(plain)):
        return Shown(cell.text or NOTHING, "", number, None, cell)
    if isinstance(plain, str):
        return Shown(cell.text or plain, plain, number, None, cell)
    text = cell.text or figure(plain, column.digits or 0)
    fill = None if column.bar is None else min(max(100 * float(plain) / column.bar, 0), 100)
    return Shown(text, repr(float(plain)), number, fill, cell)


def figure(value: float | None, digits: int = 2) -> str:
    """A number as it stands in a page: "1,234.50", and a true minus sign; a dash for none."""
    if value is None or math.isnan(value):
        return NOTHING
    text = f"{value:,.{digits}f}"
    if text.startswith("-"):
        text = text[1:] if float(text.replace(",", "")) == 0 else "\u2212" + text[1:]
    return text
