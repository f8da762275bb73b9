"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table without a line's end behind it.

    >>> print(table(["row", "mIoU, %"], [["arm", "71.94"]]))
    | row | mIoU, % |
    |---|---|
    | arm | 71.94 |
    """
    lines = ["|---" * len(heads) + "|", *(_line(row) for row in rows)]
    return "\n".join([_line(heads), *lines])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
