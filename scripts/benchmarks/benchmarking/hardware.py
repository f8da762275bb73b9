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


def peak(dtype: str, repeat: int, devices: int) -> dict[str, float]:
    """What `devices` devices can do, by the fastest of `repeat` turns on one of them.

    Returns:
        "operations_per_second", multiplications and additions of large square matrix products, and
        "operations_per_cpu_second", which is of use on CPUs; "bytes_per_second", which adding a
        number to a large array reads and writes. float32 products run at JAX's default precision,
        in which GPUs may round the factors to TF32.
    """
    operations, product = _matrix_product(dtype, repeat)
    traffic, addition = _addition(repeat)
    return {
        "operations_per_second": devices * operations / product.wall,
        "operations_per_cpu_second": operations / product.cpu,
        "bytes_per_second": devices * traffic / addition.wall,
    }


def _matrix_product(dtype: str, repeat: int) -> tuple[float, timing.Turn]:
    """The operations of a call, and its time."""
    size = MATRIX.get(jax.default_backend(), LARGE_MATRIX)
    a = jax.random.normal(jax.random.key(0), (size, size), jnp.float32).astype(dtype)

    @jax.jit
    def chain(a: jax.Array) -> jax.Array:
        x = a
        for _ in range(CHAINED):
            x = a @ (x * jnp.asarray(1 / size, a.dtype))
        return x

    return CHAINED * 2 * size**3, _least(lambda: chain(a), repeat)


def _addition(repeat: int) -> tuple[float, timing.Turn]:
    """The bytes that a call reads and writes, and its time."""
    size = ARRAY.get(jax.default_backend(), LARGE_ARRAY)
    x = jnp.zeros(size // 4, jnp.float32)
    add = jax.jit(lambda x: x + 1)
    return 2 * size, _least(lambda: add(x), repeat)


def _least(work: Callable[[], Any], repeat: int) -> timing.Turn:
    """The least times of all turns: what the device can do, whatever else the machine did."""
    take_turn = timing.prepared(work)
    walls, processors = zip(*(take_turn() for _ in range(repeat)), strict=True)
    return timing.Turn(min(walls), min(processors))


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
