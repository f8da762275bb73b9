"""The parts of the networks against plain definitions of what they compute."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from tiny import normal

from arm_jax import networks
from arm_jax.networks import layers, pooling
from arm_jax.networks.products import product
from arm_jax.networks.resnet import stage_plan


def value_and_gradients(function, cotangent, *arguments):
    """The function's value, and the gradients of its product with `cotangent`, in one program."""

    @jax.jit
    def program(cotangent, *arguments):
        value, pull = jax.vjp(function, *arguments)
        return value, *pull(cotangent)

    return program(cotangent, *arguments)


# 10 reaches over the columns of 11 x 9 and not over the rows, 12 over both.
@pytest.mark.parametrize("dilation", [1, 2, 10, 12])
def test_depthwise_equals_the_grouped_convolution_and_its_gradients(dilation):
    x, kernel, weight = normal(0, 2, 11, 9, 6), normal(1, 3, 3, 1, 6), normal(2, 2, 11, 9, 6)

    def grouped(x, kernel):
        return lax.conv_general_dilated(
            x,
            kernel,
            (1, 1),
            [(dilation, dilation)] * 2,
            rhs_dilation=(dilation, dilation),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=6,
        )

    ours = functools.partial(layers.convolve, dilation=dilation, groups=6)
    got, expected = (value_and_gradients(f, weight, x, kernel) for f in (ours, grouped))
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
def test_groups_equal_a_grouped_convolution(stride):
    x, kernel = normal(0, 2, 9, 8, 6), normal(1, 3, 3, 3, 10)
    expected = lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(1, 1)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=2,
    )
    got = jax.jit(lambda x, k: layers.convolve(x, k, stride=stride, groups=2))(x, kernel)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
def test_pointwise_equals_the_convolution_and_its_gradients(stride):
    x, kernel = normal(0, 2, 7, 8, 6), normal(1, 1, 1, 6, 10)

    def plain(x, kernel):
        return lax.conv_general_dilated(
            x, kernel, (stride, stride), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    cotangent = normal(2, 2, -(-7 // stride), 8 // stride, 10)
    ours = functools.partial(layers.convolve, stride=stride)
    value, *gradients = value_and_gradients(ours, cotangent, x, kernel)
    expected, *gradients_expected = value_and_gradients(plain, cotangent, x, kernel)
    np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-5)
    for a, b in zip(gradients, gradients_expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("length", [7, 8])
def test_max_pool_takes_the_maximum_of_its_window(length, centred):
    x = normal(0, 1, length, length, 2)
    got = pooling.max_pool(x, centred=centred)
    out = -(-length // 2)
    assert got.shape == (1, out, out, 2)
    shift = 1 if centred else 0
    for row in range(out):
        for column in range(out):
            rows = slice(max(2 * row - shift, 0), 2 * row - shift + 3)
            columns = slice(max(2 * column - shift, 0), 2 * column - shift + 3)
            np.testing.assert_array_equal(got[0, row, column], x[0, rows, columns].max((0, 1)))


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize(("height", "width"), [(8, 12), (7, 9)])
def test_the_gradient_of_max_pool_by_taps_is_that_of_xla(height, width, centred):
    """Of every window the first of its largest pixels: a map after a ReLU has many as large."""
    x = jnp.maximum(jnp.round(3 * normal(0, 2, height, width, 3)), 0)
    rounded = normal(1, 2, -(-height // 2), -(-width // 2), 3).astype(jnp.bfloat16)
    cotangent = rounded.astype(jnp.float32)
    pool = functools.partial(pooling.max_pool, centred=centred)
    expected = jax.jit(lambda x, y: jax.vjp(pool, x)[1](y)[0])(x, cotangent)

    def by_taps(x, cotangent):
        pads = pooling._pads(x, centred)
        largest, first = pooling._with_first(x, pads)
        np.testing.assert_array_equal(largest, pool(x))
        return pooling._to_first(first, cotangent, x.shape[1:3], pads)

    np.testing.assert_array_equal(by_taps(x, cotangent), expected)
    assert np.count_nonzero(expected) < cotangent.size  # some pixels are those of two windows
    # In half precision the windows of a pixel are added up before they are rounded.
    half = by_taps(x.astype(jnp.bfloat16), rounded)
    np.testing.assert_array_equal(half, expected.astype(jnp.bfloat16))


def test_average_pool_of_shortcuts_averages_the_pixels_there_are():
    x = normal(0, 1, 5, 4, 2)
    got = pooling.average_pool(x, 2, 2)
    assert got.shape == (1, 3, 2, 2)
    np.testing.assert_allclose(got[0, 1, 1], x[0, 2:4, 2:4].mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(got[0, 2, 0], x[0, 4:, 0:2].mean((0, 1)), rtol=1e-5)


def test_average_pool_with_padding_counts_the_zeros():
    x = normal(0, 1, 6, 5, 2)
    got = pooling.average_pool(x, 3, 2, padding=1)
    assert got.shape == (1, 3, 3, 2)
    np.testing.assert_allclose(got[0, 0, 0], x[0, :2, :2].sum((0, 1)) / 9, rtol=1e-5)
    np.testing.assert_allclose(got[0, 1, 1], x[0, 1:4, 1:4].mean((0, 1)), rtol=1e-5)


def test_channel_dropout_drops_whole_maps_and_keeps_the_mean():
    dropout = nnx.view(layers.ChannelDropout(0.25), deterministic=False)
    x = jnp.ones((64, 3, 3, 100))
    y = np.asarray(dropout(x, jax.random.key(0)))
    assert np.array_equal(y, np.broadcast_to(y[:, :1, :1], y.shape))
    assert set(np.unique(y)) == {0.0, np.float32(1 / 0.75)}
    assert (y == 0).mean() == pytest.approx(0.25, abs=0.02)
    np.testing.assert_array_equal(y, dropout(x, jax.random.key(0)))
    assert not np.array_equal(y, dropout(x, jax.random.key(1)))


@pytest.mark.parametrize(
    ("output_stride", "multi_grid", "strides", "dilations"),
    [
        # mmsegmentation's "d8" with contract_dilation, its "d16-mg124", and the plain network.
        (8, None, [1, 2, 1, 1], [[1, 1, 1], [1] * 4, [1, 2, 2, 2, 2, 2], [2, 4, 4]]),
        (16, None, [1, 2, 2, 1], [[1, 1, 1], [1] * 4, [1] * 6, [1, 2, 2]]),
        (16, (1, 2, 4), [1, 2, 2, 1], [[1, 1, 1], [1] * 4, [1] * 6, [1, 2, 4]]),
        (32, None, [1, 2, 2, 2], [[1, 1, 1], [1] * 4, [1] * 6, [1, 1, 1]]),
    ],
)
def test_stage_plans(output_stride, multi_grid, strides, dilations):
    plans = stage_plan((3, 4, 6, 3), output_stride, multi_grid)
    assert [stage[0].stride for stage in plans] == strides
    assert all(block.stride == 1 for stage in plans for block in stage[1:])
    assert [[block.dilation for block in stage] for stage in plans] == dilations
    assert [stage[0].nominal_stride for stage in plans] == [1, 2, 2, 2]


# Each row of the exact results by hand: [0, 1, 4] has neighbours 0-1 and 1-4.
@pytest.mark.parametrize(
    ("length", "align_corners", "expected"),
    [
        (6, False, [0, 0.25, 0.75, 1.75, 3.25, 4]),
        (5, True, [0, 0.5, 1, 2.5, 4]),
        (2, False, [0.25, 3.25]),
        (2, True, [0, 4]),
        (1, False, [1]),
        (1, True, [0]),
        (3, False, [0, 1, 4]),
    ],
)
def test_resize_by_hand(length, align_corners, expected):
    x = jnp.array([0.0, 1.0, 4.0])
    rows = networks.resize(x.reshape(1, 3, 1, 1), (length, 1), align_corners)
    columns = networks.resize(x.reshape(1, 1, 3, 1), (1, length), align_corners)
    np.testing.assert_allclose(rows.ravel(), expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(columns.ravel(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(20, 12), (3, 4), (13, 5)])
def test_gradient_of_resize_is_its_transpose(size, align_corners):
    @jax.jit
    def resize(x):
        return networks.resize(x, size, align_corners)

    x, y = normal(0, 2, 5, 7, 3), normal(1, 2, *size, 3)
    value, pullback = jax.vjp(resize, x)
    (gradient,) = pullback(y)
    assert float((value * y).sum()) == pytest.approx(float((x * gradient).sum()), rel=1e-4)
    # A constant image has a constant gradient sum: no weight is lost at the edges.
    (of_ones,) = pullback(jnp.ones_like(y))
    assert float(of_ones.sum()) == pytest.approx(y.size, rel=1e-5)


def test_resize_keeps_half_precision():
    x = normal(0, 1, 4, 4, 2).astype(jnp.bfloat16)
    y = networks.resize(x, (9, 9))
    assert y.dtype == jnp.bfloat16
    exact = networks.resize(x.astype(jnp.float32), (9, 9))
    np.testing.assert_array_equal(y, exact.astype(jnp.bfloat16))


def test_scores_are_not_rounded_and_their_gradients_have_the_types_of_what_they_are_of():
    x = normal(0, 2, 5, 4, 64).astype(jnp.bfloat16)
    kernel, cotangent = normal(1, 64, 7), normal(2, 2, 5, 4, 7)

    def ours(x, kernel):
        return product(x, kernel, jnp.float32)

    def exact(x, kernel):
        kernel = kernel.astype(jnp.bfloat16).astype(jnp.float32)
        return jnp.einsum("bhwc,cn->bhwn", x, kernel, precision=lax.Precision.HIGHEST)

    value, *gradients = value_and_gradients(ours, cotangent, x, kernel)
    expected, *exact_ones = value_and_gradients(exact, cotangent, x.astype(jnp.float32), kernel)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5)
    for got, wanted, like in zip(gradients, exact_ones, (x, kernel), strict=True):
        assert got.dtype == like.dtype
        got, wanted = (np.asarray(a, np.float32) for a in (got, wanted))
        assert np.abs(got - wanted).max() < 2e-2 * np.abs(wanted).max()


@pytest.mark.parametrize("stride", [1, 2])
def test_the_kernel_gradient_of_a_1x1_in_half_precision_is_not_rounded(stride):
    """So devices add up what is not yet rounded."""
    conv = layers.Conv(8, 6, 1, stride=stride, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    x, cotangent = normal(0, 2, 6, 8, 8), normal(2, 2, 6 // stride, 8 // stride, 6)
    graphdef, params = nnx.split(conv)

    def loss(params):
        return jnp.sum(nnx.merge(graphdef, params)(x).astype(jnp.float32) * cotangent)

    got = jax.jit(jax.grad(loss))(params)["kernel"][...][0, 0]
    rounded = (
        array.astype(jnp.bfloat16).astype(jnp.float32)
        for array in (x[:, ::stride, ::stride], cotangent)
    )
    expected = jnp.einsum("bhwc,bhwn->cn", *rounded, precision=lax.Precision.HIGHEST)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
