"""A trained run, from its folder alone: the network with its classes, on any image.

run = arm_jax.load("runs/mine", checkpoint="best")
labels = run.predict("photograph.jpg")
"""

import dataclasses
from pathlib import Path

import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from arm_jax import experiment as experiments
from arm_jax.experiment import Experiment
from arm_jax.networks import Segmenter
from arm_jax.run import configs, metrics_log, mirror
from arm_jax.run import folder as run_folder
from arm_jax.run.checkpoints import Checkpoints
from arm_jax.run.predicting import Predicts
from arm_jax.system import compilation, sharding, terminal
from arm_jax.system.errors import InputError
from arm_jax.training.state import Players, TrainState, players
from arm_jax.weights import weight_names


@dataclasses.dataclass(frozen=True)
class Run(Predicts):
    """A trained run. Made by `load`; it changes nothing in the run's folder.

    Attributes:
      folder: where it was loaded from; of a run in a bucket, a copy of its small files.
      step: of the checkpoint.
      scores: mIoU, mAcc and aAcc in percent of the evaluation at that step; {} if there was none.
      experiment: the run's settings, and what is made of them.
      players: the network and its ARM, as trained; or with the teacher's network, see
        `evaluation.weights`.
      state: all of the checkpoint.
      remarks: how the settings in use differ from those of the training, in words.
    """

    folder: Path
    step: int
    scores: dict[str, float]
    experiment: Experiment
    players: Players
    state: TrainState
    remarks: tuple[str, ...]

    @property
    def model(self) -> Segmenter:
        """The network, in evaluation mode."""
        return self.players.segmenter


def load(
    folder: str | Path,
    checkpoint: str | int = "latest",
    *,
    config: ConfigDict | None = None,
    mesh: Mesh | None = None,
) -> Run:
    """Load a trained run from its folder, or from a copy of it; no data set is needed.

    Args:
      folder: the run's working directory, also as gs://bucket/run; it is only read.
      checkpoint: "latest", "best" (by mIoU) or a step.
      config: other settings for evaluation and data, complete as from `run.configs.load`; those
        of the network and of the training stay the run's.
      mesh: devices to place it on; the first one by default.

    Raises:
      InputError: there is no such run or checkpoint, it is damaged, or `config` has another
        network.
    """
    folder = mirror.folder_of(folder, "")
    mirror.fetch(folder)
    checkpoints = Checkpoints(folder, read_only=True)
    try:
        step = checkpoints.find(str(checkpoint))
        chosen, remarks = configs.used(folder, config)
        classes = run_folder.read_classes(folder)
        named = chosen.data.classes
        if len(named) > 1 and named != classes.names:
            raise InputError(
                f"data.classes = {named}, but the classes of {folder} are"
                f" {', '.join(classes.names)}; leave that out, since a run knows its classes"
            )
        experiment = experiments.build(chosen, classes)
        if mesh is None:
            mesh = sharding.one_device()
        graphdef, state = experiment.abstract_state(mesh)
        state, _ = checkpoints.restore(step, state)
    finally:
        checkpoints.close()
    found = players(graphdef, state, chosen.evaluation.weights)
    scores = metrics_log.scores_at(folder, step)
    return Run(folder, step, scores, experiment, found, state, tuple(remarks))


def opened(
    config: ConfigDict | None,
    folder: str | Path,
    checkpoint: str = "latest",
    all_devices: bool = False,
) -> Run:
    """As `load`, with a line at the terminal on what was restored and on each setting that differs.

    Args:
      config: None for the run's own settings.
      folder, checkpoint: as for `load`.
      all_devices: place it on all of them, not on the first one.
    """
    config = configs.used(folder)[0] if config is None else config
    compilation.keep_in(config.compilation_cache)
    run = load(
        folder, checkpoint, config=config, mesh=sharding.make_mesh() if all_devices else None
    )
    terminal.say("\n".join([f"restored step {run.step} of {run.folder}", *run.remarks]))
    return run


def tensors(folder: str | Path) -> dict[str, np.ndarray]:
    """The network's tensors of a run's best checkpoint, by our names: `pretrained.load` reads them.

    Raises InputError as `load`.
    """
    run = load(folder, "best")
    model = run.experiment.config.model
    terminal.say(
        f"starts from step {run.step} of {folder}, {model.name} at output stride"
        f" {model.output_stride}"
    )
    found = weight_names.variables(run.model)
    return {name: np.asarray(variable[...]) for name, variable in found.items()}
