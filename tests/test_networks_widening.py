"""A widening 1x1 convolution and its BatchNorm from moments, against doing one after the other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from arm_jax.networks import widening


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def arrays(dtype, with_identity):
    # Behind a ReLU, so far from zero mean, and channels of very different size.
    x = (jnp.maximum(normal(0, 3, 16, 16, 8) + 1, 0) * jnp.exp(normal(1, 1, 1, 1, 8))).astype(dtype)
    identity = normal(2, 3, 16, 16, 24).astype(dtype) if with_identity else None
    scale, bias = normal(4, 24), normal(5, 24)
    return x, normal(3, 8, 24), scale, bias, normal(6, 24), identity


def results(form, values, relu, cotangent):
    """Everything a form gives, as float64: value, mean, variance and all gradients."""
    x, kernel, scale, *_ = values
    forward, backward = {
        "moments": (widening.from_moments, widening.pull_by_moments),
        "one by one": (widening.one_by_one, widening.pull_one_by_one),
    }[form]
    y, mean, var, kept = forward(*values, relu)
    gradient = jnp.where(y > 0, cotangent, 0).astype(y.dtype) if relu else cotangent
    inverse = 1 / jnp.sqrt(var + 1e-5)
    pulled = backward(x, kernel, scale, mean, inverse, gradient, *kept)
    names = ("y", "mean", "var", "of x", "of kernel", "of scale", "of bias")
    return {
        name: np.asarray(a, np.float64)
        for name, a in zip(names, (y, mean, var, *pulled), strict=True)
    }


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("with_identity", [False, True])
def test_the_two_forms_are_equal(relu, with_identity):
    values, cotangent = arrays(jnp.float32, with_identity), normal(7, 3, 16, 16, 24)
    got, expected = (results(form, values, relu, cotangent) for form in ("moments", "one by one"))
    for name, wanted in expected.items():
        largest = np.abs(wanted).max()
        np.testing.assert_allclose(got[name], wanted, rtol=0, atol=3e-5 * largest, err_msg=name)


def test_in_half_precision_both_are_as_near_to_the_truth():
    """Both against the same numbers in float64: largest and mean error of every result."""
    dtype = jnp.bfloat16
    values, cotangent = arrays(dtype, True), normal(7, 3, 16, 16, 24).astype(dtype)
    with jax.enable_x64(True):
        kernel = values[1].astype(dtype)
        wide = [jnp.asarray(np.asarray(a, np.float64)) for a in (values[0], kernel, *values[2:])]
        # The mask of the ReLU is a choice, not a rounding, so it is left out here.
        exact = results("one by one", wide, False, jnp.asarray(np.asarray(cotangent, np.float64)))
    found = {form: results(form, values, False, cotangent) for form in ("moments", "one by one")}
    for name, wanted in exact.items():
        by_moments, plain = (np.sqrt(np.mean((found[form][name] - wanted) ** 2)) for form in found)
        assert by_moments <= 1.3 * plain + 1e-6 * np.abs(wanted).max(), name


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_a_block_has_one_gradient_on_every_platform(dtype):
    """The rule, as this platform takes it, against what JAX derives from plain operations."""
    x, kernel, scale, bias, shift, identity = arrays(dtype, True)
    cotangent = normal(7, 3, 16, 16, 24)

    def ours(x, kernel, scale, bias, identity):
        y, _, _ = widening.normalized_product(x, kernel, scale, bias, shift, identity, True)
        assert y.dtype == dtype
        return jnp.sum(y.astype(jnp.float32) * cotangent)

    def plain(x, kernel, scale, bias, identity):
        kernel = kernel.astype(dtype).astype(jnp.float32)
        n = jnp.einsum("bhwk,kc->bhwc", x.astype(jnp.float32), kernel)
        mean, var = n.mean((0, 1, 2), keepdims=True), n.var((0, 1, 2), keepdims=True)
        row = (1, 1, 1, -1)
        y = (n - mean) / jnp.sqrt(var + 1e-5) * scale.reshape(row) + bias.reshape(row)
        return jnp.sum(jnp.maximum(y + identity.astype(jnp.float32), 0) * cotangent)

    arguments = (x, kernel, scale, bias, identity)
    got, expected = (jax.grad(f, argnums=range(5))(*arguments) for f in (ours, plain))
    for a, b, like in zip(got, expected, arguments, strict=True):
        assert a.dtype == like.dtype
        a, b = (np.asarray(v, np.float64) for v in (a, b))
        # In half precision a few values change sides at the ReLU.
        assert np.linalg.norm(a - b) < 5e-2 * np.linalg.norm(b)


def test_which_layers_it_suits():
    half = jnp.dtype(jnp.bfloat16)
    assert widening.suits(half, (1, 1, 64, 256))
    assert not widening.suits(half, (1, 1, 256, 64))
    assert not widening.suits(half, (3, 3, 64, 256))
    assert not widening.suits(jnp.dtype(jnp.float32), (1, 1, 64, 256))
