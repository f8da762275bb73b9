"""The pooling of ResNets and their kin, with PyTorch's and Caffe's ways at the edge."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from arm_jax.networks import platforms

SIZE, STRIDE = 3, 2  # of the max pooling


def max_pool(x: jax.Array, *, centred: bool = True) -> jax.Array:
    """The 3x3 max pooling of stride 2 after a ResNet's stem: (b, h, w, c) -> (b, ceil(h/2), ...).

    Args:
        centred: PyTorch's padding of 1, windows around the even pixels. Otherwise Caffe's, where a
            window begins at each even pixel, and the last ones reach over the edge.
    """

    return _max_pool(x, centred)


def _plain(x: jax.Array, centred: bool) -> jax.Array:
    return nnx.max_pool(x, (SIZE, SIZE), strides=(STRIDE, STRIDE), padding=_pads(x, centred))


_max_pool = jax.custom_vjp(_plain, nondiff_argnums=(1,))


def _pads(x: jax.Array, centred: bool) -> tuple[tuple[int, int], tuple[int, int]]:
    """How many pixels are added before and behind rows and columns."""

    def along(length: int) -> tuple[int, int]:
        return (1, 1) if centred else (0, 1 + length % 2)

    return along(x.shape[1]), along(x.shape[2])


def _forward(x: jax.Array, centred: bool) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    def pooled(by_taps: bool, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        if by_taps:
            return _with_first(x, _pads(x, centred))
        largest = _plain(x, centred)
        return largest, jnp.zeros(largest.shape, jnp.uint8)  # not used

    largest, first = platforms.choose("max_pool_by_taps", pooled, x)
    return largest, (x, first)


def _backward(
    centred: bool, kept: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array]:
    def gradient(by_taps: bool, x: jax.Array, first: jax.Array, cotangent: jax.Array) -> jax.Array:
        if by_taps:
            return _to_first(first, cotangent, (x.shape[1], x.shape[2]), _pads(x, centred))
        _, pull = jax.vjp(lambda x: _plain(x, centred), x)
        return pull(cotangent)[0]

    return (platforms.choose("max_pool_by_taps", gradient, *kept, cotangent),)


_max_pool.defvjp(_forward, _backward)


def _with_first(
    x: jax.Array, pads: tuple[tuple[int, int], tuple[int, int]]
) -> tuple[jax.Array, jax.Array]:
    """The largest of each window, and which of its nine taps (uint8) is the first as large."""
    edges = [(0, 0, 0), *((low, high, 0) for low, high in pads), (0, 0, 0)]
    padded = lax.pad(x, jnp.array(-jnp.inf, x.dtype), edges)
    counts = [
        (n + sum(pad) - SIZE) // STRIDE + 1 for n, pad in zip(x.shape[1:3], pads, strict=True)
    ]
    reach = [STRIDE * (n - 1) + 1 for n in counts]  # from the first to the last window's first
    largest, first = padded[:, : reach[0] : STRIDE, : reach[1] : STRIDE], jnp.uint8(0)
    for tap in range(1, SIZE * SIZE):
        i, j = divmod(tap, SIZE)
        seen = padded[:, i : i + reach[0] : STRIDE, j : j + reach[1] : STRIDE]
        first = jnp.where(seen > largest, jnp.uint8(tap), first)
        largest = jnp.maximum(seen, largest)
    # Arrays of their own, or they would be found again for each tap of the gradient.
    return lax.optimization_barrier((largest, first))


def _to_first(
    first: jax.Array,
    cotangent: jax.Array,
    size: tuple[int, int],
    pads: tuple[tuple[int, int], tuple[int, int]],
) -> jax.Array:
    """Each window's cotangent at the first of its largest pixels, as XLA's own gradient has it.

    The windows that share a pixel are added in float32, in their order, and rounded once. Where a
    window's largest is NaN, what it passes on may differ from XLA's.
    """
    reach = [STRIDE * (n - 1) + 1 for n in cotangent.shape[1:3]]
    total = jnp.zeros((len(cotangent), *size, cotangent.shape[3]), jnp.float32)
    for tap in reversed(range(SIZE * SIZE)):  # a pixel's windows from the first on
        part = jnp.where(first == tap, cotangent, 0).astype(jnp.float32)
        places = [
            (offset - low, length - span - (offset - low), STRIDE - 1)
            for offset, (low, _), length, span in zip(
                divmod(tap, SIZE), pads, size, reach, strict=True
            )
        ]
        total += lax.pad(part, jnp.float32(0), [(0, 0, 0), *places, (0, 0, 0)])
    return total.astype(cotangent.dtype)


def average_pool(x: jax.Array, size: int, stride: int, *, padding: int = 0) -> jax.Array:
    """Average pooling to (b, ceil(h/stride), ceil(w/stride), c), averaged in float32.

    Args:
        padding: 0 as in the shortcut of ResNet-D (PyTorch's ceil_mode, a window at the edge
            averages the pixels it has), or a number of zeros on each side that count as pixels.
    """
    mapped = x.astype(jnp.float32)
    ones = jnp.ones((1, *x.shape[1:3], 1), jnp.float32)
    if padding:
        pads = [(padding, padding)] * 2
    else:
        pads = [(0, -length % stride) for length in x.shape[1:3]]

    def window_sum(y: jax.Array) -> jax.Array:
        window, strides = (1, size, size, 1), (1, stride, stride, 1)
        return lax.reduce_window(y, 0.0, lax.add, window, strides, padding=[(0, 0), *pads, (0, 0)])

    count = float(size * size) if padding else window_sum(ones)
    return (window_sum(mapped) / count).astype(x.dtype)
