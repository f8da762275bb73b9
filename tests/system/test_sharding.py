"""Placement on eight simulated devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from arm_jax.system import sharding
from arm_jax.system.errors import InputError


def test_a_batch_is_split_in_order_and_the_state_is_whole_everywhere():
    mesh = sharding.make_mesh()
    batch = sharding.shard_batch(mesh, {"x": np.arange(32).reshape(16, 2)})["x"]
    assert [s.data.shape for s in batch.addressable_shards] == [(2, 2)] * 8
    np.testing.assert_array_equal(batch, np.arange(32).reshape(16, 2))
    whole = sharding.replicate(mesh, {"w": jnp.arange(5)})["w"]
    assert all((np.asarray(s.data) == np.arange(5)).all() for s in whole.addressable_shards)


def test_a_sum_over_the_batch_is_a_sum_over_all_devices():
    mesh = sharding.make_mesh()
    total = jax.jit(jnp.sum, in_shardings=sharding.by_batch(mesh))(
        sharding.shard_batch(mesh, np.arange(16.0, dtype=np.float32))
    )
    assert total == 120


@pytest.mark.parametrize("batch_size", [0, 4, 12])
def test_a_batch_that_the_devices_do_not_divide_is_refused(batch_size):
    with pytest.raises(InputError, match=f"batch_size = {batch_size}.*multiple of 8"):
        sharding.local_batch_size(batch_size, sharding.make_mesh())
    assert sharding.local_batch_size(24, sharding.make_mesh()) == 24
