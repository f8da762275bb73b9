"""Convolutions of a few groups: as one where a platform has them, else as one for each group."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from arm_jax.networks import platforms, winograd

Convolution = Callable[[jax.Array, jax.Array], jax.Array]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4, 5))
def grouped(
    x: jax.Array,
    kernel: jax.Array,
    convolve: Convolution,
    groups: int,
    stride: int,
    dilation: int,
) -> jax.Array:
    """A square convolution in groups.

    The gradient of the kernel is of each group by itself everywhere: cuDNN's of a whole one is
    slow.

    Args:
        x: (b, h, w, c).
        kernel: (k, k, c / groups, n).
        convolve: what to do with one group, of this stride and dilation.
        groups, stride, dilation: as in PyTorch.

    Returns:
        (b, ceil(h / stride), ceil(w / stride), n).
    """

    def form(whole: bool, x: jax.Array, kernel: jax.Array) -> jax.Array:
        if whole:
            return winograd.plain(x, kernel, dilation, stride, groups)
        return _apiece(convolve, groups, x, kernel)

    return platforms.choose("whole_groups", form, x, kernel)


def _apiece(convolve: Convolution, groups: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    parts = zip(jnp.split(x, groups, -1), jnp.split(kernel, groups, -1), strict=True)
    return jnp.concatenate([convolve(part, k) for part, k in parts], axis=-1)


def _forward(
    x: jax.Array,
    kernel: jax.Array,
    convolve: Convolution,
    groups: int,
    stride: int,
    dilation: int,
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return grouped(x, kernel, convolve, groups, stride, dilation), (x, kernel)


def _backward(
    convolve: Convolution,
    groups: int,
    stride: int,
    dilation: int,
    kept: tuple[jax.Array, jax.Array],
    cotangent: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    apiece = functools.partial(_apiece, convolve, groups)

    def form(
        whole: bool, x: jax.Array, kernel: jax.Array, cotangent: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        if not whole:
            return jax.vjp(apiece, x, kernel)[1](cotangent)
        plain = functools.partial(winograd.plain, dilation=dilation, stride=stride, groups=groups)
        (of_x,) = jax.vjp(lambda x: plain(x, kernel), x)[1](cotangent)
        (of_kernel,) = jax.vjp(lambda kernel: apiece(x, kernel), kernel)[1](cotangent)
        return of_x, of_kernel

    return platforms.choose("whole_groups", form, *kept, cotangent)


grouped.defvjp(_forward, _backward)
