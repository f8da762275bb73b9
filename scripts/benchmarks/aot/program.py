"""Build the project's own step or evaluation for devices that are absent, and compile it.

    python scripts/benchmarks/aot/program.py FOLDER

FOLDER/job.json says what (see `child.Job`). Before it compiles it writes FOLDER/facts.json, and
FOLDER/error.json if that cannot be done; the compiler writes its program to FOLDER/dump, as
XLA_FLAGS tell it. It is a process of its own since an error in the compiler ends the process.
"""

import importlib.metadata
import json
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.experimental import topologies
from jax.sharding import Mesh

from aot import targets
from arm_jax import experiment as experiments
from arm_jax.data import labels
from arm_jax.evaluation import inference, passes, tiles
from arm_jax.experiment import Experiment
from arm_jax.networks import summary
from arm_jax.run import configs
from arm_jax.system import sharding
from arm_jax.system.errors import InputError
from arm_jax.training import step

MOST_OF_A_MESSAGE = 2000


def main(folder: Path) -> int:
    job = json.loads((folder / "job.json").read_text())
    try:
        facts, traced = trace(job)
        start = time.perf_counter()
        lowered = traced.lower()
        facts["lower_seconds"] = time.perf_counter() - start
        write(folder / "facts.json", facts)
        start = time.perf_counter()
        compiled = lowered.compile()
        facts["compile_seconds"] = time.perf_counter() - start
    except InputError as error:
        write(folder / "error.json", {"input": True, "message": str(error)})
        return 2
    except Exception as error:  # the compiler's: jaxlib has many types of it
        message = f"{type(error).__name__}: {error}"[:MOST_OF_A_MESSAGE]
        write(folder / "error.json", {"input": False, "message": message})
        return 1
    analysis = compiled.memory_analysis()
    if analysis is not None:
        names = [name for name in dir(analysis) if name.endswith("_in_bytes")]
        facts["memory_analysis"] = {name: getattr(analysis, name) for name in names}
    write(folder / "facts.json", facts)
    return 0


def trace(job: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """What is compiled in words and numbers, and the traced program.

    Raises:
      InputError: as `configs.load`; a batch that the devices do not divide; an unknown topology.
    """
    config = configs.load(job["row"], job["overrides"])
    experiment = experiments.build(config, classes(config, job["classes"]))
    mesh = sharding.make_mesh(devices(job["platform"], job["topology"]))
    evaluate = job["evaluate"]
    size = tuple(job["size"] or (1024, 2048)) if evaluate else tuple(config.augment.crop)
    batch = config.evaluation.batch_size if evaluate else config.batch_size
    sharding.local_batch_size(batch, mesh, parts=1 if evaluate else config.accumulate)
    facts = {
        "devices": mesh.size,
        "device_kind": mesh.devices.flat[0].device_kind,
        "network": config.model.name,
        "dtype": config.model.dtype,
        "classes": experiment.classes.number,
        "batch": batch,
        "size": list(size),
        "remat": config.model.remat,
        "accumulate": 1 if evaluate else config.accumulate,
        "passes": experiment.protocol.passes if evaluate else 1,
        "useful_operations": useful_operations(experiment, size, evaluate) * batch / mesh.size,
        "packages": packages(),
    }
    start = time.perf_counter()
    build = evaluation if evaluate else training
    traced = build(experiment, mesh, batch, size)
    facts["trace_seconds"] = time.perf_counter() - start
    return facts, traced


def devices(platform: str, topology: str) -> Any:
    """The devices of a topology, none of which is here."""
    try:
        if platform == "tpu":
            shape = topology.partition(":")[2].split("x")
            alone = all(length == "1" for length in shape)  # a host has four chips otherwise
            more = {"chips_per_host_bounds": (1, 1, 1)} if alone else {}
            return topologies.get_topology_desc(
                platform="tpu", topology_name=topology, **more
            ).devices
        return topologies.get_topology_desc(
            platform="cuda",
            topology_name="h100",
            target_config=targets.H100.read_text(),
            topology=topology,
        ).devices
    except (RuntimeError, ValueError) as error:
        raise InputError(f"--topology {topology}: {str(error).splitlines()[0]}") from error


def classes(config: Any, choice: str | None) -> labels.Classes:
    """The classes of the config's data set, or of `choice`: a benchmark's name or a number.

    Raises:
      InputError: `choice` is neither.
    """
    names = [choice] if choice else list(config.data.classes) or [config.data.dataset]
    if len(names) == 1 and names[0] in labels.BY_NAME:
        return labels.BY_NAME[names[0]]
    if choice:
        if not choice.isdigit():
            raise InputError(
                f"--classes {choice}: give their number, or one of {', '.join(labels.BY_NAME)}"
            )
        return labels.generic([f"class {i}" for i in range(int(choice))])
    if config.data.classes:
        return labels.generic(names)
    return labels.CITYSCAPES


def useful_operations(experiment: Experiment, size: tuple[int, ...], evaluate: bool) -> float:
    """Of the network on one image: twice the multiply-adds, and three times that for training."""
    model = experiment.config.model
    rows = summary.parts(
        model.name,
        experiment.classes.number,
        (size[0], size[1]),
        output_stride=model.output_stride,
        variant=model.variant or None,
    )
    used = [row for row in rows if not (evaluate and row.name == "auxiliary head")]
    return 2 * (1 if evaluate else 3) * sum(row.multiply_adds for row in used)


def training(experiment: Experiment, mesh: Mesh, batch: int, size: tuple[int, ...]) -> Any:
    """The training step, jit_train_step, traced."""
    graphdef, state = experiment.abstract_state(mesh)
    split = sharding.by_batch(mesh)

    def array(shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((batch, *shape), dtype, sharding=split)

    inputs = {
        "image": array((*size, 3), jnp.uint8),
        "label": array(size, jnp.uint8),
        "extent": array((2,), jnp.int32),
        "key": array((2,), jnp.uint32),
    }
    jitted: Any = step.compile_step(
        mesh, graphdef, experiment.transformation, experiment.method(mesh)
    )
    return jitted.trace(state, inputs)


def evaluation(experiment: Experiment, mesh: Mesh, batch: int, size: tuple[int, ...]) -> Any:
    """From bytes to labels, jit_evaluate, traced.

    Of a protocol of many passes: the network at the largest scale alone, which takes most memory.
    """
    graphdef, state = experiment.abstract_state(mesh)
    players = nnx.merge(graphdef, state.params, state.statistics)
    network, arrays = nnx.split(players.segmenter)
    protocol = experiment.protocol
    height, width = size
    window = max(protocol.windows(height, width), key=lambda window: window.padded)
    split = sharding.by_batch(mesh)

    def array(shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((batch, *shape), dtype, sharding=split)

    def put(tree: Any) -> Any:
        return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, split), tree)

    @jax.jit
    def evaluate(state: Any, images: Any, views: Any, rows: Any, columns: Any) -> jax.Array:
        found = passes.logits(
            network,
            state,
            images,
            views,
            rows,
            columns,
            window=window.window,
            at_once=protocol.windows_at_once,
            mirrored=False,
        )
        if protocol.passes > 1:
            return found
        taps = tiles.axes(
            window,
            found.shape[1:3],
            (height, width),
            mirrored=False,
            align_corners=protocol.align_corners,
        )
        return tiles.combine(
            [(found, [taps] * batch)],
            inference.label_size([passes.Prepared((height, width), ())]),
            average=protocol.average,
            as_labels=True,
            put=put,
            devices=mesh.size,
        )

    return evaluate.trace(
        arrays,
        array((*window.padded, 3), jnp.uint8),
        array((2,), jnp.int32),
        array((len(window.rows),), jnp.int32),
        array((len(window.columns),), jnp.int32),
    )


def packages() -> dict[str, str]:
    """Versions of what decides about the program."""
    found = {}
    for name in ("jax", "jaxlib", "flax", "jax-cuda13-plugin", "libtpu"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def write(path: Path, value: dict[str, Any]) -> None:
    """Whole or not at all: the process may be ended at any time."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(value, indent=1) + "\n")
    temporary.replace(path)


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
