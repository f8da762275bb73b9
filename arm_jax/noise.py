"""A table of what is reported for which class, estimated from a teacher and the labels.

What is seen at a pixel, one of C labels or none, is a noisy report o of the true class j:

    T[j, o] = P(report o | class j), (C, C + 1), the last column "no label"

Given the teacher's likelihoods p, the class is q_j = p_j^k T[j, o] / sum. With T known that is the
correction of Patrini et al. (arXiv 1609.03683) in the form of expectation and maximisation; the
column for "none" is what coarse labels add: a pole that nobody draws is no evidence of its absence.
T is the running count of q by o. Nothing here has a gradient.
"""

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient

DECAY = 0.99  # of the counts, a step
DIAGONAL = 0.9  # of a label being right, before anything was counted
# A report that was never seen for a class stays possible.
LEAST = 1e-4


def prior(classes: int, missing: float = 0.5) -> jax.Array:
    """The counts to begin with: (C, C + 1) float32, every class as likely as the others.

    Args:
        classes: C.
        missing: the chance that a pixel is left out.

    >>> print(table(prior(2)).round(2))
    [[0.45 0.05 0.5 ]
     [0.05 0.45 0.5 ]]
    """
    wrong = (1.0 - DIAGONAL) / max(classes - 1, 1)
    given = jnp.where(jnp.eye(classes, dtype=bool), DIAGONAL, wrong)
    rows = jnp.concatenate([(1.0 - missing) * given, jnp.full((classes, 1), missing)], -1)
    return rows.astype(jnp.float32) / classes


def table(counts: jax.Array) -> jax.Array:
    """T from its counts, (C, C + 1): rows that sum to 1, nowhere under `LEAST` by much."""
    rows = counts / jnp.maximum(jnp.sum(counts, -1, keepdims=True), 1e-12)
    rows = jnp.maximum(rows, LEAST)
    return rows / jnp.sum(rows, -1, keepdims=True)


def posterior(
    p: jax.Array, report: jax.Array, table: jax.Array, sharpness: float = 1.0
) -> jax.Array:
    """The class's distribution, given the teacher and what was reported.

    Args:
        p: (..., C), the teacher's likelihoods.
        report: (...) int, a class, or C for no label.
        table: (C, C + 1).
        sharpness: k; 1 is the posterior, more trusts the teacher further than its likelihoods do.

    Returns:
        (..., C), float32, sums to 1.

    >>> p, said = jnp.array([0.8, 0.2]), jnp.int32(1)
    >>> [round(float(x), 3) for x in posterior(p, said, table(prior(2)))]
    [0.308, 0.692]
    """
    seen = jnp.moveaxis(table, -1, 0)[report]  # (..., C)
    q = p.astype(jnp.float32) ** sharpness * seen
    return stop_gradient(q / jnp.maximum(jnp.sum(q, -1, keepdims=True), 1e-30))


def counted(q: jax.Array, report: jax.Array, seen: jax.Array) -> jax.Array:
    """Shares of pixels by class (as far as it is known) and report: (C, C + 1), of sum 1.

    Args:
        q: (..., C), as from `posterior`.
        report: (...) int, a class, or C for no label.
        seen: (...) bool, what is no padding.
    """
    classes = q.shape[-1]
    flat = jnp.where(seen[..., None], q, 0.0).reshape(-1, classes)
    reports = jax.nn.one_hot(report.reshape(-1), classes + 1, dtype=jnp.float32)
    number = jnp.maximum(jnp.sum(seen, dtype=jnp.float32), 1.0)
    return jnp.matmul(flat.T, reports, precision=jax.lax.Precision.HIGHEST) / number


def blended(counts: jax.Array, new: jax.Array) -> jax.Array:
    """The running counts with a batch's, from `counted`, in them."""
    return DECAY * counts + (1.0 - DECAY) * new
