"""Several sources in one run, each with its own share of every batch.

Which source example p comes from is a function of p and the shares alone, and which record of that
source, of the seed and of how many of its examples came before. So a mixture has a position of one
number, as a single source has.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from arm_jax.data.records import Source
from arm_jax.data.wrappers import JoinedSource

_BETWEEN_SEEDS = 0x9E3779B9  # the seeds of two sources' orders, modulo 2^32


@dataclass(frozen=True)
class Part:
    """One source of a mixture.

    Attributes:
      name: in messages and reports.
      source: its records.
      share: of the examples, in (0, 1].
      weigh: whether ARM weighs its pixels and climbs on their loss.
      correct: whether its labels may be wrong, and a teacher corrects them.
      complete: whether a teacher labels what nobody drew.
      labelled: whether it has labels.
    """

    name: str
    source: Source
    share: Fraction
    weigh: bool = True
    correct: bool = True
    complete: bool = True
    labelled: bool = True


class MixedSource(JoinedSource):
    """The records of all parts one after the other; `training_batches` mixes them by share."""

    def __init__(self, parts: Sequence[Part]):
        super().__init__([part.source for part in parts])
        self.parts = tuple(parts)

    def part_of(self, index: int) -> int:
        """Which part a record is of."""
        return int(np.searchsorted(self._ends, index, side="right"))

    @property
    def numbers(self) -> tuple[int, ...]:
        """How many records each part has."""
        return tuple(len(part.source) for part in self.parts)

    def marks(self) -> dict[str, np.ndarray]:
        """Which records are weighed, corrected and completed: bool (records,) by these keys.

        A key is absent where that is done to all of them.
        """
        of_parts = {
            "weighed": [part.weigh for part in self.parts],
            "corrected": [part.correct for part in self.parts],
            "completed": [part.complete for part in self.parts],
        }
        return {
            key: np.repeat(values, self.numbers)
            for key, values in of_parts.items()
            if not all(values)
        }


class Composition:
    """Which source each example is from, so that every source gets its share exactly.

    Of the first p examples, source i has p * share_i to within less than one, for every p; after
    each `period` of them it has exactly that. (No order can promise as much for every window of
    three or more sources. Two neighbouring prefixes differ by less than two.) It is the order of
    Tijdeman, "The chairman assignment problem", Discrete Mathematics 32 (1980): among the sources
    whose turn may come, the one that must come first.

    Args:
      shares: positive, their sum is 1.

    >>> order = Composition([Fraction(1, 2), Fraction(1, 4), Fraction(1, 4)])
    >>> [order[p] for p in range(5)]
    [(0, 0), (1, 0), (2, 0), (0, 1), (0, 2)]
    """

    def __init__(self, shares: Sequence[Fraction]):
        if sum(shares) != 1 or min(shares) <= 0:
            raise ValueError(f"shares {shares} are not positive with a sum of 1")
        self.period = math.lcm(*(share.denominator for share in shares))
        self._each = [int(share * self.period) for share in shares]
        self._source, self._rank = self._turns()

    def _turns(self) -> tuple[list[int], list[int]]:
        """Of each example of a period: its source, and how many came before from this source."""
        spare = 2 * max(len(self._each) - 1, 1)
        given = [0] * len(self._each)
        sources, ranks = [], []
        for turn in range(1, self.period + 1):
            # All in units of 1 / (spare * period) examples.
            owed = [
                spare * (each * turn - self.period * n)
                for each, n in zip(self._each, given, strict=True)
            ]
            _, chosen = min(
                (Fraction((spare - 1) * self.period - owed[k], each), k)
                for k, each in enumerate(self._each)
                if owed[k] >= self.period
            )
            sources.append(chosen)
            ranks.append(given[chosen])
            given[chosen] += 1
        return sources, ranks

    def __getitem__(self, example: int) -> tuple[int, int]:
        """The source of an example, and how many examples before it are of that source."""
        periods, place = divmod(example, self.period)
        source = self._source[place]
        return source, periods * self._each[source] + self._rank[place]


class Mixture:
    """The endless stream of a mixture's records, for Grain.

    Every source is shuffled by itself, in each of its epochs anew.

    Args:
      records: those of `source`, in its order, perhaps with more in them.
      source: the mixture.
      seed: of the orders.
      number: how many examples to pretend there are.
    """

    def __init__(self, records: Any, source: MixedSource, seed: int, number: int):
        import grain  # which imports Orbax

        self._records, self._number = records, number
        self._composition = Composition([part.share for part in source.parts])
        self._starts = np.cumsum([0, *source.numbers]).tolist()
        self._orders = [
            grain.MapDataset.range(own).shuffle(seed=(seed + k * _BETWEEN_SEEDS) % 2**32).repeat()
            for k, own in enumerate(source.numbers)
        ]

    def __len__(self) -> int:
        return self._number

    def __getitem__(self, example: int) -> Any:
        part, before = self._composition[int(example)]
        return self._records[self._starts[part] + int(self._orders[part][before])]
