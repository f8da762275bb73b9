"""Losses of single pixels, and which pixels count (paper, Secs. 3.1, 4.3); the table of them.

All take logits (..., C) of any float dtype and integer labels (...), compute in float32, and
return 0 at ignored pixels, with zero gradient. A label that is neither a class nor `ignore` has no
loss either: check labels where they are read.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient

from arm_jax.softmax import log_softmax
from arm_jax.system.registry import Entry, Registry

IGNORE = 255


def valid_pixels(labels: jax.Array, ignore: int = IGNORE) -> jax.Array:
    """Where there is a label: bool (...).

    >>> print(valid_pixels(jnp.array([0, 255])))
    [ True False]
    """
    return labels != ignore


def log_likelihood(logits: jax.Array, labels: jax.Array, ignore: int = IGNORE) -> jax.Array:
    """log p of the labelled class, (...), float32, <= 0; 0 where ignored.

    >>> logits = jnp.log(jnp.array([[0.5, 0.5], [0.9, 0.1]]))
    >>> print(log_likelihood(logits, jnp.array([0, 255])).round(3))
    [-0.693  0.   ]
    """
    log_p = log_softmax(logits.astype(jnp.float32))
    picked = _pick(log_p, labels.astype(jnp.int32))
    return jnp.where(valid_pixels(labels, ignore), picked, 0.0)


@jax.custom_vjp
def _pick(values: jax.Array, labels: jax.Array) -> jax.Array:
    """values[..., label], (...), and 0 where the label is no class; its gradient is no scatter."""
    classes = values.shape[-1]
    places = jnp.clip(labels, 0, classes - 1)[..., None]
    picked = jnp.take_along_axis(values, places, -1)[..., 0]
    return jnp.where((labels >= 0) & (labels < classes), picked, 0.0)


def _pick_forward(
    values: jax.Array, labels: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    # One row of numbers: XLA would store a number for every pixel and class, outside of a loop.
    shape = (1,) * labels.ndim + values.shape[-1:]
    return _pick(values, labels), (labels, jax.lax.broadcasted_iota(jnp.int32, shape, labels.ndim))


def _pick_backward(
    kept: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, None]:
    labels, numbers = kept
    return jnp.where(numbers == labels[..., None], gradient[..., None], 0.0), None


_pick.defvjp(_pick_forward, _pick_backward)


def cross_entropy(logits: jax.Array, labels: jax.Array, ignore: int = IGNORE) -> jax.Array:
    """CE = -log p_gt (Eq. 2), (...), float32, >= 0.

    >>> logits = jnp.log(jnp.array([[0.5, 0.5], [0.9, 0.1]]))
    >>> [round(loss, 3) for loss in cross_entropy(logits, jnp.array([0, 1])).tolist()]
    [0.693, 2.303]
    """
    return -log_likelihood(logits, labels, ignore)


def generalized_cross_entropy(
    logits: jax.Array, labels: jax.Array, q: float = 0.1, ignore: int = IGNORE
) -> jax.Array:
    """GCE = (1 - p_gt^q) / q (Zhang and Sabuncu, 2018), (...), float32, in [0, 1/q].

    Its gradient is p_gt^q times that of cross entropy, which is its limit at q = 0. The paper
    found q = 0.1 best; the untruncated form is meant, as no truncation is mentioned.

    >>> logits = jnp.log(jnp.array([[0.5, 0.5], [0.9, 0.1]]))
    >>> found = generalized_cross_entropy(logits, jnp.array([0, 1]), q=1.0)
    >>> [round(loss, 3) for loss in found.tolist()]
    [0.5, 0.9]
    """
    return bounded(log_likelihood(logits, labels, ignore), q)


def bounded(log_p: jax.Array, q: float = 0.1) -> jax.Array:
    """`generalized_cross_entropy` from the log-likelihood of the labels, (...), float32.

    >>> print(bounded(jnp.log(jnp.array([0.25, 0.0625])), q=0.5))
    [1.  1.5]
    """
    if not 0 <= q <= 1:
        raise ValueError(f"GCE needs 0 <= q <= 1, got {q}")
    return -log_p if q == 0 else -jnp.expm1(q * log_p) / q


def kl(
    logits: jax.Array,
    log_s: jax.Array,
    labels: jax.Array,
    ignore: int = IGNORE,
    limit: float = 5.0,
) -> jax.Array:
    """KL = CE / s + log(s) / 2 with the predicted uncertainty s (Eq. 1), (...), float32.

    The network predicts log s. Its optimum s = 2 CE makes the loss unbounded below as a pixel
    becomes certain, so log s is held in [-limit, limit]. Beyond a bound, the gradient on log s is
    kept only where it points back inside: a plain clip would never let such a pixel return.

    KL is negative for certain pixels, for which the theorem of Sec. 3.4 does not hold: give ARM
    `kl_signal` to climb.

    Args:
        log_s: (...), the extra channel, resized as log s along with the logits.

    >>> logits, labels = jnp.zeros((2, 4)), jnp.array([1, 255])
    >>> print(kl(logits, jnp.zeros(2), labels).round(3))
    [1.386 0.   ]
    """
    loss = tempered(cross_entropy(logits, labels, ignore), log_s, limit)
    return jnp.where(valid_pixels(labels, ignore), loss, 0.0)


def tempered(ce: jax.Array, log_s: jax.Array, limit: float = 5.0) -> jax.Array:
    """`kl` from the cross entropy, (...), float32; not 0 at ignored pixels.

    >>> round(float(tempered(jnp.float32(2), jnp.log(4.0))), 3)  # 2 / 4 + log(4) / 2
    1.193
    """
    log_s = log_s.astype(jnp.float32)
    clipped = stop_gradient(clip_log_s(log_s, limit))
    slope = stop_gradient(0.5 - jnp.exp(-clipped) * ce)  # d KL / d log s
    outward = ((log_s < -limit) & (slope > 0)) | ((log_s > limit) & (slope < 0))
    log_s = clipped + jnp.where(outward, 0.0, log_s - stop_gradient(log_s))
    return jnp.exp(-log_s) * ce + 0.5 * log_s


def clip_log_s(log_s: jax.Array, limit: float = 5.0) -> jax.Array:
    """log s as `kl` uses it: float32, in [-limit, limit].

    >>> print(clip_log_s(jnp.array([-9.0, 1.0])))
    [-5.  1.]
    """
    return jnp.clip(log_s.astype(jnp.float32), -limit, limit)


def kl_signal(kl_loss: jax.Array, limit: float = 5.0) -> jax.Array:
    """The KL loss above its lower bound, (...), >= 0: what ARM climbs beside a KL loss.

    The paper does not state what ARM maximises there. CE/s is 1/2 for every pixel at the optimal s,
    so it teaches nothing; KL itself is negative, which makes the optimal weights sparse. Shifted
    by min(log s)/2 = -limit/2 it is non-negative and increases with s.

    >>> print(kl_signal(jnp.array([-2.5, 1.0])))
    [0.  3.5]
    """
    return kl_loss + 0.5 * limit


def hard_pixels(
    probability: jax.Array,
    valid: jax.Array,
    threshold: float = 0.7,
    min_kept: int = 100_000,
) -> jax.Array:
    """Online hard example mining (Table 5): which pixels to keep, bool (...).

    Keeps the valid pixels whose probability of the labelled class lies under
    max(threshold, the (min_kept+1)-th smallest), so at least `min_kept` where there are as many and
    their probabilities differ. This is the rule of openseg.pytorch's FSOhemCELoss and
    mmsegmentation's OHEMPixelSampler, whose 0.7 and 100,000 the paper adopts. There the pixels are
    those of one device's two crops, hence 50,000 an image; here those of the whole batch.
    The sort over a varying number of pixels is replaced by a search for the bits of that one
    value: static shapes, nothing but sums, and the same float.

    Args:
        probability: (...), in [0, 1], for instance exp(log_likelihood(...)).
        valid: (...), bool.
        threshold: in [0, 1]; 0 keeps the `min_kept` hardest.
        min_kept: number of pixels of this whole array.

    >>> p, valid = jnp.array([0.1, 0.6, 0.9, 0.2]), jnp.array([True, True, True, False])
    >>> print(hard_pixels(p, valid, threshold=0.7, min_kept=1))
    [ True  True False False]
    """
    probability = stop_gradient(probability.astype(jnp.float32))
    limit = jnp.float32(threshold)
    rank = jnp.minimum(min_kept, jnp.sum(valid, dtype=jnp.int32) - 1)
    enough = jnp.sum(valid & (probability < limit), dtype=jnp.int32) > rank
    limit = jax.lax.cond(
        enough,
        lambda: limit,
        lambda: jnp.maximum(limit, _order_statistic(probability, valid, rank)),
    )
    return valid & (probability < limit)


def trimmed(loss: jax.Array, valid: jax.Array, share: float = 0.05) -> jax.Array:
    """`loss` with its largest values set to 0: a signal for ARM that ignores outliers, (...).

    Confident mislabelled pixels have the largest losses of all, so leaving out the `share` of valid
    pixels (0 <= share < 1) that lose most keeps ARM from turning to them, as long as there are no
    more of them than that. Ties with the largest kept value are kept.

    >>> print(trimmed(jnp.array([1.0, 9.0, 2.0]), jnp.ones(3, bool), share=0.4))
    [1. 0. 2.]
    """
    if not 0 <= share < 1:
        raise ValueError(f"the trimmed share of the pixels lies in [0, 1), got {share}")
    loss = loss.astype(jnp.float32)
    number = jnp.sum(valid, dtype=jnp.int32)
    kept = jnp.ceil((1.0 - share) * number).astype(jnp.int32)
    largest = _order_statistic(loss, valid, jnp.maximum(kept - 1, 0))
    return jnp.where(valid & (loss <= stop_gradient(largest)), loss, 0.0)


def mean_over(values: jax.Array, valid: jax.Array) -> jax.Array:
    """Mean of `values` over the valid pixels, a float32 scalar; 0 if there are none.

    >>> print(mean_over(jnp.array([1.0, 3.0, 9.0]), jnp.array([True, True, False])))
    2.0
    """
    total = jnp.sum(jnp.where(valid, values.astype(jnp.float32), 0.0))
    return total / jnp.maximum(jnp.sum(valid, dtype=jnp.int32), 1)


def balanced_weights(pixels: Sequence[int], exponent: float = 0.5) -> tuple[float, ...]:
    """Factors on the loss of each class that make rare classes count more.

    With n_c labelled pixels of class c, N of all and e the exponent, n_c^-e N / sum_k n_k^(1-e):
    the mean over the labelled pixels is 1, so the loss keeps its magnitude. Exponent 1 gives
    N / (C n_c), under which every class has the same share of the loss.

    Args:
        pixels: of each class; a class without one gets the factor 1, which meets no pixel.
        exponent: in (0, 1].

    >>> balanced_weights([90, 10, 0], 1.0)
    (0.5555555555555556, 5.0, 1.0)
    """
    if not 0 < exponent <= 1:
        raise ValueError(f"class weights are balanced by an exponent in (0, 1], got {exponent}")
    total = sum(n ** (1.0 - exponent) for n in pixels if n)
    return tuple(n**-exponent * sum(pixels) / total if n else 1.0 for n in pixels)


def by_class(labels: jax.Array, weights: Sequence[float]) -> jax.Array:
    """The weight of each pixel's class, (...), float32; what ignored pixels get is not used.

    >>> print(by_class(jnp.array([1, 0, 1]), (0.5, 2.0)))
    [2.  0.5 2. ]
    """
    return jnp.asarray(weights, jnp.float32).at[labels].get(mode="clip")


def _order_statistic(values: jax.Array, valid: jax.Array, rank: jax.Array) -> jax.Array:
    """The valid value, >= 0, that `rank` valid values precede in sorted order.

    Non-negative floats are ordered as their bits are, so the answer is found from its highest bit
    down: a bit is set if no more than `rank` values lie below the number built so far.
    """
    bits = jax.lax.bitcast_convert_type(values, jnp.int32)

    def set_bit(i: jax.Array, found: jax.Array) -> jax.Array:
        trial = found | (jnp.int32(1) << (30 - i))  # bit 31 is the sign
        below = jnp.sum(valid & (bits < trial), dtype=jnp.int32)
        return jnp.where(below <= rank, trial, found)

    found = jax.lax.fori_loop(0, 31, set_bit, jnp.int32(0))
    return jax.lax.bitcast_convert_type(found, jnp.float32)


Maps = Mapping[str, jax.Array]


class PixelLoss(NamedTuple):
    """What a loss makes of a batch.

    Attributes:
        loss: (b, h, w) float32, what the segmenter lowers.
        counted: (b, h, w) bool, which pixels count.
        signal: (b, h, w) float32, >= 0, what ARM raises if that is not the loss.
    """

    loss: jax.Array
    counted: jax.Array
    signal: jax.Array | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss(Entry):
    """An entry of `LOSSES`.

    Attributes:
        pixels: from (log_p, maps, settings) to a `PixelLoss`: the log-likelihood of the labels
            (b, h, w), float32, 0 where there is none; maps of that shape, "valid" (bool) and one
            for each of `channels` (float32); and the config's section `loss`.
        channels: names of the channels that the loss needs from the network, after the classes.
        reweighted: whether ARM may weigh the pixels.
        signals: whether `arm.signal` may choose what ARM raises.
    """

    pixels: Callable[[jax.Array, Maps, Any], PixelLoss]
    channels: tuple[str, ...]
    reweighted: bool
    signals: bool


def _ce(log_p: jax.Array, maps: Maps, settings: Any) -> PixelLoss:
    return PixelLoss(-log_p, maps["valid"])


def _gce(log_p: jax.Array, maps: Maps, settings: Any) -> PixelLoss:
    return PixelLoss(bounded(log_p, settings.q), maps["valid"])


def _kl(log_p: jax.Array, maps: Maps, settings: Any) -> PixelLoss:
    loss = tempered(-log_p, maps["log_s"])
    return PixelLoss(loss, maps["valid"], kl_signal(loss))


def _ohem(log_p: jax.Array, maps: Maps, settings: Any) -> PixelLoss:
    valid = maps["valid"]
    kept = settings.kept_per_image * valid.shape[0]
    return PixelLoss(-log_p, hard_pixels(jnp.exp(log_p), valid, settings.threshold, kept))


LOSSES = Registry(
    "loss",
    Loss,
    ce=Loss(pixels=_ce, channels=(), reweighted=True, signals=True),
    gce=Loss(pixels=_gce, channels=(), reweighted=True, signals=False),
    kl=Loss(pixels=_kl, channels=("log_s",), reweighted=True, signals=False),
    ohem=Loss(pixels=_ohem, channels=(), reweighted=False, signals=False),
)
