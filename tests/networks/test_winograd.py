"""3x3 convolutions by Winograd's method against XLA's own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import normal

from arm_jax.networks import layers, winograd


@functools.partial(jax.jit, static_argnums=0)
def value_and_gradients(way, x, kernel, cotangent):
    value, pull = jax.vjp(way, x, kernel)
    return value, *pull(cotangent)


@pytest.mark.parametrize("dilation", [1, 2, 4])
@pytest.mark.parametrize("size", [(8, 16), (7, 17)])
def test_it_equals_the_convolution_and_its_gradients(size, dilation):
    x, kernel, cotangent = normal(0, 2, *size, 5), normal(1, 3, 3, 5, 7), normal(2, 2, *size, 7)
    got = value_and_gradients(
        lambda x, k: winograd.convolve_3x3(x, k, dilation), x, kernel, cotangent
    )
    plain = functools.partial(winograd.plain, dilation=dilation)
    for a, b in zip(got, value_and_gradients(plain, x, kernel, cotangent), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=3e-6 * float(jnp.abs(b).max()))


@pytest.mark.parametrize("dilation", [2, 4])
@pytest.mark.parametrize("size", [(8, 16), (7, 17)])
def test_the_folded_gradients_equal_the_plain_ones(size, dilation):
    x, kernel, cotangent = normal(0, 2, *size, 5), normal(1, 3, 3, 5, 7), normal(2, 2, *size, 7)
    plain = functools.partial(winograd.plain, dilation=dilation)
    _, *expected = value_and_gradients(plain, x, kernel, cotangent)
    pull_folded = jax.jit(winograd.pull_folded, static_argnums=0)
    for a, b in zip(pull_folded(dilation, x, kernel, cotangent), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6 * float(jnp.abs(b).max()))


def test_it_rounds_no_more_than_twice_as_much_as_the_convolution():
    x, kernel = normal(0, 1, 32, 32, 64), normal(1, 3, 3, 64, 64)
    with jax.enable_x64(True):
        wide = (jnp.asarray(np.asarray(array, np.float64)) for array in (x, kernel))
        exact = np.asarray(winograd.plain(*wide, dilation=1))

    def error(way):
        return float(np.sqrt(np.mean((np.asarray(way(x, kernel, dilation=1)) - exact) ** 2)))

    assert error(winograd.winograd) < 2 * error(winograd.plain)


def test_half_precision_is_rounded_once():
    x, kernel = normal(0, 1, 16, 16, 8), normal(1, 3, 3, 8, 8)
    halves = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    exact = winograd.plain(*(half.astype(jnp.float32) for half in halves), dilation=1)
    got = winograd.convolve_3x3(*halves, 1)
    assert got.dtype == jnp.bfloat16
    np.testing.assert_allclose(got.astype(jnp.float32), exact, rtol=2**-8, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "kernel_shape", "dilation", "pays"),
    [
        ((2, 16, 32, 512), (3, 3, 512, 512), 4, True),
        ((2, 16, 32, 2560), (3, 3, 2560, 512), 1, True),
        ((2, 16, 32, 512), (3, 3, 512, 512), 12, False),  # to 24 x 48: 2.25 times the pixels
        ((2, 128, 256, 64), (3, 3, 64, 64), 1, False),
        ((64, 8, 8, 512), (3, 3, 512, 512), 1, False),
    ],
)
def test_where_it_pays(shape, kernel_shape, dilation, pays):
    assert winograd.pays(shape, kernel_shape, dilation) == pays


def lowered(platform):
    x, kernel = jnp.zeros((1, 16, 16, 256)), jnp.zeros((3, 3, 256, 256))

    def loss(x, kernel):
        return layers.convolve(x, kernel).sum()

    traced = jax.jit(jax.grad(loss, argnums=(0, 1))).trace(x, kernel)
    return traced.lower(lowering_platforms=(platform,)).as_text()


def test_cpus_multiply_matrices_and_accelerators_convolve():
    assert "stablehlo.convolution" not in lowered("cpu")
    for platform in ("cuda", "tpu"):
        text = lowered(platform)
        assert text.count("stablehlo.convolution") == 2
        assert "dot_general" not in text


def test_one_artifact_serves_every_platform_and_batch():
    kernel = normal(1, 3, 3, 256, 256)
    (batch,) = jax.export.symbolic_shape("b")
    x = jax.ShapeDtypeStruct((batch, 16, 16, 256), jnp.float32)
    function = jax.jit(lambda x: layers.convolve(x, kernel))
    exported = jax.export.export(function, platforms=("cpu", "cuda", "tpu"))(x)
    images = normal(0, 3, 16, 16, 256)
    expected = winograd.plain(images, kernel, 1)
    np.testing.assert_allclose(exported.call(images), expected, rtol=0, atol=1e-3)
