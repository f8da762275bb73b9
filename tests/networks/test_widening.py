"""A widening 1x1 convolution and its BatchNorm from moments, against doing one after the other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import normal

from arm_jax.networks import widening


def arrays(dtype, with_identity):
    # Behind a ReLU, so far from zero mean, and channels of very different size.
    x = (jnp.maximum(normal(0, 3, 16, 16, 8) + 1, 0) * jnp.exp(normal(1, 1, 1, 1, 8))).astype(dtype)
    identity = normal(2, 3, 16, 16, 24).astype(dtype) if with_identity else None
    scale, bias = normal(4, 24), normal(5, 24)
    return x, normal(3, 8, 24), scale, bias, normal(6, 24), identity


def results(form, values, relu, cotangent):
    """Everything a form gives, as float64: value, mean, variance and all gradients."""
    x, kernel, scale, bias, shift, identity = values
    if form == "moments":
        pull = widening.pull_by_moments
        y, mean, var, kept = widening.from_moments(x, kernel, scale, bias, identity, relu)
    else:
        pull = widening.pull_one_by_one
        y, mean, var, kept = widening.one_by_one(x, kernel, scale, bias, shift, identity, relu)
    gradient = jnp.where(y > 0, cotangent, 0).astype(y.dtype) if relu else cotangent
    pulled = pull(kept, x, kernel, scale, mean, 1 / jnp.sqrt(var + 1e-5), gradient)
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


def test_the_rule_gives_what_jax_derives():
    x, kernel, scale, bias, shift, identity = arrays(jnp.float32, True)
    cotangent = normal(7, 3, 16, 16, 24)

    def ours(x, kernel, scale, bias, identity):
        y, _, _ = widening.normalized_product(x, kernel, scale, bias, shift, identity, True)
        return jnp.sum(y * cotangent)

    def derived(x, kernel, scale, bias, identity):
        n = jnp.einsum("bhwk,kc->bhwc", x, kernel)
        mean, var = n.mean((0, 1, 2), keepdims=True), n.var((0, 1, 2), keepdims=True)
        row = (1, 1, 1, -1)
        y = (n - mean) / jnp.sqrt(var + 1e-5) * scale.reshape(row) + bias.reshape(row)
        return jnp.sum(jnp.maximum(y + identity, 0) * cotangent)

    arguments = (x, kernel, scale, bias, identity)
    got, expected = (jax.jit(jax.grad(f, argnums=range(5)))(*arguments) for f in (ours, derived))
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * float(jnp.abs(b).max()))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_gradients_have_the_types_of_what_they_are_of(dtype):
    x, kernel, scale, bias, shift, identity = arrays(dtype, True)

    def loss(x, kernel, scale, bias, identity):
        y, _, _ = widening.normalized_product(x, kernel, scale, bias, shift, identity, True)
        assert y.dtype == dtype
        return jnp.sum(y.astype(jnp.float32))

    arguments = (x, kernel, scale, bias, identity)
    gradients = jax.eval_shape(jax.grad(loss, argnums=range(5)), *arguments)
    assert [a.dtype for a in gradients] == [a.dtype for a in arguments]


def test_which_layers_it_suits():
    half = jnp.dtype(jnp.bfloat16)
    assert widening.suits(half, (1, 1, 64, 256))
    assert not widening.suits(half, (1, 1, 256, 64))
    assert not widening.suits(half, (3, 3, 64, 256))
    assert not widening.suits(jnp.dtype(jnp.float32), (1, 1, 64, 256))
