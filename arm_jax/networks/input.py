"""What every network here reads: RGB images without ImageNet's mean and deviation, padding at 0."""

import jax
import jax.numpy as jnp

MEAN = (123.675, 116.28, 103.53)  # of ImageNet, RGB, 0..255
STD = (58.395, 57.12, 57.375)


def standardize(images: jax.Array) -> jax.Array:
    """(b, h, w, 3) RGB in 0..255 to float32, less ImageNet's mean and by its deviation."""
    mean, std = (jnp.asarray(c, jnp.float32).reshape(1, 1, 1, 3) for c in (MEAN, STD))
    return (images.astype(jnp.float32) - mean) / std


def normalize(images: jax.Array, extent: jax.Array) -> jax.Array:
    """Remove ImageNet's mean and deviation, and blank the padding.

    Args:
        images: uint8 or int32 (b, h, w, 3) RGB in 0..255.
        extent: int32 (b, 2), height and width that are no padding.

    Returns:
        float32 (b, h, w, 3); padding is exactly 0, the value of a mean pixel.
    """
    normal = standardize(images)
    rows = jnp.arange(images.shape[1])[None, :] < extent[:, :1]
    columns = jnp.arange(images.shape[2])[None, :] < extent[:, 1:]
    inside = rows[:, :, None, None] & columns[:, None, :, None]
    return jnp.where(inside, normal, 0.0)
