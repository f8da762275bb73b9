"""A config to a step that can be called again and again."""

import time
from typing import Any

import jax
import numpy as np
from flax import nnx

from arm_jax import sharding
from arm_jax.data import labels
from arm_jax.experiment import Experiment
from arm_jax.training import step
from configs import base


def experiment(rows: str, overrides: dict[str, Any], classes: str) -> Experiment:
    config = base.get_config(rows)
    config.update_from_flattened_dict(overrides)
    made = Experiment(config)
    made.classes = labels.BY_NAME[classes]
    return made


def batch(batch_size: int, crop: tuple[int, int], classes: int, seed: int = 0) -> dict[str, Any]:
    """Random bytes as images, random classes in blocks of 8x8 pixels, 30 % of them without label."""
    rng = np.random.default_rng(seed)
    height, width = crop
    blocks = rng.integers(0, classes, (batch_size, -(-height // 8), -(-width // 8)))
    blocks[rng.random(blocks.shape) < 0.3] = 255
    label = blocks.repeat(8, 1).repeat(8, 2)[:, :height, :width].astype(np.uint8)
    return {
        "image": rng.integers(0, 256, (batch_size, height, width, 3), dtype=np.uint8),
        "label": label,
        "extent": np.tile(np.asarray(crop, np.int32), (batch_size, 1)),
        "key": rng.integers(0, 2**32, (batch_size, 2), dtype=np.uint32),
    }


class Training:
    """A compiled step of the project, its state, and one batch on the devices."""

    def __init__(self, experiment: Experiment):
        config = experiment.config
        self.experiment = experiment
        self.mesh = sharding.make_mesh()
        self.graphdef, state = experiment.create_state()
        self.state = sharding.replicate(self.mesh, state)
        crop = tuple(config.augment.crop)
        self.batch = sharding.shard_batch(
            self.mesh, batch(config.batch_size, crop, experiment.classes.number)
        )
        self.transformation = experiment.transformation()
        self.method = experiment.method(self.mesh)
        compiled = step.compile_step(self.mesh, self.graphdef, self.transformation, self.method)
        start = time.perf_counter()
        lowered = compiled.lower(self.state, self.batch)
        self.lower_seconds = time.perf_counter() - start
        self.program = lowered.compile()
        self.compile_seconds = time.perf_counter() - start - self.lower_seconds

    def __call__(self) -> Any:
        self.state, window = self.program(self.state, self.batch)
        return window

    def players(self) -> Any:
        return nnx.merge(self.graphdef, *jax.tree.map(lambda x: x.copy(), (self.state.params, self.state.statistics)))
