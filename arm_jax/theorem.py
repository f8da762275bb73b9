"""Does ARM do what the theorem predicts? Statistics over confidence (paper, Fig. 5, Theorem 3.1).

The pixels of a batch are counted in bins of equal width over confidence v in [-1, 1]. The mean
loss of a bin is L(v) of Fig. 5, its mean weight W(v), and Hölder's inequality says which W is best
for an L. ARM gives all pixels of a bin one weight, so the number of pixels cancels from that
optimum: it is the mean loss that counts, not the sum of Eq. 5.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Histogram(NamedTuple):
    """Sums over the pixels of each bin, (bins,) float32. Histograms may be added and scaled."""

    pixels: jax.Array  # number of pixels
    loss: jax.Array  # sum of the pixel loss
    weight: jax.Array  # sum of the relative weight, whose mean over the batch's pixels is 1


def histogram(
    confidence: jax.Array,
    loss: jax.Array,
    weights: jax.Array,
    valid: jax.Array,
    *,
    bins: int = 64,
    stride: int = 5,
) -> Histogram:
    """Count a batch in bins over confidence; cheap enough for every training step.

    Args:
        confidence: (..., h, w) in [-1, 1], or of one dimension.
        loss: same shape.
        weights: same shape, summing to 1 over the valid pixels.
        valid: same shape, bool.
        bins: number of bins.
        stride: only every `stride`-th row and column is counted. An odd number meets every phase
            of logits upsampled by 4.
    """
    relative = weights * jnp.sum(valid, dtype=jnp.int32)

    def thin(x: jax.Array) -> jax.Array:
        x = x[..., ::stride] if x.ndim == 1 else x[..., ::stride, ::stride]
        return jax.lax.stop_gradient(x)

    inside = thin(valid).astype(bool)
    place = jnp.floor((thin(confidence).astype(jnp.float32) + 1.0) * (0.5 * bins))
    place = jnp.where(inside, jnp.clip(place, 0, bins - 1), -1).astype(jnp.int32)
    # A comparison with each bin fuses into one reduction; a scatter into so few bins is serial.
    member = place[None] == jnp.arange(bins).reshape(-1, *(1,) * place.ndim)

    def sum_by_bin(x: jax.Array) -> jax.Array:
        x = x.astype(jnp.float32)[None]
        return jnp.sum(jnp.where(member, x, 0.0), axis=tuple(range(1, member.ndim)))

    return Histogram(
        pixels=sum_by_bin(inside), loss=sum_by_bin(thin(loss)), weight=sum_by_bin(thin(relative))
    )


def empty(bins: int = 64) -> Histogram:
    """A histogram of no pixels."""
    return Histogram(*(jnp.zeros(bins) for _ in Histogram._fields))


def blend(history: Histogram, new: Histogram, decay: float = 0.99) -> Histogram:
    """Exponential moving sum: old pixels fade, and every mean stays a mean of real pixels.

    A history that starts `empty` needs no correction for its start, which cancels in the means.
    """
    return Histogram(*(decay * old + x for old, x in zip(history, new, strict=True)))


def bin_centers(bins: int) -> jax.Array:
    """The confidence at the middle of each bin, (bins,), within (-1, 1)."""
    return (2.0 * jnp.arange(bins) + 1.0) / bins - 1.0


def mean_loss(h: Histogram) -> jax.Array:
    """L(v): mean loss of each bin (Fig. 5), (bins,); 0 where a bin is empty."""
    return h.loss / jnp.where(h.pixels > 0, h.pixels, 1.0)


def mean_weight(h: Histogram) -> jax.Array:
    """W(v): mean weight of each bin over that of all pixels, (bins,); 0 where a bin is empty.

    Only this ratio means anything: the norms cancel the scale of ARM's output.
    """
    return _relative(h.weight / jnp.where(h.pixels > 0, h.pixels, 1.0), h.pixels)


def closed_form(h: Histogram, p: float = 2.0) -> jax.Array:
    """The W(v) that maximises the weighted loss for this L(v), scaled as `mean_weight`, (bins,).

    L(v)^(1/(p-1)) (Eq. 12, Theorem 3.1); for p = 1 everything on the bin of largest loss (Eq. 11).
    """
    loss = mean_loss(h)
    peak = jnp.max(loss)
    if p == 1:
        best = jnp.where(h.pixels > 0, loss >= peak, False).astype(jnp.float32)
    else:
        best = (loss / jnp.where(peak > 0, peak, 1.0)) ** (1.0 / (p - 1.0))
    return _relative(best, h.pixels)


def holder_ratio(h: Histogram, p: float = 2.0) -> jax.Array:
    """How close W is to the optimum for L: |WL|_1 / (|W|_p |L|_q), a scalar in [0, 1].

    1/p + 1/q = 1; 1 exactly where W is the `closed_form` (Theorem 3.1). Its value for uniform
    weights depends on L, see `progress`. 0 for a histogram without weight or loss.
    """
    return _holder_ratio(mean_weight(h), h, p)


def loss_ratio(h: Histogram) -> jax.Array:
    """Factor by which the weights scale the loss, up to what varies within a bin; 1 if uniform."""
    share = h.pixels / jnp.maximum(jnp.sum(h.pixels), 1.0)
    plain = jnp.sum(share * mean_loss(h))
    weighted = jnp.sum(share * mean_weight(h) * mean_loss(h))
    return jnp.where(plain > 0, weighted / jnp.where(plain > 0, plain, 1.0), 1.0)


def progress(h: Histogram, p: float = 2.0) -> jax.Array:
    """How much of the way from uniform weights (0) to the optimum (1) the Hölder ratio has gone.

    Negative for weights that are worse than uniform ones, as a focusing LinearArm's; 1 where
    uniform weights are the optimum already.
    """
    uniform = _holder_ratio(jnp.ones_like(h.pixels), h, p)
    room = 1.0 - uniform
    return jnp.where(
        room > 1e-6, (holder_ratio(h, p) - uniform) / jnp.where(room > 1e-6, room, 1.0), 1.0
    )


def stayed_uniform(h: Histogram, p: float = 2.0) -> jax.Array:
    """Whether ARM has not left its initial plateau: a bool scalar, to warn about.

    True while the Hölder ratio is under 0.95 and the weights have gone less than half of the way to
    the optimum. At the paper's learning rate this happens to runs of a few hundred steps, and then
    "ARM" is silently the plain loss.
    """
    return (holder_ratio(h, p) < 0.95) & (progress(h, p) < 0.5)


def _holder_ratio(w: jax.Array, h: Histogram, p: float) -> jax.Array:
    loss = mean_loss(h)

    def norm(x: jax.Array, exponent: float) -> jax.Array:
        peak = jnp.max(jnp.where(h.pixels > 0, x, 0.0))
        x = x / jnp.where(peak > 0, peak, 1.0)
        return peak * jnp.sum(h.pixels * x**exponent) ** (1.0 / exponent)

    loss_norm = jnp.max(loss) if p == 1 else norm(loss, p / (p - 1.0))
    bound = norm(w, p) * loss_norm
    return jnp.where(
        bound > 0, jnp.sum(h.pixels * w * loss) / jnp.where(bound > 0, bound, 1.0), 0.0
    )


def _relative(w: jax.Array, pixels: jax.Array) -> jax.Array:
    total = jnp.sum(w * pixels)
    return w * jnp.sum(pixels) / jnp.where(total > 0, total, 1.0)
