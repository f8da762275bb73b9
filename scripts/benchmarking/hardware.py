"""What the device can do, and how much of its memory is used, measured in the same run."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarking import timing

CHAINED = 8  # products a call
MATRIX = {"cpu": 2048}  # rows and columns, by the kind of device; elsewhere
LARGE_MATRIX = 8192
ARRAY = {"cpu": 2**28}  # bytes; elsewhere
LARGE_ARRAY = 2**30


def matrix_peak(dtype: str, repeat: int) -> float:
    """Operations a second (multiplications and additions) of large square matrix products.

    float32 runs at JAX's default precision, in which GPUs may round the factors to TF32.

    Args:
        dtype: of the factors.
        repeat: turns; the best one counts.
    """
    size = MATRIX.get(jax.default_backend(), LARGE_MATRIX)
    a = jax.random.normal(jax.random.key(0), (size, size), jnp.float32).astype(dtype)

    @jax.jit
    def chain(a: jax.Array) -> jax.Array:
        x = a
        for _ in range(CHAINED):
            x = a @ (x * jnp.asarray(1 / size, a.dtype))
        return x

    least = _least(lambda: chain(a), repeat)
    return CHAINED * 2 * size**3 / least


def bandwidth(repeat: int) -> float:
    """Bytes a second that an addition of a constant to a large array reads and writes.

    Args:
        repeat: turns; the best one counts.
    """
    size = ARRAY.get(jax.default_backend(), LARGE_ARRAY)
    x = jnp.zeros(size // 4, jnp.float32)
    add = jax.jit(lambda x: x + 1)
    least = _least(lambda: add(x), repeat)
    return 2 * size / least


def _least(work: Callable[[], Any], repeat: int) -> float:
    """Seconds of the fastest turn: what the device can do, whatever else the machine did."""
    take_turn = timing.prepared(work)
    return min(take_turn().wall for _ in range(repeat))


def peak_bytes() -> int | None:
    """The most device memory that this process has held so far; None where the device keeps no
    account, as CPUs."""
    statistics = jax.local_devices()[0].memory_stats()
    return statistics.get("peak_bytes_in_use") if statistics else None


def program_bytes(program: Any) -> int:
    """What a compiled program needs at once, by the compiler: arguments, results that do not
    overwrite them, and temporary arrays."""
    found = program.memory_analysis()
    return (
        found.argument_size_in_bytes
        + found.output_size_in_bytes
        - found.alias_size_in_bytes
        + found.temp_size_in_bytes
    )


def traffic(program: Any) -> float | None:
    """Bytes that a compiled program's instructions read and write, by the compiler."""
    found = program.cost_analysis()
    return found.get("bytes accessed") if found else None
