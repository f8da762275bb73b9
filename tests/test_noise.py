"""The table of reports, on labels whose noise is known."""

import jax
import jax.numpy as jnp
import numpy as np

from arm_jax import noise

# Of three classes: the second is seldom drawn, the third often called the first.
TRUE = np.array([[0.75, 0.05, 0.0, 0.2], [0.1, 0.15, 0.05, 0.7], [0.3, 0.02, 0.48, 0.2]])


def test_a_known_table_is_estimated_from_noisy_and_missing_labels():
    """The teacher is calibrated: classes are drawn from its own likelihoods."""

    def step(counts, key):
        keys = jax.random.split(key, 3)
        logits = 3.0 * jax.random.normal(keys[0], (4096, 3)) + jnp.array([[1.0, 0.0, 0.5]])
        truth = jax.random.categorical(keys[1], logits)
        report = jax.random.categorical(keys[2], jnp.log(jnp.asarray(TRUE))[truth])
        p = jax.nn.softmax(logits)
        q = noise.posterior(p, report, noise.table(counts))
        seen = jnp.arange(4096) < 4000
        return noise.blended(counts, noise.counted(q, report, seen)), None

    keys = jax.random.split(jax.random.key(0), 800)
    counts, _ = jax.jit(lambda keys: jax.lax.scan(step, noise.prior(3), keys))(keys)
    found = np.asarray(noise.table(counts))
    np.testing.assert_allclose(found, TRUE, atol=0.02)
    np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-6)


def test_the_posterior_is_bayes_rule_in_float64_and_has_no_gradient():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), (5, 6))
    report = rng.integers(0, 4, (5, 6))
    for sharpness in (1.0, 2.0):
        found = noise.posterior(
            jnp.asarray(p, jnp.float32), jnp.asarray(report), jnp.asarray(TRUE), sharpness
        )
        raw = p**sharpness * TRUE.T[report]
        np.testing.assert_allclose(found, raw / raw.sum(-1, keepdims=True), rtol=2e-5)
    gradients = jax.grad(
        lambda p, t: noise.posterior(p, jnp.asarray(report), t)[..., 0].sum(), argnums=(0, 1)
    )(jnp.asarray(p, jnp.float32), jnp.asarray(TRUE, jnp.float32))
    assert all(np.all(x == 0) for x in gradients)


def test_counts_are_shares_of_the_pixels_that_are_seen():
    q = jnp.array([[1.0, 0.0], [0.25, 0.75], [0.0, 1.0]])
    found = noise.counted(q, jnp.array([0, 2, 1]), jnp.array([True, True, False]))
    np.testing.assert_allclose(found, [[0.5, 0, 0.125], [0, 0, 0.375]])
    np.testing.assert_allclose(noise.table(noise.prior(4)).sum(-1), 1, rtol=1e-6)
