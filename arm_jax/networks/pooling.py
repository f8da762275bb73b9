"""The pooling of ResNets and their kin, with PyTorch's and Caffe's ways at the edge."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax


def max_pool(x: jax.Array, *, centred: bool = True) -> jax.Array:
    """The 3x3 max pooling of stride 2 after a ResNet's stem: (b, h, w, c) -> (b, ceil(h/2), ...).

    Args:
        centred: PyTorch's padding of 1, windows around the even pixels. Otherwise Caffe's, where a
            window begins at each even pixel, and the last ones reach over the edge.
    """

    def padding(length: int) -> tuple[int, int]:
        return (1, 1) if centred else (0, 1 + length % 2)

    pads = (padding(x.shape[1]), padding(x.shape[2]))
    return nnx.max_pool(x, (3, 3), strides=(2, 2), padding=pads)


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
