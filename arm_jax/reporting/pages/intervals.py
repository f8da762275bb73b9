"""Values of several groups on one axis: every value a dot, the mean and its interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from arm_jax.reporting.pages.charts import Tick, labelled, nice

LEFT, RIGHT, WIDTH = 8, 8, 400


@dataclass(frozen=True)
class Group:
    """One line: its name, its values, and mean and half width of an interval where known."""

    name: str
    values: Sequence[float]
    mean: float | None
    half: float | None


@dataclass(frozen=True)
class Mark:
    """A group in units of the view box."""

    name: str
    dots: list[float]
    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Intervals:
    """A plot of groups under each other, in the order of the table beside it.

    Attributes:
      title: of the axis.
      groups: those without a value have an empty line.
    """

    title: str
    groups: Sequence[Group]

    @cached_property
    def _range(self) -> tuple[float, float]:
        ends: list[float] = []
        for group in self.groups:
            ends += group.values
            if group.mean is not None and group.half is not None:
                ends += [group.mean - group.half, group.mean + group.half]
        low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
        margin = 0.05 * (high - low) or 0.5
        return low - margin, high + margin

    def _at(self, value: float) -> float:
        low, high = self._range
        return round(LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT), 1)

    @property
    def ticks(self) -> list[Tick]:
        low, high = self._range
        marks = labelled([x for x in nice(low, high, 5) if low <= x <= high])
        return [Tick(self._at(x), text) for x, text in marks]

    @property
    def marks(self) -> list[Mark]:
        found = []
        for group in self.groups:
            mean, half = group.mean, group.half
            low = high = None
            if mean is not None and half is not None:
                low, high = self._at(mean - half), self._at(mean + half)
            found.append(
                Mark(
                    group.name,
                    [self._at(value) for value in group.values],
                    None if mean is None else self._at(mean),
                    low,
                    high,
                )
            )
        return found
