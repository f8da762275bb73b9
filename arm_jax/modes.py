"""What can be done with a trained run: `--mode evaluate`, `report` and `predict`."""

from collections.abc import Callable
from pathlib import Path

import jax
from flax import nnx
from ml_collections import ConfigDict

from arm_jax import evaluate as evaluation
from arm_jax import metrics, sharding, workdir
from arm_jax import predict as prediction
from arm_jax import report as reports
from arm_jax.checkpoints import Checkpoints
from arm_jax.data import check
from arm_jax.errors import InputError
from arm_jax.experiment import Experiment
from arm_jax.state import Players, TrainState


def restore(
    config: ConfigDict, folder: str | Path, checkpoint: str
) -> tuple[Experiment, Players, TrainState]:
    """The trained players of a run, and all the rest of its state.

    Args:
      config: the config that trained it.
      folder: the run's working directory.
      checkpoint: "latest", "best" or a step.

    Raises:
      InputError: there is no such checkpoint, or it is of another network.
    """
    experiment = Experiment(config)
    checkpoints = Checkpoints(folder, read_only=True)
    step = checkpoints.find(checkpoint)
    experiment.classes = workdir.read_classes(folder)
    graphdef, state = experiment.abstract_state(sharding.make_mesh())
    state, _ = checkpoints.restore(step, state)
    checkpoints.close()
    workdir.say(f"restored step {step} of {folder}")
    return experiment, nnx.merge(graphdef, state.params, state.statistics), state


def evaluate(config: ConfigDict, folder: str, checkpoint: str = "latest") -> evaluation.Result:
    """Evaluate a checkpoint on the config's evaluation split; writes `eval.json`."""
    experiment, players, state = restore(config, folder, checkpoint)
    source = experiment.evaluation_source()
    check.check(source, name="evaluation", cache=Path(folder))
    result = experiment.evaluate(players, source, sharding.make_mesh())
    experiment.write_report(Path(folder), result, step=int(state.step))
    return result


def report(config: ConfigDict, folder: str, checkpoint: str = "latest") -> None:
    """Draw a checkpoint's pictures into the run's folder."""
    experiment, players, state = restore(config, folder, checkpoint)
    drawn = reports.draw(
        Path(folder),
        players,
        state,
        experiment.evaluation_source(),
        experiment.evaluation_source(labelled_as="training"),
        kind=config.arm.input,
        p=config.arm.p,
    )
    workdir.say("\n".join(f"drew {path}" for path in drawn))


def predict(
    config: ConfigDict, folder: str, checkpoint: str, images: str | None, output: str | None
) -> None:
    """Label every image of a folder; index PNGs and colour overlays go to `output`."""
    if images is None:
        raise InputError("--mode predict needs --input, a folder of images")
    if jax.process_count() > 1:
        raise InputError("--mode predict runs in one process; leave out --coordinator")
    experiment, players, _ = restore(config, folder, checkpoint)
    target = Path(output) if output else Path(folder) / "predictions"
    prediction.predict_folder(players.segmenter, images, target, experiment.classes)
    workdir.say(f"predictions are in {target}")


def show(result: evaluation.Result, folder: str) -> None:
    """The table of an evaluation."""
    workdir.say(metrics.table(result.scores, workdir.read_classes(folder).names))


def show_differences(config: ConfigDict, get_config: Callable[..., ConfigDict]) -> None:
    """Print what a row, and overrides, change against the base model of the same file."""
    base = Experiment(get_config("base")).flat_config()
    changes = [
        f"  {key:<28}{base[key]!r:>12} -> {value!r}"
        for key, value in Experiment(config).flat_config().items()
        if value != base[key]
    ]
    workdir.say("\n".join(["changed against the base model (row `base`):", *changes]))
    if not changes:
        workdir.say("  nothing")
