"""The log-softmax of full-resolution scores against JAX's own."""

import jax
import jax.numpy as jnp
import numpy as np

from arm_jax import softmax

# Far from 0, of many sizes, with a class masked out and a tie.
LOGITS = np.concatenate(
    [
        np.random.default_rng(0).normal(size=(6, 5)) * np.logspace(-1, 2, 6)[:, None],
        [[1000.0, 1000.0, 990.0, 0.0, -1000.0], [0.0, 1.0, -np.inf, 2.0, 3.0]],
    ]
).astype(np.float32)


def test_values_are_those_of_jax():
    np.testing.assert_array_equal(softmax.log_softmax(LOGITS), jax.nn.log_softmax(LOGITS))


def test_gradients_are_those_of_jax():
    logits = LOGITS[np.isfinite(LOGITS).all(1)]
    weights = np.random.default_rng(1).normal(size=logits.shape).astype(np.float32)
    got, expected = (
        jax.jit(jax.grad(lambda x, f=f: jnp.sum(weights * f(x))))(logits)
        for f in (softmax.log_softmax, jax.nn.log_softmax)
    )
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


def test_a_checkpoint_keeps_two_numbers_a_pixel_and_no_scores():
    policy = jax.checkpoint_policies.save_only_these_names(softmax.KEPT)
    once = jax.checkpoint(lambda x: softmax.log_softmax(jnp.sin(x)).sum(), policy=policy)
    _, pull = jax.vjp(once, jnp.ones((7, 5)))
    shapes = sorted(x.shape for x in jax.tree.leaves(pull) if x.size > 1)
    assert shapes == [(7, 1), (7, 1), (7, 5)]  # the argument is there in any case
