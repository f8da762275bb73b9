"""The parts that every network is made of: convolution, dropout, classifier; BatchNorm behind them.

Layout: feature maps are (b, h, w, c), kernels are (height, width, in, out). One dtype policy for
all networks: parameters, BatchNorm and its statistics are float32; a convolution computes in the
dtype it was built with; sums over many pixels are float32. Padding is always half the dilated
kernel, so a stride-s layer maps n pixels to ceil(n / s), as PyTorch's arithmetic does.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax
from jax.typing import DTypeLike

from arm_jax.networks import platforms, widening, winograd
from arm_jax.networks.batchnorm import BatchNorm
from arm_jax.networks.depthwise import depthwise_3x3
from arm_jax.networks.products import product


def normal(key: jax.Array, shape: tuple[int, ...], deviation: float) -> jax.Array:
    """Normal float32 values for a parameter.

    A compiled generator serves one shape only, and a network has dozens of shapes: compiling took
    longer than anything else in creating one. So values are drawn in a few sizes and cut to shape
    on the host, where that compiles nothing.
    """
    size = math.prod(shape)
    drawn = 4 ** math.ceil(math.log(size, 4))
    values = jax.random.normal(key, (max(drawn, size),))
    on_host = values if isinstance(values, jax.core.Tracer) else np.asarray(values)
    return jnp.asarray(on_host[:size].reshape(shape) * np.float32(deviation))


def he_normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """He initialisation by fan-out, as mmcv's ConvModule and mmsegmentation's ResNet use it."""
    height, width, _, out_channels = shape
    return normal(key, shape, math.sqrt(2 / (height * width * out_channels)))


def convolve(
    x: jax.Array, kernel: jax.Array, *, stride: int = 1, dilation: int = 1, groups: int = 1
) -> jax.Array:
    """Every convolution of the package: where an accelerator wants another method, choose it here.

    Args:
        x: (b, h, w, c).
        kernel: (k, k, c / groups, n), of the dtype of `x`.
        stride, dilation, groups: as in PyTorch; the padding is dilation * (k - 1) / 2.

    Returns:
        (b, ceil(h / stride), ceil(w / stride), n).
    """
    size = kernel.shape[0]
    if groups == x.shape[-1] == kernel.shape[-1] and size == 3 and stride == 1:
        return depthwise_3x3(x, kernel, dilation)
    if groups > 1:
        # XLA's grouped convolutions have slow gradients on GPUs; a few plain ones are equal.
        parts = zip(jnp.split(x, groups, -1), jnp.split(kernel, groups, -1), strict=True)
        return jnp.concatenate(
            [convolve(part, k, stride=stride, dilation=dilation) for part, k in parts], axis=-1
        )
    if size == 1:
        # A matrix product, of flat maps: XLA's convolutions take twice as long on CPUs for the
        # kernel's gradient, and a product over three axes copies the map to its transpose there.
        x = every_nth(x, stride)
        return (x.reshape(-1, x.shape[-1]) @ kernel[0, 0]).reshape(*x.shape[:-1], -1)
    if (
        size == 3
        and stride == 1
        and (dilation > 1 or winograd.pays(x.shape, kernel.shape, dilation))
    ):
        return winograd.convolve_3x3(x, kernel, dilation)
    return winograd.plain(x, kernel, dilation, stride)


def every_nth(x: jax.Array, stride: int) -> jax.Array:
    """(b, h, w, c) to (b, ceil(h / stride), ceil(w / stride), c): what a strided 1x1 reads."""
    return x if stride == 1 else _every_nth(x, stride, x.shape[1:3])


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _every_nth(x: jax.Array, stride: int, size: tuple[int, int]) -> jax.Array:
    def sliced(apart: bool, x: jax.Array) -> jax.Array:
        x = lax.optimization_barrier(x) if apart else x
        return x[:, ::stride, ::stride]

    return platforms.choose("apart_before_stride", sliced, x)


def _every_nth_forward(x: jax.Array, stride: int, size: tuple[int, int]) -> tuple[jax.Array, None]:
    return _every_nth(x, stride, size), None


def _every_nth_backward(
    stride: int, size: tuple[int, int], _: None, cotangent: jax.Array
) -> tuple[jax.Array]:
    # Without the barrier, so that XLA need not write the zeros in between.
    inside = [(0, (length - 1) % stride, stride - 1) for length in size]
    zero = jnp.zeros((), cotangent.dtype)
    return (lax.pad(cotangent, zero, [(0, 0, 0), *inside, (0, 0, 0)]),)


_every_nth.defvjp(_every_nth_forward, _every_nth_backward)


class Conv(nnx.Module):
    """A square convolution: `kernel` (k, k, in / groups, out), and `bias` (out,) if asked for."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = False,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        shape = (size, size, in_channels // groups, out_channels)
        self.kernel = nnx.Param(he_normal(rngs.params(), shape))
        if bias:
            self.bias = nnx.Param(jnp.zeros((out_channels,), jnp.float32))
        self.has_bias = bias
        self.stride = stride
        self.dilation = dilation
        self.groups = groups
        self.dtype = jnp.dtype(dtype)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.astype(self.dtype)
        if self.kernel.shape[0] == self.groups == 1 and self.dtype.itemsize == 2:
            x = product(every_nth(x, self.stride), self.kernel[0, 0], self.dtype)
        else:
            x = convolve(
                x,
                self.kernel[...].astype(self.dtype),
                stride=self.stride,
                dilation=self.dilation,
                groups=self.groups,
            )
        if self.has_bias:
            x = x + self.bias[...].astype(self.dtype).reshape(1, 1, 1, -1)
        return x


class ConvNorm(nnx.Module):
    """A convolution without bias, then BatchNorm; then a residual sum and a ReLU if asked for."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        zero_init: bool = False,
        few_values: bool = False,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        self.conv = Conv(
            in_channels,
            out_channels,
            size,
            stride=stride,
            dilation=dilation,
            groups=groups,
            dtype=dtype,
            rngs=rngs,
        )
        self.norm = BatchNorm(out_channels, zero_init=zero_init, few_values=few_values, rngs=rngs)

    def __call__(
        self, x: jax.Array, *, identity: jax.Array | None = None, relu: bool = False
    ) -> jax.Array:
        """relu(norm(conv(x)) + identity), with each of the two only where there is one."""
        conv, norm = self.conv, self.norm
        learns = not (norm.use_running_average or norm.few_values)
        if learns and widening.suits(conv.dtype, conv.kernel.shape):
            x = every_nth(x.astype(conv.dtype), conv.stride)
            y, mean, var = widening.normalized_product(
                x,
                conv.kernel[0, 0],
                norm.scale[...],
                norm.bias[...],
                norm.mean[...],
                identity,
                relu,
            )
            norm.track(mean, var)
            return y
        y = norm(conv(x))
        y = y if identity is None else y + identity
        return nnx.relu(y) if relu else y


class SeparableConv(nnx.Module):
    """Depthwise 3x3, BatchNorm, ReLU, pointwise 1x1, BatchNorm, ReLU, as mmcv has it."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        dilation: int = 1,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        self.depthwise = ConvNorm(
            in_channels,
            in_channels,
            3,
            dilation=dilation,
            groups=in_channels,
            dtype=dtype,
            rngs=rngs,
        )
        self.pointwise = ConvNorm(in_channels, out_channels, 1, dtype=dtype, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.mix(self.filter(x))

    def filter(self, x: jax.Array) -> jax.Array:
        """The first half: each channel by itself."""
        return nnx.relu(self.depthwise(x))

    def mix(self, x: jax.Array) -> jax.Array:
        """The second half: each pixel by itself."""
        return nnx.relu(self.pointwise(x))


class ChannelDropout(nnx.Module):
    """Dropout of whole feature maps, drawn per image and channel (PyTorch's Dropout2d).

    Off until `networks.training` makes a view with it on; then every call needs a key. It holds
    no generator, so a restarted run draws what the uninterrupted one would have.
    """

    def __init__(self, rate: float):
        self.rate = rate
        self.deterministic = True

    def set_view(self, deterministic: bool | None = None) -> None:
        """Args of `nnx.view`: deterministic, False to drop feature maps at random."""
        if deterministic is not None:
            self.deterministic = deterministic

    def __call__(self, x: jax.Array, key: jax.Array | None) -> jax.Array:
        if self.deterministic or self.rate == 0.0:
            return x
        if key is None:
            raise ValueError("a network in training mode needs dropout_key, a jax.random key")
        kept = jax.random.bernoulli(key, 1.0 - self.rate, (x.shape[0], 1, 1, x.shape[-1]))
        return jnp.where(kept, x / (1.0 - self.rate), jnp.zeros((), x.dtype))


class Classifier(nnx.Module):
    """Channel dropout, then a 1x1 convolution with bias to float32 scores per pixel.

    The products are summed in float32 and never rounded to the compute dtype: scores feed a
    softmax and a confidence. Starts at normal(0, 0.01) and zero bias, as mmsegmentation's heads.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        dropout_rate: float,
        dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        self.kernel = nnx.Param(normal(rngs.params(), (1, 1, in_channels, out_channels), 0.01))
        self.bias = nnx.Param(jnp.zeros((out_channels,), jnp.float32))
        self.dropout = ChannelDropout(dropout_rate)
        self.dtype = jnp.dtype(dtype)

    def __call__(self, x: jax.Array, dropout_key: jax.Array | None) -> jax.Array:
        x = self.dropout(x.astype(self.dtype), dropout_key)
        scores = product(x, self.kernel[0, 0], jnp.float32)
        return scores + self.bias[...].reshape(1, 1, 1, -1)
