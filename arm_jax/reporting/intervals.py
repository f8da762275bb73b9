"""The interval that holds a mean, by Student's t."""

import math
import statistics
from collections.abc import Sequence

from jax.scipy.special import betainc


def half_width(values: Sequence[float], confidence: float = 0.95) -> float | None:
    """Half the width of the confidence interval of the mean; None for fewer than two values.

    s / sqrt(n) times the quantile of Student's t with n - 1 degrees of freedom, for values that
    are drawn independently from one normal distribution.

    >>> round(half_width([40.0, 41.0, 42.0]), 3)  # 4.303 / sqrt(3)
    2.484
    """
    if len(values) < 2:
        return None
    quantile = student_quantile((1 + confidence) / 2, len(values) - 1)
    return quantile * statistics.stdev(values) / math.sqrt(len(values))


def student_quantile(probability: float, freedom: int) -> float:
    """The t that a variable with so many degrees of freedom stays under, for p in (0.5, 1).

    By bisection of P(T <= t) = 1 - I_x(f/2, 1/2) / 2 with x = f / (f + t^2).
    """
    low, high = 0.0, 1000.0
    while high - low > 1e-4:
        t = (low + high) / 2
        tail = float(betainc(freedom / 2, 0.5, freedom / (freedom + t * t))) / 2
        low, high = (t, high) if 1 - tail < probability else (low, t)
    return (low + high) / 2
