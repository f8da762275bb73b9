"""A whole but tiny training set-up: a few thousand parameters, compiled in seconds."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from arm_jax import arm, networks, optimizer, schedules, settings
from arm_jax.networks import batchnorm
from arm_jax.system import sharding
from arm_jax.training import step
from arm_jax.training.objective import Method
from arm_jax.training.state import Players, TrainState

CLASSES = 5
# For the compiler: in the quickest way, that of `make test`, programs that should be equal bit by
# bit are rounded differently.
EXACT = {"xla_backend_optimization_level": 1}
SIZES = {
    "depths": (1, 1, 1, 1),
    "width": 8,
    "channels": 16,
    "low_level_channels": 4,
    "auxiliary_channels": 8,
}
# Smaller still, for tests of names and files, which compute little or nothing.
LEAST = {**SIZES, "width": 4, "channels": 8, "auxiliary_channels": 4}


def sizes(name: str, **others) -> dict:
    """Of `SIZES`, changed by `others`, those that the network of this name has."""
    row = networks.ARCHITECTURES[name]
    known = {**networks.BACKBONES[row.backbone].sizes, **networks.HEADS[row.head].sizes}
    here = {**SIZES, "object_channels": 4, **others}
    return {size: here[size] for size in here if size in known or hasattr(row, size)}


def shrink(monkeypatch, name: str = "deeplabv3plus_resnet18", **others) -> None:
    """Have the network of this name made tiny, wherever it is made."""
    row = networks.ARCHITECTURES[name].sized(**sizes(name, **others))
    monkeypatch.setitem(networks.ARCHITECTURES, name, row)


def segmenter(dtype: str = "float32", seed: int = 0, **sizes) -> networks.Segmenter:
    return networks.create(
        "deeplabv3plus_resnet18",
        CLASSES,
        output_stride=16,
        dtype=jnp.dtype(dtype),
        rngs=nnx.Rngs(seed),
        **SIZES | sizes,
    )


class Small(nnx.Module):
    """Two layers with BatchNorm and dropout, where what is tested is no matter of the network."""

    def __init__(self, dtype: str = "float32", seed: int = 0):
        self.num_classes, rngs = CLASSES, nnx.Rngs(seed)
        options = {"strides": 2, "dtype": jnp.dtype(dtype), "rngs": rngs}
        self.stem = nnx.Conv(3, 8, (3, 3), **options)
        self.norm = batchnorm.BatchNorm(8, rngs=rngs)
        self.dropout = nnx.Dropout(0.1, deterministic=True)
        self.head = nnx.Conv(8, CLASSES, (3, 3), **options)
        self.auxiliary_head = nnx.Conv(8, CLASSES, (1, 1), **options)

    def __call__(self, images, auxiliary=False, dropout_key=None):
        features = jax.nn.relu(self.norm(self.stem(images)))
        features = self.dropout(features, rngs=dropout_key)
        scores = self.head(features).astype(jnp.float32)
        if not auxiliary:
            return scores
        return scores, self.auxiliary_head(features).astype(jnp.float32)


def least(name: str = "deeplabv3plus_resnet18", classes: int = CLASSES, **options):
    """A network of sizes `LEAST`."""
    return networks.create(
        name, classes, **{"rngs": nnx.Rngs(0), **sizes(name, **LEAST), **options}
    )


def normal(seed: int, *shape: int) -> jax.Array:
    """Random numbers of mean 0 and deviation 1."""
    return jax.random.normal(jax.random.key(seed), shape)


# The settings of a run for those that look at its files: a step or two of one small program.
QUICK = {
    "steps": 1,
    "batch_size": 2,
    "augment.crop": (32, 32),
    "model.name": "deeplabv3plus_resnet18",
    "model.output_stride": 16,
    "model.dtype": "float32",
    "model.pretrained": "",
    "evaluation.batch_size": 1,
    "log_every": 1,
    "eval_every": 1,
    "save_every": 1,
}


def on_one_device(monkeypatch) -> None:
    """Use the first device alone, so that what is compiled for it serves all modes."""
    make_mesh, alone = sharding.make_mesh, jax.devices()[:1]
    monkeypatch.setattr(sharding, "make_mesh", lambda devices=None: make_mesh(devices or alone))


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


def method(changes: dict | None = None, devices: int = 1) -> Method:
    """The settings of a step: `changes` of the defaults, by dotted key."""
    config = settings.frozen(settings.defaults(), {"steps": 100} | (changes or {}))
    return Method(config, devices=devices)


@functools.cache
def _compiled(devices: int, with_arm: bool, dtype: str, remat: bool, method: Method, small: bool):
    """What runs of equal settings share: the program, and a first state to copy."""
    network = Small(dtype) if small else segmenter(dtype, remat=remat)
    players = Players(network, arm.Arm(rngs=nnx.Rngs(1)) if with_arm else None)
    schedule = schedules.learning_rate(method.config.steps, warmup=0.0)
    transformation = optimizer.create(schedule, arm_multiplier=10.0)
    graphdef, state = step.create_state(
        players, transformation, dtype, targets=method.config.targets
    )
    mesh = sharding.make_mesh(jax.devices()[:devices])
    return mesh, graphdef, state, step.compile_step(mesh, graphdef, transformation, method)


class Run:
    """A state and the step that changes it, on the first `devices` simulated devices.

    With `exact`, the step is compiled for comparisons bit by bit; see `EXACT`.
    """

    def __init__(
        self,
        changes: dict | None = None,
        *,
        devices: int = 1,
        with_arm: bool = True,
        dtype: str = "float32",
        remat: bool = False,
        small: bool = False,
        exact: bool = False,
    ):
        self._exact = exact
        plain = {"arm.isolated": 0.0, "augment.jitter": False, "log_every": 3}
        self.method = method(plain | (changes or {}), devices)
        self.mesh, self.graphdef, state, self.compiled = _compiled(
            devices, with_arm, dtype, remat, self.method, small
        )
        self.state: TrainState = sharding.replicate(self.mesh, state)

    def step(self, numpy_batch: dict[str, np.ndarray]) -> dict[str, float]:
        batch = sharding.shard_batch(self.mesh, numpy_batch)
        if self._exact:
            self.compiled = self.compiled.lower(self.state, batch).compile(EXACT)
            self._exact = False
        self.state, logged = self.compiled(self.state, batch)
        values = {**logged.window._asdict(), **logged._asdict()}
        del values["window"]
        found = jax.device_get({name: x for name, x in values.items() if x is not None})
        return {name: x.item() for name, x in found.items()}

    def params(self, player: str = "segmenter") -> np.ndarray:
        return flat(self.state.params[player])

    def statistics(self) -> np.ndarray:
        return flat(self.state.statistics)

    def players(self) -> Players:
        """A copy of the players, that the next step does not donate."""
        state = jax.tree.map(jnp.copy, (self.state.params, self.state.statistics))
        return nnx.merge(self.graphdef, *state)


def flat(tree) -> np.ndarray:
    return np.concatenate([np.array(x).ravel() for x in jax.tree.leaves(jax.device_get(tree))])
