"""The evidence on single pixels: a row in seconds, to see what is worth whole runs.

    python scripts/experiments/screen.py configs/camvid_head.py --root /data/camvid \\
        --workdir runs/screen

Options, rows, kinds of labels, tables and the training step are those of evidence.py. The network
is another: two hidden layers on what the frozen stages make of one pixel, reduced to principal
components. A step draws 2,048 pixels of all training images, every fourth of a row and a column;
there is no crop, mirror image or auxiliary head. Labels are simulated once for all seeds, and all
rows are measured by the average of their weights. Such a network cannot learn wrong labels by
heart, and its features are good from the first step: what it shows is to be shown by evidence.py.
"""

import dataclasses
import datetime
import functools
import itertools
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from arm_jax.system import signals

if __name__ == "__main__":
    signals.start()  # before anything takes long to import

import evidence
import jax
import jax.numpy as jnp
import measure
import screen_data
from flax import nnx
from ml_collections import FrozenConfigDict

from arm_jax import experiment as experiments
from arm_jax import losses, settings, weightings
from arm_jax.networks import resize
from arm_jax.run import starts
from arm_jax.system import command_line, host_memory
from arm_jax.training.given import Distances, teaches
from arm_jax.training.objective import Method
from arm_jax.training.records import Logged
from arm_jax.training.state import Players, TrainState, players
from arm_jax.training.step import create_state, train_step

PIXELS = 2048  # of a step
HIDDEN = (128, 64)
DEFAULTS = {
    "steps": 1000,
    "optimizer.learning_rate": 0.003,
    "targets.average": 0.05,
    "model.auxiliary_weight": 0.0,
}
AT_ONCE = 8  # images to measure


@command_line.answered
def main(argv: Sequence[str] | None = None) -> int:
    return evidence.finish(argv, __doc__, "screen", Bench().made, DEFAULTS)


class PixelNetwork(nnx.Module):
    """Scores (..., classes) of features (..., components), in the place of a `Segmenter`.

    Attributes:
      num_classes: behind them, the channels that the loss needs.
    """

    def __init__(self, components: int, classes: int, channels: int, rngs: nnx.Rngs):
        widths = (components, *HIDDEN, classes + channels)
        pairs = itertools.pairwise(widths)
        self.layers = nnx.List([nnx.Linear(*pair, rngs=rngs) for pair in pairs])
        self.num_classes = classes

    def __call__(
        self, seen: dict[str, jax.Array], auxiliary: bool = False, dropout_key: Any = None
    ) -> Any:
        x = seen["pixels"]
        for layer in list(self.layers)[:-1]:
            x = nnx.relu(layer(x))
        scores = self.layers[-1](x)
        return (scores, scores[..., : self.num_classes]) if auxiliary else scores


class Bench:
    """What runs share: pixels, labels of each kind, programs of each row."""

    def __init__(self) -> None:
        self.pixels: screen_data.Pixels | None = None
        self.drawings = screen_data.Drawings()
        self.program = functools.cache(self._program)

    def made(self, run: evidence.Planned) -> dict[str, Any]:
        """Train and measure a run: its line of results.jsonl."""
        seed, steps = run.cell.seed, run.cell.config.steps
        config = settings.frozen(run.cell.config, {"seed": 0, "log_every": steps})
        if self.pixels is None:
            self.pixels = screen_data.pixels(config)
        day, cpu = datetime.datetime.now(datetime.UTC).date(), time.process_time()
        train = self.program(config)
        graphdef, state, logged = train(seed)
        lost = int(state.window.overflows)
        found: dict[str, Any] = {
            "kind": run.kind,
            "row": run.cell.row,
            "seed": seed,
            "steps": steps,
            "settings": run.settings,
            "diverged": f"{lost} steps were not finite" if lost else "",
        }
        if not lost:
            network = players(graphdef, state, "teacher").segmenter
            found |= dataclasses.asdict(self.measured(network))
            if config.arm.kind != "none":
                found |= {
                    "holder_ratio": float(logged.holder_ratio),
                    "loss_ratio": float(logged.loss_ratio),
                }
        if teaches(config.targets):
            names = ("contradicted_near", "contradicted_beyond", "contradicted_far")
            found |= {name: round(float(getattr(state.beliefs, name)), 4) for name in names}
        found["cpu_seconds"] = round(time.process_time() - cpu, 1)
        return found | {"devices": [starts.devices()], "days": [str(day)]}

    def _program(
        self, config: FrozenConfigDict
    ) -> Callable[[int], tuple[nnx.GraphDef, TrainState, Logged[jax.Array]]]:
        """A function that trains from a seed, compiled once."""
        assert self.pixels is not None
        classes = self.pixels.classes
        drawn = self.drawings.of(config, classes)
        experiment = experiments.build(config, classes)
        method = Method(config, classes.ignore, 1, experiment.class_weights(drawn.counts))
        channels = len(losses.LOSSES[config.loss.kind].channels)
        components = self.pixels.training.shape[-1]

        def create(seed: int) -> tuple[nnx.GraphDef, TrainState]:
            rngs = nnx.Rngs(seed)
            network = PixelNetwork(components, classes.number, channels, rngs)
            both = Players(network, weightings.create(config.arm, rngs))
            return create_state(both, experiment.transformation, "float32", seed, config.targets)

        graphdef, _ = create(0)

        @jax.jit
        def run(
            state: TrainState, key: jax.Array, features: jax.Array, drawn: screen_data.Drawn
        ) -> tuple[TrainState, Logged[jax.Array]]:
            number = drawn.labels.size

            def some(x: jax.Array, places: jax.Array) -> jax.Array:
                return x.reshape(number, *x.shape[3:])[places][None, None]

            def step(state: TrainState, i: jax.Array) -> tuple[TrainState, Logged[jax.Array]]:
                places = jax.random.randint(jax.random.fold_in(key, i), (PIXELS,), 0, number)
                distances = (some(x, places).astype(jnp.float32) for x in drawn.distances)
                batch = {
                    "features": {"pixels": some(features, places)},
                    "label": some(drawn.labels, places),
                    "extent": jnp.array([[1, PIXELS]]),
                    "distances": Distances(*distances),
                }
                return train_step(
                    state,
                    batch,
                    graphdef=graphdef,
                    transformation=experiment.transformation,
                    method=method,
                )

            state, logged = jax.lax.scan(step, state, jnp.arange(config.steps))
            return state, jax.tree.map(lambda x: x[-1], logged)

        def train(seed: int) -> tuple[nnx.GraphDef, TrainState, Logged[jax.Array]]:
            assert self.pixels is not None
            _, state = create(seed)
            return graphdef, *run(state, jax.random.key(seed), self.pixels.training, drawn)

        return train

    def measured(self, network: PixelNetwork) -> measure.Figures:
        """Of the test images."""
        assert self.pixels is not None
        test, labels, number = self.pixels.test, self.pixels.labels, self.pixels.classes.number
        graphdef, state = nnx.split(network)
        batches = (slice(start, start + AT_ONCE) for start in range(0, len(test), AT_ONCE))
        found = (_count(graphdef, number, state, test[some], labels[some]) for some in batches)
        return measure.summed(map(jax.device_get, found), number)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _count(
    graphdef: nnx.GraphDef, number: int, state: nnx.State, seen: jax.Array, labels: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """`measure.counts` of images; compiled once for all networks of a shape."""
    network = nnx.merge(graphdef, state)
    scores = network({"pixels": seen.astype(jnp.float32)})[..., :number]
    return measure.counts(resize(scores, labels.shape[2:]), labels, number)


if __name__ == "__main__":
    host_memory.keep_freed()
    sys.exit(main())
