"""The one-pass kernel gradient of depthwise convolutions, by Pallas' interpreter, and split."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from arm_jax.networks import depthwise, depthwise_kernel
from arm_jax.system import sharding


def maps(*shape):
    return tuple(jax.random.normal(jax.random.key(seed), shape) for seed in (0, 1))


# Fewer pixels and channels than a program takes, more, and a dilation that reaches over one axis.
@pytest.mark.parametrize(
    ("shape", "dilation"), [((2, 11, 9, 6), 2), ((1, 5, 40, 70), 6), ((3, 7, 6, 5), 1)]
)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_it_equals_the_sums_by_xla(shape, dilation, dtype):
    x, cotangent = (array.astype(dtype) for array in maps(*shape))
    got = depthwise_kernel.kernel_gradient(x, cotangent, dilation, interpret=True)
    expected = jax.jit(depthwise._sums, static_argnums=2)(x, cotangent, dilation)
    assert got.dtype == expected.dtype == jnp.float32
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6 * float(jnp.abs(expected).max()))


def test_each_device_sums_over_its_own_images():
    mesh = sharding.make_mesh(jax.devices()[:4])
    x, cotangent = maps(8, 6, 5, 3)
    spread = NamedSharding(mesh, PartitionSpec(mesh.axis_names[0]))
    function = jax.jit(
        lambda x, cotangent: depthwise_kernel.kernel_gradient(x, cotangent, 1, interpret=True),
        in_shardings=(spread, spread),
        out_shardings=NamedSharding(mesh, PartitionSpec()),
    )
    compiled = function.lower(x, cotangent).compile()
    text = compiled.as_text()
    assert "all-gather" not in text
    assert "all-reduce" in text
    expected = jax.jit(depthwise._sums, static_argnums=2)(x, cotangent, 1)
    got = compiled(*(jax.device_put(array, spread) for array in (x, cotangent)))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
