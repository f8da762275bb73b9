"""The operations of a DeepLabv3+ that XLA is known to be slow at on some device, one by one.

Each exists twice: by the plain primitive, and as the package computes it. They are equal up to
rounding. Shapes are those of the ResNets' networks on a crop, at output stride 8.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from arm_jax import networks
from arm_jax.networks import layers, pooling


@dataclass(frozen=True)
class Operation:
    """One operation at one size.

    Attributes:
        name: with its place in the network.
        plain, package: (x, weights) -> y, two ways to compute the same.
        shape: of x, (b, h, w, c).
        weights: their shape; None for an operation that has none.
        operations: multiplications and additions of a convolution, forward; the gradient of its
            input and that of its weights have as many each. 0 where they are not what takes time.
    """

    name: str
    plain: Callable[[jax.Array, Any], jax.Array]
    package: Callable[[jax.Array, Any], jax.Array]
    shape: tuple[int, ...]
    weights: tuple[int, ...] | None = None
    operations: int = 0


def listed(crop: Sequence[int], batch: int) -> list[Operation]:
    """All of them, for `batch` crops of (height, width)."""

    def at(stride: int, channels: int) -> tuple[int, ...]:
        return (batch, *(-(-length // stride) for length in crop), channels)

    convolutions = [
        # name, input, outputs, kernel, stride, dilation, groups
        ("3x3, stage 3, dilation 1", at(8, 256), 256, 3, 1, 1, 1),
        ("3x3, stage 3, dilation 2", at(8, 256), 256, 3, 1, 2, 1),
        ("3x3, stage 4, dilation 4", at(8, 512), 512, 3, 1, 4, 1),
        ("3x3, stage 2, stride 2", at(4, 128), 128, 3, 2, 1, 1),
        ("3x3, the pyramid's fusion", at(8, 2560), 512, 3, 1, 1, 1),
        ("1x1, stage 3, up", at(8, 256), 1024, 1, 1, 1, 1),
        ("1x1, stage 3, down", at(8, 1024), 256, 1, 1, 1, 1),
        ("depthwise 3x3, refinement", at(4, 560), 560, 3, 1, 1, 560),
        ("depthwise 3x3, dilation 12", at(8, 2048), 2048, 3, 1, 12, 2048),
        ("depthwise 3x3, dilation 24", at(8, 2048), 2048, 3, 1, 24, 2048),
        ("depthwise 3x3, dilation 36", at(8, 2048), 2048, 3, 1, 36, 2048),
        ("3x3 in 2 groups, ResNeSt", at(8, 256), 512, 3, 1, 2, 2),
    ]
    found = [_convolution(*row) for row in convolutions]
    found += [
        _resize("resize x2, features", at(8, 512), at(4, 512)),
        _resize("resize x4, scores", at(4, 19), at(1, 19)),
        _resize("resize to half, scores", at(4, 19), at(8, 19)),
        Operation("max pool 3x3, stride 2", _plain_pool, _pool, at(2, 64)),
        Operation("BatchNorm and ReLU", _plain_norm, _norm, at(4, 256), (2, 256)),
    ]
    return found


def directions(operation: Operation) -> dict[str, Callable[..., Any]]:
    """What is differentiated: name -> (way, x, weights, cotangent) -> the result, to be jitted."""

    def forward(way: Any, x: jax.Array, weights: Any, cotangent: jax.Array) -> jax.Array:
        return way(x, weights)

    def of_input(way: Any, x: jax.Array, weights: Any, cotangent: jax.Array) -> jax.Array:
        return jax.vjp(lambda x: way(x, weights), x)[1](cotangent)[0]

    def of_weights(way: Any, x: jax.Array, weights: Any, cotangent: jax.Array) -> jax.Array:
        return jax.vjp(lambda weights: way(x, weights), weights)[1](cotangent)[0]

    found = {"forward": forward, "gradient of input": of_input}
    return found if operation.weights is None else found | {"gradient of weights": of_weights}


def arrays(operation: Operation, dtype: str) -> tuple[jax.Array, jax.Array | None, jax.Array]:
    """Normal x, weights and cotangent in the compute dtype (BatchNorm's weights are float32)."""
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], operation.shape).astype(dtype)
    weights = None
    if operation.weights is not None:
        weights = jax.random.normal(keys[1], operation.weights)
        weights = weights.astype(dtype) if len(operation.weights) == 4 else weights
    y = jax.eval_shape(operation.plain, x, weights)
    return x, weights, jax.random.normal(keys[2], y.shape).astype(y.dtype)


def _convolution(
    name: str,
    shape: tuple[int, ...],
    outputs: int,
    size: int,
    stride: int,
    dilation: int,
    groups: int,
) -> Operation:
    padding = dilation * (size - 1) // 2

    def plain(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return lax.conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            [(padding, padding)] * 2,
            rhs_dilation=(dilation, dilation),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
        )

    package = functools.partial(layers.convolve, stride=stride, dilation=dilation, groups=groups)
    batch, height, width, channels = shape
    positions = batch * -(-height // stride) * -(-width // stride)
    weights = (size, size, channels // groups, outputs)
    operations = 2 * positions * size * size * (channels // groups) * outputs
    return Operation(name, plain, package, shape, weights, operations)


def _resize(name: str, shape: tuple[int, ...], to: tuple[int, ...]) -> Operation:
    def plain(x: jax.Array, _: None) -> jax.Array:
        return jax.image.resize(x, to, "linear", antialias=False)

    def package(x: jax.Array, _: None) -> jax.Array:
        return networks.resize(x, to[1:3])

    return Operation(name, plain, package, shape)


def _plain_pool(x: jax.Array, _: None) -> jax.Array:
    window, strides, padding = (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (1, 1), (0, 0))
    return lax.reduce_window(x, -jnp.inf, lax.max, window, strides, padding)


def _pool(x: jax.Array, _: None) -> jax.Array:
    return pooling.max_pool(x)


def _plain_norm(x: jax.Array, weights: jax.Array) -> jax.Array:
    values = x.astype(jnp.float32)
    mean, var = jnp.mean(values, (0, 1, 2)), jnp.var(values, (0, 1, 2))
    scale, bias = (row.reshape(1, 1, 1, -1) for row in weights)
    normalised = (values - mean.reshape(1, 1, 1, -1)) * lax.rsqrt(var + 1e-5).reshape(1, 1, 1, -1)
    return jnp.maximum(normalised * scale + bias, 0).astype(x.dtype)


def _norm(x: jax.Array, weights: jax.Array) -> jax.Array:
    layer = layers.BatchNorm(x.shape[-1], rngs=nnx.Rngs(0))
    layer.scale[...], layer.bias[...] = weights[0], weights[1]
    return nnx.relu(networks.training(layer)(x))
