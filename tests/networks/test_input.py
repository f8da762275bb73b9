"""The networks' input: ImageNet's mean and deviation removed, padding at 0."""

import jax
import jax.numpy as jnp
import numpy as np

from arm_jax.networks import input as network_input


def test_removes_the_mean_and_deviation_of_imagenet():
    images = np.random.default_rng(2).integers(0, 256, (2, 5, 7, 3)).astype(np.uint8)
    result = network_input.normalize(images, np.array([[5, 7], [5, 7]], np.int32))
    expected = (images - np.array([123.675, 116.28, 103.53])) / np.array([58.395, 57.12, 57.375])
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_padding_is_exactly_zero_and_nothing_else_is():
    images = np.full((2, 6, 8, 3), 10, np.uint8)
    extent = np.array([[4, 8], [6, 3]], np.int32)
    result = np.asarray(jax.jit(network_input.normalize)(images, extent))
    assert not result[0, 4:].any() and not result[1, :, 3:].any()
    assert result[0, :4].all() and result[1, :, :3].all()
