"""BatchNorm: in float32, without cancellation, and its gradient, which is written by hand."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from tiny import normal

from arm_jax.networks.batchnorm import BatchNorm


def test_batch_norm_normalises_in_float32_whatever_its_input():
    norm = nnx.view(BatchNorm(3, rngs=nnx.Rngs(0)), use_running_average=False)
    # The mean is 8 deviations away: in float16 arithmetic the variance would be lost.
    x = (normal(0, 4, 16, 16, 3) * 0.5 + 4).astype(jnp.float16)
    y = nnx.jit(lambda norm, x: norm(x))(norm, x)
    assert y.dtype == jnp.float16
    exact = np.asarray(x, np.float64)
    np.testing.assert_allclose(norm.mean[...], 0.1 * exact.mean((0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(norm.var[...], 0.9 + 0.1 * exact.var((0, 1, 2)), rtol=1e-4)
    expected = (exact - exact.mean((0, 1, 2))) / np.sqrt(exact.var((0, 1, 2)) + 1e-5)
    np.testing.assert_allclose(y.astype(jnp.float32), expected, rtol=2e-3, atol=2e-3)


def test_batch_norm_does_not_cancel_once_it_knows_the_mean():
    norm = nnx.view(BatchNorm(1, rngs=nnx.Rngs(0)), use_running_average=False)
    norm.mean[...] = jnp.array([1000.0])
    x = 1001 + 0.1 * normal(0, 4, 32, 32, 1)
    exact = np.asarray(x, np.float64)
    y = norm(x)
    np.testing.assert_allclose(y, (exact - exact.mean()) / exact.std(), atol=5e-3)
    np.testing.assert_allclose(norm.var[...], 0.9 + 0.1 * exact.var(), rtol=1e-5)


def test_batch_norm_gradient_is_the_textbook_one():
    norm = nnx.view(BatchNorm(2, rngs=nnx.Rngs(0)), use_running_average=False)
    norm.mean[...], norm.scale[...] = jnp.array([0.5, -2.0]), jnp.array([1.5, 0.5])
    x, weight = normal(0, 4, 3, 3, 2), normal(1, 4, 3, 3, 2)
    gradient = nnx.jit(nnx.grad(lambda norm, x: (norm(x) * weight).sum(), argnums=1))(norm, x)
    centred = x - x.mean((0, 1, 2), keepdims=True)
    deviation = jnp.sqrt(x.var((0, 1, 2), keepdims=True) + 1e-5)
    unit = centred / deviation
    expected = weight - weight.mean((0, 1, 2), keepdims=True)
    expected -= unit * (weight * unit).mean((0, 1, 2), keepdims=True)
    expected *= jnp.array([1.5, 0.5]).reshape(1, 1, 1, 2) / deviation
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)


def test_few_values_survive_a_large_mean():
    norm = nnx.view(BatchNorm(1, few_values=True, rngs=nnx.Rngs(0)), use_running_average=False)
    y = norm(jnp.array([1000.0, 1000.5]).reshape(2, 1, 1, 1))
    np.testing.assert_allclose(y.ravel(), [-1, 1], rtol=1e-3)


def test_all_gradients_equal_those_that_jax_derives():
    """... also in half precision, up to that precision's rounding of the result."""
    norm = nnx.view(BatchNorm(3, rngs=nnx.Rngs(0)), use_running_average=False)
    norm.scale[...], norm.bias[...] = jnp.array([1.5, 0.5, -1.0]), jnp.array([0.2, 0.0, 3.0])
    graphdef, params, statistics = nnx.split(norm, nnx.Param, ...)
    weight = normal(1, 4, 5, 3, 3)

    def ours(params, x):
        norm = nnx.merge(graphdef, params, jax.tree.map(lambda s: s, statistics))
        return jnp.sum(weight * jnp.maximum(norm(x), 0.0).astype(jnp.float32))

    def derived(params, x):
        x = x.astype(jnp.float32)
        mean = x.mean((0, 1, 2), keepdims=True)
        deviation = jnp.sqrt(jnp.mean((x - mean) ** 2, (0, 1, 2), keepdims=True) + 1e-5)
        row = (1, 1, 1, 3)
        y = (x - mean) / deviation * params["scale"].reshape(row) + params["bias"].reshape(row)
        return jnp.sum(weight * jnp.maximum(y, 0.0))

    for dtype, tolerance in ((jnp.float32, 1e-5), (jnp.bfloat16, 2e-2)):
        x = (normal(0, 4, 5, 3, 3) + 1).astype(dtype)
        got, expected = (
            jax.jit(jax.grad(function, argnums=(0, 1)))(values, x)
            for function, values in ((ours, params), (derived, nnx.to_pure_dict(params)))
        )
        assert got[1].dtype == dtype
        for name in ("scale", "bias"):
            np.testing.assert_allclose(
                got[0][name][...], expected[0][name], rtol=tolerance, atol=10 * tolerance
            )
        np.testing.assert_allclose(
            got[1].astype(jnp.float32),
            expected[1].astype(jnp.float32),
            rtol=tolerance,
            atol=tolerance,
        )
