"""A trained run, from its folder to the objects that use it."""

from pathlib import Path

from flax import nnx
from ml_collections import ConfigDict

from arm_jax.experiment import Experiment
from arm_jax.run import folder as run_folder
from arm_jax.run.checkpoints import Checkpoints
from arm_jax.system import compilation, sharding, terminal
from arm_jax.training.state import Players, TrainState


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
    compilation.keep_in(config.compilation_cache)
    checkpoints = Checkpoints(folder, read_only=True)
    step = checkpoints.find(checkpoint)
    experiment.classes = run_folder.read_classes(folder)
    graphdef, state = experiment.abstract_state(sharding.make_mesh())
    state, _ = checkpoints.restore(step, state)
    checkpoints.close()
    terminal.say(f"restored step {step} of {folder}")
    return experiment, nnx.merge(graphdef, state.params, state.statistics), state
