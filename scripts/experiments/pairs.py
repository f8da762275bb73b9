"""Paired differences: their intervals, the number of seeds it takes, the share of a gap."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from arm_jax.reporting import intervals

MOST_SEEDS = 10_000


@dataclass(frozen=True)
class Difference:
    """The mean of paired differences, with its interval.

    Attributes:
      number: of pairs.
      mean: of the differences; nan for none.
      half: half the width of the 95 % interval; nan for fewer than two pairs.
      p: two-sided; nan for fewer than two pairs.
    """

    number: int
    mean: float
    half: float
    p: float

    @property
    def sign(self) -> int:
        """1 or -1 where the interval lies on one side of 0, else 0."""
        decided = not math.isnan(self.half) and abs(self.mean) > self.half
        return int(math.copysign(1, self.mean)) if decided else 0


def difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Difference:
    """Of the seeds that both have."""
    values = [ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]
    number = len(values)
    if number < 2:
        return Difference(number, values[0] if values else math.nan, math.nan, math.nan)
    mean, error = statistics.fmean(values), statistics.stdev(values) / math.sqrt(number)
    p = intervals.p_value(mean / error, number - 1) if error else 0.0 if mean else 1.0
    return Difference(number, mean, intervals.half_width(values), p)


def seeds_needed(found: Difference) -> int | None:
    """How many pairs of this mean and spread leave 0 outside of the interval; None beyond 10,000.

    >>> seeds_needed(Difference(3, 1.0, 2.484, 0.2))
    7
    """
    if math.isnan(found.half) or not found.mean:
        return None
    spread = found.half / intervals.quantile(found.number - 1) * math.sqrt(found.number)

    def decides(number: int) -> bool:
        return intervals.quantile(number - 1) * spread / math.sqrt(number) < abs(found.mean)

    low, high = 1, 2
    while not decides(high):
        low, high = high, 2 * high
        if high > MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle, high)
    return high


def share_of_gap(
    row: Mapping[int, float], base: Mapping[int, float], fine: Mapping[int, float]
) -> float:
    """The share of the gap from base to base on fine labels that a row closes; nan for no gap."""
    seeds: Sequence[int] = sorted(row.keys() & base.keys() & fine.keys())
    if difference(fine, base).sign < 1 or not seeds:
        return math.nan
    gap = statistics.fmean(fine[seed] - base[seed] for seed in seeds)
    return statistics.fmean(row[seed] - base[seed] for seed in seeds) / gap if gap > 0 else math.nan
