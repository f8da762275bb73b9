"""The interval that holds a mean, by Student's t."""

import math
import statistics
from collections.abc import Sequence

from jax.scipy.special import betainc

LEVEL = 0.05


def half_width(values: Sequence[float], level: float = LEVEL) -> float | None:
    """Half the width of the interval that misses the mean with `level`; None below two values.

    s / sqrt(n) times the quantile of Student's t with n - 1 degrees of freedom, for values that
    are drawn independently from one normal distribution.

    >>> round(half_width([40.0, 41.0, 42.0]), 3)  # 4.303 / sqrt(3)
    2.484
    """
    if len(values) < 2:
        return None
    return quantile(len(values) - 1, level) * statistics.stdev(values) / math.sqrt(len(values))


def p_value(t: float, freedom: int) -> float:
    """Two-sided, of Student's t distribution.

    >>> round(p_value(2.776, 4), 3)
    0.05
    """
    return float(betainc(freedom / 2, 0.5, freedom / (freedom + t * t)))


def quantile(freedom: int, level: float = LEVEL) -> float:
    """The t beyond which a share `level` of the distribution lies, on both sides together.

    >>> round(quantile(9), 2)
    2.26
    """
    low, high = 0.0, 1e3
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if p_value(middle, freedom) > level else (low, middle)
    return (low + high) / 2
