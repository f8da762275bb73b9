"""A whole but tiny training set-up: a few thousand parameters, compiled in seconds."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from arm_jax import arm, networks, optimizer, schedules, sharding, step
from arm_jax.state import Players, TrainState

CLASSES = 5
SIZES = {
    "depths": (1, 1, 1, 1),
    "width": 8,
    "channels": 16,
    "low_level_channels": 4,
    "auxiliary_channels": 8,
}


def segmenter(dtype: str = "float32", seed: int = 0, **sizes) -> networks.Segmenter:
    return networks.create(
        "deeplabv3plus_resnet18",
        CLASSES,
        output_stride=16,
        dtype=jnp.dtype(dtype),
        rngs=nnx.Rngs(seed),
        **SIZES | sizes,
    )


def batch(size: int = 8, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, (size, 8, 8)).repeat(4, 1).repeat(4, 2).astype(np.uint8)
    images = rng.integers(0, 256, (size, 32, 32, 3)) // 2 + 25 * labels[..., None]
    labels[rng.random(labels.shape) < 0.3] = 255
    return {
        "image": images.astype(np.uint8),
        "label": labels,
        "extent": np.full((size, 2), 32, np.int32),
        "key": rng.integers(0, 2**32, (size, 2), dtype=np.uint32),
    }


class Run:
    """A compiled step with its state, for a mesh of the first `devices` simulated devices."""

    def __init__(
        self, *, devices: int = 1, with_arm: bool = True, dtype="float32", rate=0.02, **method
    ):
        players = Players(segmenter(dtype), arm.Arm(rngs=nnx.Rngs(1)) if with_arm else None)
        transformation = optimizer.create(schedules.learning_rate(100, rate, warmup=0.0))
        self.method = step.Method(**{"total_steps": 100, "isolated": 0.0, **method})
        self.graphdef, state = step.create_state(players, transformation, dtype)
        self.mesh = sharding.make_mesh(jax.devices()[:devices])
        self.state: TrainState = sharding.replicate(self.mesh, state)
        self.compiled = step.compile_step(self.mesh, self.graphdef, transformation, self.method)

    def step(self, numpy_batch: dict[str, np.ndarray]) -> dict[str, float]:
        self.state, window = self.compiled(self.state, sharding.shard_batch(self.mesh, numpy_batch))
        return {name: x.item() for name, x in jax.device_get(window).items()}

    def params(self, player: str = "segmenter") -> np.ndarray:
        leaves = jax.tree.leaves(jax.device_get(self.state.params[player]))
        return np.concatenate([x.ravel() for x in leaves])

    def statistics(self) -> np.ndarray:
        leaves = jax.tree.leaves(jax.device_get(self.state.statistics))
        return np.concatenate([x.ravel() for x in leaves])

    def players(self) -> Players:
        return nnx.merge(self.graphdef, self.state.params, self.state.statistics)
