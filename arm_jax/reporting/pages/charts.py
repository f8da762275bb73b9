"""Lines and bars as SVG, in the colours of the page and at the size of its text.

What a chart holds is thinned, so that a run of 100,000 log lines makes no larger page than one
of 300: the line is the mean of neighbouring points, and a band behind it holds all of them.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

WIDTH, HEIGHT = 400, 220
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 8, 36
MOST_POINTS = 300


@dataclass(frozen=True)
class Series:
    """One line, or one set of bars.

    Attributes:
      name: in the legend.
      x, y: of equal length, x rising; what is not finite is left out.
      dashed: for what is computed beside what was measured.
      bars: drawn from the bottom, as wide as the points are apart.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False
    bars: bool = False


@dataclass(frozen=True)
class Thinned:
    """At most MOST_POINTS points of a series: means, and what their neighbours lie between.

    `apart` is the least distance of the series' own points, 1 for a single one.
    """

    x: np.ndarray
    y: np.ndarray
    low: np.ndarray
    high: np.ndarray
    is_thinned: bool
    apart: float


@dataclass(frozen=True)
class Tick:
    """A mark of an axis, at `at` units of the view box."""

    at: float
    text: str


@dataclass(frozen=True)
class Chart:
    """Series over one pair of axes.

    Attributes:
      title: above the chart.
      x_title: under it.
      series: at most four have a colour of their own.
      x_limits: of the axis; by default from the first point to the last.
      from_zero: whether the axis of y begins at 0.
      log: whether it is logarithmic, where values of 0 are left out.
      whole: whether the axis of x has marks at whole numbers alone.
      digits: decimals of a value under the pointer.
      note: beside the title.
    """

    title: str
    x_title: str
    series: Sequence[Series]
    x_limits: tuple[float, float] | None = None
    from_zero: bool = False
    log: bool = False
    whole: bool = False
    digits: int = 3
    note: str = ""

    @cached_property
    def shown(self) -> list[tuple[Series, Thinned]]:
        """The series that have a point."""
        pairs = ((one, _thinned(one, self.log)) for one in self.series)
        return [(one, points) for one, points in pairs if len(points.x)]

    @cached_property
    def _x_range(self) -> tuple[float, float]:
        if self.x_limits is not None:
            return self.x_limits
        return _widened(
            min(points.x[0] for _, points in self.shown),
            max(points.x[-1] for _, points in self.shown),
        )

    @cached_property
    def _y_range(self) -> tuple[float, float]:
        low = min(float(points.low.min()) for _, points in self.shown)
        high = max(float(points.high.max()) for _, points in self.shown)
        if self.log:
            lowest, highest = math.log10(low) - 1e-9, math.log10(high) + 1e-9
            return 10.0 ** math.floor(lowest), 10.0 ** math.ceil(highest)
        if self.from_zero:
            low = min(low, 0.0)
        low, high = _widened(low, high)
        ticks = nice(low, high)
        step = ticks[1] - ticks[0]
        bottom = low if self.from_zero and low == 0 else math.floor(low / step) * step
        return bottom, math.ceil(high / step - 1e-9) * step

    def to_x(self, x: np.ndarray | float) -> np.ndarray:
        """From values to units of the view box."""
        low, high = self._x_range
        share = (np.asarray(x, np.float64) - low) / (high - low)
        return np.asarray(LEFT + share * (WIDTH - LEFT - RIGHT))

    def to_y(self, y: np.ndarray | float) -> np.ndarray:
        low, high = self._y_range
        y = np.asarray(y, np.float64)
        if self.log:
            low, high, y = math.log10(low), math.log10(high), np.log10(y)
        return np.asarray(HEIGHT - BOTTOM - (y - low) / (high - low) * (HEIGHT - TOP - BOTTOM))

    @property
    def x_ticks(self) -> list[Tick]:
        low, high = self._x_range
        marks = [x for x in _within(low, high, 6) if not self.whole or x == int(x)]
        return [Tick(float(self.to_x(x)), text) for x, text in labelled(marks)]

    @property
    def y_ticks(self) -> list[Tick]:
        low, high = self._y_range
        if self.log:
            first, last = round(math.log10(low)), round(math.log10(high))
            step = max(1, (last - first) // 4)
            values = [10.0**power for power in range(first, last + 1, step)]
            marks = [(value, short(value)) for value in values]
        else:
            marks = labelled(_within(low, high, 5))
        return [Tick(float(self.to_y(y)), text) for y, text in marks]

    def line(self, points: Thinned) -> str:
        """The path of a line."""
        return "M" + "L".join(_pairs(self.to_x(points.x), self.to_y(points.y)))

    def dots(self, points: Thinned) -> list[tuple[float, float]]:
        """Where to draw the points of a short line, so that a single one is seen as well."""
        x, y = self.to_x(points.x), self.to_y(points.y)
        return [(round(float(a), 1), round(float(b), 1)) for a, b in zip(x, y, strict=True)]

    def band(self, points: Thinned) -> str:
        """The path around all that a thinned line stands for."""
        x = self.to_x(points.x)
        upper = _pairs(x, self.to_y(points.high))
        lower = _pairs(x[::-1], self.to_y(points.low)[::-1])
        return "M" + "L".join([*upper, *lower]) + "Z"

    def bars(self, points: Thinned) -> str:
        """The path of all bars."""
        half = 0.5 * float(self.to_x(points.apart) - self.to_x(0.0)) * 0.88
        floor = HEIGHT - BOTTOM
        return "".join(
            f"M{x - half:.1f} {floor}V{y:.1f}H{x + half:.1f}V{floor}Z"
            for x, y in zip(self.to_x(points.x), self.to_y(points.y), strict=True)
        )

    @property
    def alt(self) -> str:
        """What a reader is told who does not see it."""
        lines = (
            f"{one.name}: {short(float(points.y[0]))} at {self.x_title} {short(points.x[0])},"
            f" {short(float(points.y[-1]))} at {short(points.x[-1])}"
            for one, points in self.shown
        )
        return f"{self.title}. " + "; ".join(lines)

    @property
    def data(self) -> str:
        """For page.js: what to show under the pointer, as JSON."""
        series = [
            {
                "name": one.name,
                "x": [_rounded(x) for x in points.x],
                "y": [_rounded(y) for y in points.y],
                "at": [round(float(x), 1) for x in self.to_x(points.x)],
            }
            for one, points in self.shown
        ]
        found = {"x": self.x_title, "digits": self.digits, "series": series}
        return json.dumps(found, ensure_ascii=False, separators=(",", ":"))


def _thinned(series: Series, positive: bool) -> Thinned:
    x, y = np.asarray(series.x, np.float64), np.asarray(series.y, np.float64)
    there = np.isfinite(x) & np.isfinite(y) & ((y > 0) | (not positive))
    apart = float(np.diff(x).min()) if len(x) > 1 else 1.0
    x, y = x[there], y[there]
    if len(x) <= MOST_POINTS:
        return Thinned(x, y, y, y, False, apart)
    starts = np.linspace(0, len(x), MOST_POINTS, endpoint=False).astype(int)
    counts = np.diff([*starts, len(x)])
    return Thinned(
        np.add.reduceat(x, starts) / counts,
        np.add.reduceat(y, starts) / counts,
        np.minimum.reduceat(y, starts),
        np.maximum.reduceat(y, starts),
        True,
        apart,
    )


def _widened(low: float, high: float) -> tuple[float, float]:
    """A range that is wide enough for its marks to differ in four digits."""
    least = 2e-3 * max(abs(low), abs(high))
    if high == low:
        return low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    margin = max(0.0, least - (high - low)) / 2
    return low - margin, high + margin


def nice(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers from one below `low` to one above `high`, about `most` of them."""
    raw = (high - low) / most
    unit = 10.0 ** math.floor(math.log10(raw))
    step = unit * next(factor for factor in (1, 2, 2.5, 5, 10) if factor * unit >= raw * 0.999)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def _within(low: float, high: float, most: int) -> list[float]:
    """Of `nice`, what lies between, the ends included."""
    margin = 1e-9 * (high - low)
    return [x for x in nice(low, high, most) if low - margin <= x <= high + margin]


def labelled(marks: Sequence[float]) -> list[tuple[float, str]]:
    """Marks with their texts, which all have the decimals that one of them needs."""
    found = [short(mark) for mark in marks]
    if all("e" not in text for text in found):
        decimals = max((len(text.partition(".")[2]) for text in found), default=0)
        found = [f"{mark:,.{decimals}f}".replace("-", "\u2212") for mark in marks]
    return list(zip(marks, found, strict=True))


def short(value: float) -> str:
    """A number for an axis."""
    value = float(value)
    if value != 0 and not 1e-3 <= abs(value) < 1e7:
        text = f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    elif value == int(value):
        text = f"{int(value):,}"
    else:
        text = f"{value:.4g}"
    return text.replace("-", "\u2212")


def _rounded(value: float) -> float:
    """Four digits are more than can be seen."""
    return float(f"{value:.4g}") if abs(value) < 1e4 else round(float(value))


def _pairs(x: np.ndarray, y: np.ndarray) -> list[str]:
    return [f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True)]
