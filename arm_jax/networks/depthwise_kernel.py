"""The kernel's gradient of a depthwise 3x3 convolution, in one pass over both maps, for CUDA.

XLA makes five kernels of its nine sums, and each reads both maps anew. Here one kernel reads the
cotangent once and the nine shifted pixels of the map, of which the caches have eight.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import Mesh, NamedSharding, PartitionSpec

try:
    from jax.experimental.pallas import triton as plgpu
except ImportError:  # JAX 0.11 deprecates it
    HAS_TRITON = False
else:
    HAS_TRITON = True

TAPS = tuple((row, column) for row in (-1, 0, 1) for column in (-1, 0, 1))

# Nine float32 sums of this many numbers are what four warps hold in their registers.
PIXELS, CHANNELS = 16, 64
# About this many programs keep a card busy; each leaves a sum for a second pass.
PROGRAMS = 2048


def available() -> bool:
    """Whether Pallas compiles for Triton: with JAX 0.10 it does, later where a GPU is present.

    From 0.11 on it asks the device what it is, so that it cannot compile for one that is absent.
    """
    if not HAS_TRITON:
        return False
    return jax.__version_info__ < (0, 11) or jax.default_backend() == "gpu"


def kernel_gradient(
    x: jax.Array, cotangent: jax.Array, dilation: int, *, interpret: bool = False
) -> jax.Array:
    """sum over pixels of x, moved by a tap, times the cotangent; outside of the map x is 0.

    Args:
        x, cotangent: (b, h, w, c), of fewer than 2^31 numbers.
        dilation: of the convolution.
        interpret: run it without a GPU, by Pallas' interpreter.

    Returns:
        (9, c) float32, the taps row by row.
    """
    return _sums_of_images(x, cotangent, dilation, interpret).sum(0)


@functools.partial(custom_partitioning, static_argnums=(2, 3))
def _sums_of_images(
    x: jax.Array, cotangent: jax.Array, dilation: int, interpret: bool
) -> jax.Array:
    """(b, 9, c): each device sums over its own images."""
    batch, height, width, channels = x.shape
    pixels = height * width
    columns = pl.cdiv(channels, CHANNELS)
    chunks = max(1, min(PROGRAMS // (batch * columns), pl.cdiv(pixels, PIXELS)))
    steps = pl.cdiv(pl.cdiv(pixels, chunks), PIXELS)
    body = functools.partial(_sum_chunk, steps=steps, height=height, width=width, dilation=dilation)
    sums = pl.pallas_call(
        body,
        grid=(batch, chunks, columns),
        in_specs=[pl.BlockSpec(), pl.BlockSpec()],
        out_specs=pl.BlockSpec(),
        out_shape=jax.ShapeDtypeStruct((batch * chunks, len(TAPS), channels), jnp.float32),
        compiler_params=plgpu.CompilerParams(num_warps=4, num_stages=2),
        interpret=interpret,
        name="depthwise_kernel_gradient",
    )(x.reshape(-1, channels), cotangent.reshape(-1, channels))
    return sums.reshape(batch, chunks, len(TAPS), channels).sum(1)


def _partition(
    dilation: int, interpret: bool, mesh: Mesh, operands: Any, result: Any
) -> tuple[Mesh, Callable[..., jax.Array], NamedSharding, tuple[NamedSharding, NamedSharding]]:
    of_batch = NamedSharding(mesh, PartitionSpec(_batch_axes(operands)))

    def local(x: jax.Array, cotangent: jax.Array) -> jax.Array:
        return _sums_of_images.fun(x, cotangent, dilation, interpret)

    return mesh, local, of_batch, (of_batch, of_batch)


def _infer(dilation: int, interpret: bool, mesh: Mesh, operands: Any, result: Any) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec(_batch_axes(operands)))


def _batch_axes(operands: Any) -> Any:
    """The mesh's axes over which the first operand's images are spread."""
    spec = operands[0].sharding.spec
    return spec[0] if spec else None


_sums_of_images.def_partition(
    partition=_partition,
    infer_sharding_from_operands=_infer,
    sharding_rule="b h w c, b h w c -> b t c",
    need_replication_factors=("h", "w", "c", "t"),
)


def _sum_chunk(
    x_ref: Any,
    cotangent_ref: Any,
    sums_ref: Any,
    *,
    steps: int,
    height: int,
    width: int,
    dilation: int,
) -> None:
    """Some channels of some pixels of one image, a few pixels at a time."""
    channels = x_ref.shape[1]
    image, chunk, chunks = pl.program_id(0), pl.program_id(1), pl.num_programs(1)
    lanes = pl.program_id(2) * CHANNELS + jnp.arange(CHANNELS)
    there = (lanes < channels)[None, :]

    def step(number: jax.Array, sums: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        pixel = (chunk * steps + number) * PIXELS + jnp.arange(PIXELS)
        row, column = pixel // width, pixel % width
        inside = (row < height)[:, None] & there
        place = image * height * width + pixel

        def load(ref: Any, place: jax.Array, mask: jax.Array) -> jax.Array:
            value = plgpu.load(ref.at[place[:, None], lanes[None, :]], mask=mask, other=0.0)
            return value.astype(jnp.float32)

        of_y = load(cotangent_ref, place, inside)
        found = []
        for total, (down, right) in zip(sums, TAPS, strict=True):
            below, beside = row + down * dilation, column + right * dilation
            on_map = (below >= 0) & (below < height) & (beside >= 0) & (beside < width)
            moved = place + (down * width + right) * dilation
            found.append(total + of_y * load(x_ref, moved, inside & on_map[:, None]))
        return tuple(found)

    zero = jnp.zeros((PIXELS, CHANNELS), jnp.float32)
    sums = lax.fori_loop(0, steps, step, (zero,) * len(TAPS))
    for tap, total in enumerate(sums):
        place = sums_ref.at[image * chunks + chunk, tap, lanes]
        plgpu.store(place, total.sum(0), mask=lanes < channels)
