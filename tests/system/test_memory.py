"""Too little memory: one line that names the settings, and everything else passes unchanged."""

import jax
import jax.numpy as jnp
import pytest

from arm_jax.system import memory, workers
from arm_jax.system.errors import InputError


def test_what_does_not_fit_the_device_names_the_settings():
    words = (
        r"^step 1 needs more memory than there is \(RESOURCE_EXHAUSTED: Out of memory .*\); change"
        r" one of batch_size \(16 now\), augment.crop \(\(512, 1024\) now\), by --config"
    )
    with (
        pytest.raises(InputError, match=words),
        memory.explained("step 1", {"batch_size": 16, "augment.crop": (512, 1024)}),
    ):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9\nbytes.")


def test_an_array_larger_than_the_machine_is_such_a_case():
    def large(x):
        return jnp.zeros(1 << 48, jnp.int8) + x

    with (
        pytest.raises(InputError, match=r"^it needs more memory"),
        memory.explained("it", {"a": 1}),
    ):
        jax.block_until_ready(jax.jit(large)(jnp.int8(1)))


@pytest.mark.parametrize("error", [jax.errors.JaxRuntimeError("INTERNAL: no"), ValueError("no")])
def test_other_errors_pass(error):
    with pytest.raises(type(error), match="no"), memory.explained("it", {}):
        raise error


def test_shared_memory_that_is_too_small_for_the_workers_is_refused_before_they_start(
    tmp_path, monkeypatch
):
    usage = type("Usage", (), {"free": 64 << 20})
    monkeypatch.setattr(workers.shutil, "disk_usage", lambda folder: usage)
    workers.check_shared_memory(2, 12 << 20, tmp_path)
    with pytest.raises(
        InputError, match=r"input.workers = 2 needs 80 MB .* has 64 MB free; set --"
    ):
        workers.check_shared_memory(2, 16 << 20, tmp_path)
    workers.check_shared_memory(2, 16 << 20, tmp_path / "absent")


def test_a_batch_whose_bytes_alone_are_too_many_is_refused():
    memory.refuse_batch(16, (512, 1024))
    for number, size in ((10**9, (32, 32)), (1, (10**6, 10**6))):
        with pytest.raises(InputError, match=r"bytes before anything is computed.*batch_size"):
            memory.refuse_batch(number, size)
