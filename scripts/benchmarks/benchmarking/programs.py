"""From a config to programs that can be called again and again on the devices."""

import time
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from arm_jax import consistency, settings
from arm_jax import experiment as experiments
from arm_jax.evaluation import inference, passes
from arm_jax.experiment import Experiment
from arm_jax.networks import Segmenter, summary
from arm_jax.networks.input import normalize
from arm_jax.system import sharding
from arm_jax.training import step
from arm_jax.training.state import Players
from benchmarking import hardware
from benchmarking.timing import Timing

UNLABELLED = 0.3  # share of the random labels


def random_batch(experiment: Experiment) -> dict[str, np.ndarray]:
    """A training batch of random bytes, and of random classes in blocks of 8x8 pixels."""
    config, classes = experiment.config, experiment.classes
    rng = np.random.default_rng(0)
    batch, (height, width) = config.batch_size, config.augment.crop
    blocks = rng.integers(0, classes.number, (batch, -(-height // 8), -(-width // 8)))
    blocks[rng.random(blocks.shape) < UNLABELLED] = classes.ignore
    return {
        "image": rng.integers(0, 256, (batch, height, width, 3), dtype=np.uint8),
        "label": blocks.repeat(8, 1).repeat(8, 2)[:, :height, :width].astype(np.uint8),
        "extent": np.tile(np.asarray((height, width), np.int32), (batch, 1)),
        "key": rng.integers(0, 2**32, (batch, 2), dtype=np.uint32),
    }


def multiply_adds(experiment: Experiment) -> dict[str, float]:
    """Of the backbone and the heads on one crop, forward: see `networks.summary.parts`."""
    config = experiment.config
    # Counting needs no accelerator, and not every one can tell.
    with jax.default_device(jax.devices("cpu")[0]):
        rows = summary.parts(
            config.model.name,
            experiment.classes.number,
            config.augment.crop,
            output_stride=config.model.output_stride,
            variant=config.model.variant or None,
        )
    found = {"backbone": 0.0}
    for row in rows:
        if row.name in ("head", "auxiliary head", "coarse head"):
            found["head" if row.name == "head" else "auxiliary head"] = row.multiply_adds
        else:
            found["backbone"] += row.multiply_adds
    return found


def parameters(module: nnx.Module) -> int:
    return sum(x.size for x in jax.tree.leaves(nnx.state(module, nnx.Param)))


def base_model(experiment: Experiment) -> Experiment:
    """The same experiment without ARM, as row `base` has it."""
    config = consistency.checked(experiment.config, {"arm.kind": "none"})
    return experiments.build(config, experiment.classes)


class Compiled:
    """A program, and the seconds that it took to make it.

    Attributes:
        program: what to call with arguments like `arguments`.
        facts: "lower_seconds" to trace it and "compile_seconds" to compile it.
    """

    def __init__(self, jitted: Any, *arguments: Any):
        start = time.perf_counter()
        lowered = jitted.lower(*arguments)
        lowered_at = time.perf_counter()
        self.program = lowered.compile()
        compiled_at = time.perf_counter()
        self.facts = {
            "lower_seconds": lowered_at - start,
            "compile_seconds": compiled_at - lowered_at,
        }


class Training(Compiled):
    """The project's own step and its state, on one batch that lies on the devices."""

    def __init__(self, experiment: Experiment, mesh: Mesh, batch: dict[str, jax.Array]):
        self.graphdef, state = experiment.create_state()
        self.state = sharding.replicate(mesh, state)
        self.mesh, self.batch = mesh, batch
        self.transformation = experiment.transformation
        self.method = experiment.method(mesh)
        jitted = step.compile_step(mesh, self.graphdef, self.transformation, self.method)
        super().__init__(jitted, self.state, batch)

    def __call__(self) -> Any:
        self.state, window = self.program(self.state, self.batch)
        return window

    def leave(self) -> None:
        """Take no memory on the devices until `come_back`."""
        self.state = jax.device_get(self.state)

    def come_back(self) -> None:
        self.state = sharding.replicate(self.mesh, self.state)

    def players(self) -> Players:
        """A copy of the players, which the next step does not overwrite."""
        copies = jax.tree.map(jnp.copy, (self.state.params, self.state.statistics))
        return nnx.merge(self.graphdef, *copies)


class Network(Compiled):
    """Scores at the network's stride of uint8 images that lie on the devices."""

    def __init__(self, segmenter: Segmenter, images: jax.Array, extent: jax.Array):
        graphdef, state = nnx.split(segmenter)

        @jax.jit
        def scores(state: Any, images: jax.Array, extent: jax.Array) -> jax.Array:
            return nnx.merge(graphdef, state)(normalize(images, extent))

        self.arguments = state, images, extent
        super().__init__(scores, *self.arguments)

    def __call__(self) -> jax.Array:
        return self.program(*self.arguments)


class Evaluation:
    """Labels of a batch of images from bytes on the host, as `evaluation.evaluate` has them."""

    def __init__(
        self, experiment: Experiment, segmenter: Segmenter, mesh: Mesh, images: np.ndarray
    ):
        self.network = passes.placed(segmenter, mesh)
        self.protocol = experiment.protocol
        self.images = [passes.views(image, self.protocol) for image in images]

    def __call__(self) -> jax.Array:
        return inference.labels(self.network, self.images, self.protocol)


def setting(experiment: Experiment, mesh: Mesh) -> dict[str, Any]:
    """What is measured, with every value of the config."""
    flat = settings.flat(experiment.config)
    return {
        "network": flat["model.name"],
        "output_stride": flat["model.output_stride"],
        "crop": list(flat["augment.crop"]),
        "batch": flat["batch_size"],
        "precision": flat["model.dtype"],
        "classes": experiment.classes.number,
        "arm": flat["arm.kind"],
        "devices": mesh.size,
        "config": flat,
    }


def with_operations(
    parts: Mapping[str, Timing], multiply_adds: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    """The figures of each part, with its operations (twice the multiply-adds) where it counts."""
    return {
        name: time._asdict()
        | ({"operations": 2 * multiply_adds[name]} if name in multiply_adds else {})
        for name, time in parts.items()
    }


def figures(
    time: Timing,
    compiled: Compiled,
    parts: Mapping[str, Mapping[str, float]],
    multiply_adds: Mapping[str, float],
    images: int,
    peak_bytes: int | None,
) -> dict[str, Any]:
    """The figures of a whole program beside those of its parts, of which there may be none."""
    operations = 2 * sum(multiply_adds.values())
    return (
        time._asdict()
        | compiled.facts
        | {
            "images_per_second": images / time.median,
            "operations": operations,
            "operations_per_second": operations / time.median,
            "sum_of_parts": sum(part["median"] for part in parts.values()),
            "sum_of_parts_cpu": sum(part["cpu"] for part in parts.values()),
            "program_bytes": hardware.program_bytes(compiled.program),
            "peak_bytes": peak_bytes,
            "traffic_bytes": hardware.traffic(compiled.program),
        }
    )
