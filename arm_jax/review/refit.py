"""The score, fitted to what a person accepted: a logistic regression over its own terms."""

from collections.abc import Mapping, Sequence

import numpy as np

from arm_jax.review.regions import Region

# Penalty on the standardised coefficients, in decisions: with few of them the score changes little.
RIDGE = 2.0
# Decisions on a pair of classes that count as much as the mean over all pairs.
PRIOR = 4.0
# Of each kind, accepted and rejected, before there is anything to fit.
LEAST = 3


def refitted(regions: Sequence[Region], decisions: Mapping[int, bool]) -> np.ndarray | None:
    """float (n,): likelihood that each region is a mistake, by the decisions made so far.

    P(accepted) = sigmoid(c + sum_k c_k z_k), fitted by Newton's method with the penalty
    RIDGE / 2 sum_k c_k^2. The terms z are, standardised over all regions: the logarithms of
    evidence, size and reach, whose sum with weights 1, 1/2, 1 is the logarithm of the score, and of
    the margin; the kind (1 for object, 1 for part); and the logit of the share accepted among the
    other decisions on the same pair of classes, smoothed toward the share of all.

    Args:
      regions: all of them, decided or not.
      decisions: index of a region -> accepted or not.

    Returns:
      None while fewer than `LEAST` were accepted or fewer rejected.
    """
    chosen = np.array(sorted(decisions), np.intp)
    accepted = np.array([decisions[int(index)] for index in chosen], np.float64)
    if min(accepted.sum(), len(accepted) - accepted.sum()) < LEAST:
        return None
    terms = np.column_stack([_terms(regions), _pairs(regions, decisions)])
    deviation = terms.std(0)
    terms = (terms - terms.mean(0)) / np.where(deviation > 0, deviation, 1.0)
    design = np.column_stack([np.ones(len(terms)), terms])
    return _sigmoid(design @ _fit(design[chosen], accepted))


def _terms(regions: Sequence[Region]) -> np.ndarray:
    """(n, 6)."""
    return np.array(
        [
            [
                np.log(max(region.evidence, 1e-3)),
                np.log(max(region.margin, 1e-3)),
                np.log(max(region.size, 1e-4)),
                np.log(max(region.reach, 1e-2)),
                float(region.kind == "object"),
                float(region.kind == "part"),
            ]
            for region in regions
        ]
    )


def _pairs(regions: Sequence[Region], decisions: Mapping[int, bool]) -> np.ndarray:
    """(n,): logit of the smoothed share accepted for each region's pair, without the region."""
    totals: dict[tuple[int, int], np.ndarray] = {}
    for index, accepted in decisions.items():
        pair = regions[index].given, regions[index].proposed
        totals[pair] = totals.get(pair, np.zeros(2)) + np.array([accepted, 1])
    overall = (sum(decisions.values()) + 1) / (len(decisions) + 2)
    shares = []
    for index, region in enumerate(regions):
        yes, all_ = totals.get((region.given, region.proposed), np.zeros(2))
        if index in decisions:
            yes, all_ = yes - decisions[index], all_ - 1
        shares.append((yes + PRIOR * overall) / (all_ + PRIOR))
    share = np.asarray(shares)
    return np.log(share / (1 - share))


def _fit(design: np.ndarray, accepted: np.ndarray, steps: int = 50) -> np.ndarray:
    """Coefficients at the optimum, the first one without penalty."""
    coefficients = np.zeros(design.shape[1])
    penalty = RIDGE * np.eye(len(coefficients))
    penalty[0, 0] = 1e-6
    for _ in range(steps):
        likelihood = _sigmoid(design @ coefficients)
        gradient = design.T @ (accepted - likelihood) - penalty @ coefficients
        curvature = (design * (likelihood * (1 - likelihood))[:, None]).T @ design + penalty
        step = np.linalg.solve(curvature, gradient)
        coefficients += step
        if np.abs(step).max() < 1e-9:
            break
    return coefficients


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))
