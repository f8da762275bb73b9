"""What the tests of ARM are made of: random scores and labels, and a fresh module."""

import jax
import jax.numpy as jnp
from flax import nnx

from arm_jax import arm, losses


def random_batch(classes=5, shape=(4, 6, 7), seed=0):
    """Logits, labels with ignored pixels, and where there are labels."""
    keys = jax.random.split(jax.random.key(seed), 3)
    logits = 3.0 * jax.random.normal(keys[0], (*shape, classes))
    labels = jax.random.randint(keys[1], shape, 0, classes)
    labels = jnp.where(jax.random.bernoulli(keys[2], 0.3, shape), 255, labels)
    return logits, labels, losses.valid_pixels(labels)


def learned(seed=0):
    return arm.Arm(rngs=nnx.Rngs(seed))
