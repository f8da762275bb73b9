"""Parameters and multiply-adds of a network, part by part, without computing or storing any."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from arm_jax.networks.segmenter import Segmenter, create


class Part(NamedTuple):
    """One row of the table.

    `multiply_adds` are half of XLA's floating point operations for one image. XLA counts what
    normalisation and activations do, and leaves out the taps of a convolution that fall on padding:
    together within 3 % of the usual count on crops of 512 pixels, 1 % on whole images.
    """

    name: str
    parameters: int
    multiply_adds: float
    output: tuple[int, ...]


def parts(name: str, num_classes: int, size: tuple[int, int], **options: Any) -> list[Part]:
    """The stem, the stages and the heads of a network on one image of `size` (height, width).

    Args:
        name, num_classes: what to create.
        options: further arguments of `create`.

    Raises:
        InputError: as `create`.
    """
    model = nnx.eval_shape(lambda: create(name, num_classes, rngs=nnx.Rngs(0), **options))
    return list(_parts(model, jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)))


def table(rows: list[Part]) -> str:
    """The rows and their sums, with and without the auxiliary head, as text."""
    main = [row for row in rows if row.name != "auxiliary head"]
    sums = [("total", rows)]
    if len(main) < len(rows):
        sums.insert(0, ("without auxiliary head", main))
    lines = [f"{'part':24}{'parameters':>14}{'G multiply-adds':>18}   output"]
    for row in rows:
        output = " x ".join(map(str, row.output[1:]))
        lines.append(_line(row.name, row.parameters, row.multiply_adds) + f"   {output}")
    lines.append("-" * len(lines[0]))
    for name, members in sums:
        parameters = sum(row.parameters for row in members)
        lines.append(_line(name, parameters, sum(row.multiply_adds for row in members)))
    return "\n".join(lines)


def _line(name: str, parameters: int, multiply_adds: float) -> str:
    return f"{name:24}{parameters:14,}{multiply_adds / 1e9:18.2f}"


def _parts(model: Segmenter, images: jax.ShapeDtypeStruct) -> Iterator[Part]:
    row, x = _measure("stem", model.backbone.stem, images)
    yield row
    features = []
    for number, stage in enumerate(model.backbone.stages, start=1):
        if stage:
            row, x = _measure(f"stage {number}", stage, x, _chained)
            yield row
        features.append(x)
    auxiliary, coarse = _measure("auxiliary head", model.auxiliary_head, features[2], _without_key)
    inputs = tuple(features), coarse if model.needs_coarse else None
    head, _ = _measure("head", model.head, inputs, _unpacked)
    if model.needs_coarse:  # the first guess is not optional
        yield from (auxiliary._replace(name="coarse head"), head)
    else:
        yield from (head, auxiliary)


def _measure(
    name: str, module: nnx.Module, x: Any, call: Callable[[Any, Any], Any] | None = None
) -> tuple[Part, Any]:
    graphdef, state = nnx.split(module)

    def apply(state: nnx.State, x: Any) -> jax.Array:
        merged = nnx.merge(graphdef, state)
        return merged(x) if call is None else call(merged, x)

    # The plain operations, which a CPU may do with fewer multiplications (winograd.py).
    lowered = jax.jit(apply).trace(state, x).lower(lowering_platforms=("cuda",))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(module, nnx.Param)))
    analysis = lowered.cost_analysis()
    assert analysis is not None
    output = lowered.out_info
    return Part(name, parameters, analysis["flops"] / 2, output.shape), output


def _chained(blocks: Any, x: jax.Array) -> jax.Array:
    for block in blocks:
        x = block(x)
    return x


def _without_key(head: Any, features: Any) -> jax.Array:
    return head(features, None)


def _unpacked(head: Any, arguments: tuple[Any, Any]) -> jax.Array:
    return head(*arguments, None)
