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


def _forward(x: jax.Array, centred: bool) -> tuple[jax.Array, jax.Array]:
    return _max_pool(x, centred), x


def _backward(centred: bool, x: jax.Array, cotangent: jax.Array) -> tuple[jax.Array]:
    def gradient(by_taps: bool, x: jax.Array, cotangent: jax.Array) -> jax.Array:
        if by_taps:
            return _to_largest(x, cotangent, _pads(x, centred))
        _, pull = jax.vjp(lambda x: _plain(x, centred), x)
        return pull(cotangent)[0]

    return (platforms.choose("max_pool_by_taps", gradient, x, cotangent),)


_max_pool.defvjp(_forward, _backward)


def _to_largest(
    x: jax.Array, cotangent: jax.Array, pads: tuple[tuple[int, int], tuple[int, int]]
) -> jax.Array:
    """Each window's cotangent at the first of its largest pixels, as XLA's own gradient has it.

    The windows that share a pixel are added in float32, in their order, and rounded once. Where a
    window's largest is NaN, what it passes on may differ from XLA's.
    """
    taps = [divmod(tap, SIZE) for tap in range(SIZE * SIZE)]
    counts = cotangent.shape[1:3]
    reach = [STRIDE * (n - 1) + 1 for n in counts]  # from the first to the last window's first
    edges = [(0, 0, 0), *((low, high, 0) for low, high in pads), (0, 0, 0)]
    padded = lax.pad(x, jnp.array(-jnp.inf, x.dtype), edges)
    largest, first = padded[:, : reach[0] : STRIDE, : reach[1] : STRIDE], jnp.uint8(0)
    for tap, (i, j) in enumerate(taps[1:], start=1):
        seen = padded[:, i : i + reach[0] : STRIDE, j : j + reach[1] : STRIDE]
        first = jnp.where(seen > largest, jnp.uint8(tap), first)
        largest = jnp.maximum(seen, largest)
    # An array of its own, or it would be found again for each tap below.
    first = lax.optimization_barrier(first)
    total = jnp.zeros(x.shape, jnp.float32)
    for tap, offsets in reversed(list(enumerate(taps))):  # a pixel's windows from the first on
        part = jnp.where(first == tap, cotangent, 0).astype(jnp.float32)
        places = [
            (offset - low, length - span - (offset - low), STRIDE - 1)
            for offset, (low, _), length, span in zip(
                offsets, pads, x.shape[1:3], reach, strict=True
            )
        ]
        total += lax.pad(part, jnp.float32(0), [(0, 0, 0), *places, (0, 0, 0)])
    return total.astype(x.dtype)


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
