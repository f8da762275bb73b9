"""The training loop: from a config and labelled images to a checkpoint and a number (Sec. 4.2)."""

import contextlib
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from ml_collections import ConfigDict

from arm_jax import consistency, settings
from arm_jax import experiment as experiments
from arm_jax.data import check, sources
from arm_jax.evaluation import evaluate
from arm_jax.experiment import Experiment
from arm_jax.run import describe, feature_cache, inputs, mirror, page, restore, trackers
from arm_jax.run import folder as run_folder
from arm_jax.run import patience as patiences
from arm_jax.run.checkpoint_files import set_damaged_aside
from arm_jax.run.checkpoints import Checkpoints
from arm_jax.run.prefetch import Prefetcher
from arm_jax.run.progress import Progress
from arm_jax.run.signals import Requests
from arm_jax.system import addresses, compilation, memory, processes, sharding, signals, terminal
from arm_jax.system.errors import Stopped
from arm_jax.training.state import TrainState, players
from arm_jax.training.step import compile_step
from arm_jax.weights import weight_files

# What decides about the memory of a step and of an evaluation, in the order in which to try it.
STEP_MEMORY = ("accumulate", "model.remat", "batch_size", "augment.crop", "model.name")
EVALUATION_MEMORY = ("evaluation.batch_size", "evaluation.keep_logits_on", "evaluation.crop")


def train(config: ConfigDict, workdir: str | Path, *, mesh: Mesh | None = None) -> evaluate.Result:
    """Train to `config.steps`, continuing from the newest checkpoint in `workdir` if there is one.

    Args:
      config: as from `configs/`, or from `run.configs.load`.
      workdir: see `arm_jax.run.folder`; a run that was stopped or killed continues when
        called again.
      mesh: the devices (default: all of them).

    Returns:
      The evaluation after the last step, also written to `eval.json`.

    Raises:
      InputError: bad data, config, or working directory.
      Diverged: a loss or gradient is not finite. The steps that met it changed nothing.
      Stopped: SIGINT, SIGTERM or SIGHUP was received; the state was saved first. Until the first
        step is made there is nothing to save, and `signals.Interrupted` is raised.
    """
    mesh = sharding.make_mesh() if mesh is None else mesh
    config = consistency.checked(config)
    trackers.require(config.tracker)
    # Refuses a batch that cannot be split.
    number = sharding.local_batch_size(config.batch_size, mesh, parts=config.accumulate)
    memory.refuse_batch(number, config.augment.crop)
    compilation.keep_in(config.compilation_cache)
    with mirror.opened(workdir) as folder, run_folder.writing(folder):
        return _train(config, folder, mesh)


def _train(config: ConfigDict, workdir: Path, mesh: Mesh) -> evaluate.Result:
    run_folder.open_folder(workdir, config)
    train_source = inputs.training_source(config)
    eval_source = inputs.evaluation_source(config, train_source.classes)
    experiment = experiments.build(config, train_source.classes)
    run_folder.write_classes(workdir, experiment.classes, len(train_source))
    terminal.say(describe.run(config, train_source, eval_source, mesh, experiment.protocol))
    processes.once(functools.partial(set_damaged_aside, workdir))
    checkpoints = Checkpoints(workdir, keep=config.keep)
    newest = processes.from_first(checkpoints.latest_step)
    weights = first_weights(experiment) if newest is None else ""
    splits = {"training": train_source, "evaluation": eval_source}
    pixels = _check_labels(experiment, splits, workdir)

    graphdef, state, position = _start(experiment, checkpoints, newest, weights, workdir, mesh)
    first = int(state.step)
    method = experiment.method(mesh, pixels)
    step_function = compile_step(mesh, graphdef, experiment.transformation, method)
    kept = None
    if config.model.feature_cache:
        model = players(graphdef, state).segmenter
        kept = feature_cache.prepare(model, train_source, config)
    batches = iter(experiment.batches(train_source, kept))
    if position is not None:
        batches.set_state(position)
    prefetcher = Prefetcher(
        batches, lambda batch: sharding.shard_batch(mesh, batch), depth=config.input.prefetch
    )
    progress = Progress(
        config, workdir, prefetcher, checkpoints, first_step=first, schedule=experiment.schedule
    )

    def evaluated(leave: Callable[[], int | None] | None = None) -> evaluate.Result:
        with memory.explained("the evaluation", _remedies(config, EVALUATION_MEMORY)):
            found = players(graphdef, state, config.evaluation.weights)
            return experiment.evaluate(found, eval_source, mesh, leave)

    def is_due(step: int) -> bool:
        return step == config.steps or step % config.eval_every == 0

    patience = patiences.after(config.patience, progress.evaluations())

    coarse = functools.cache(lambda: page.as_trained_on(config, experiment.classes))

    def drawn(step: int) -> dict[str, bytes]:
        found = players(graphdef, state)
        trained = page.Trained(workdir, experiment, found, state.histogram, step)
        return page.pictures(trained, mesh, eval_source, coarse())

    def judged(step: int, result: evaluate.Result) -> None:
        images = functools.partial(drawn, step) if config.log_images else None
        progress.after_evaluation(step, result, experiment.classes, images)
        patience.add(step, result.scores.mIoU)
        if patience.is_over and step < config.steps:
            terminal.say(
                f"stops at step {step} of {config.steps}: {patience.since} evaluations without a"
                f" better mIoU than {patience.best:.2f} at step {patience.best_step}"
            )

    last, result = first, None
    try:
        if position is not None and is_due(first):
            # The run may have been stopped in the middle of this evaluation, or right after it.
            logged, scored = progress.was_evaluated(first), checkpoints.has_score(first)
            if not (logged and scored):
                result = evaluated()
                if not logged:
                    judged(first, result)
                checkpoints.add_score(first, result.scores.mIoU)
        with signals.listening() as listener, contextlib.ExitStack() as once_there_is_something:
            requests = Requests(listener)
            goes_on = first < config.steps and not patience.is_over
            if goes_on:
                terminal.say("compiling the step, or taking it from the compiled programs kept")
            for step in range(first + 1, config.steps + 1) if goes_on else ():
                last = step
                batch, position = prefetcher.next(in_flight=progress.in_flight)
                with memory.explained(f"step {step}", _remedies(config, STEP_MEMORY)):
                    with jax.transfer_guard("disallow"):
                        state, window = step_function(state, batch)
                    progress.after_step(step, window)
                if step == first + 1:  # which was compiled
                    once_there_is_something.enter_context(listener.deferred())

                stop = requests.received(step)
                result = None
                if is_due(step):
                    progress.flush()
                    try:
                        result = _evaluated_unless_stopped(evaluated, listener)
                    except signals.Interrupted as error:
                        stop = error.number
                    else:
                        judged(step, result)
                ends = result is not None and (step == config.steps or patience.is_over)
                due = is_due(step) or stop or step % config.save_every == 0
                if due or checkpoints.owes_a_save:
                    progress.flush()
                    miou = None if result is None else result.scores.mIoU
                    checkpoints.save(step, state, position, miou=miou, last=bool(ends or stop))
                if ends:
                    break
                if stop:
                    checkpoints.wait()
                    name = signals.name(stop)
                    raise Stopped(
                        f"{name}: saved at step {step} of {config.steps} in {workdir}", stop
                    )
        if result is None:  # The run was complete already.
            result = evaluated()
    finally:
        progress.close()
        prefetcher.close()
        batches.close()
        checkpoints.close()
    experiment.write_report(workdir, result, step=last)
    found = players(graphdef, state)
    trained = page.Trained(workdir, experiment, found, state.histogram, last)
    processes.once(lambda: page.write(trained, mesh))
    return result


def _evaluated_unless_stopped(
    evaluated: Callable[[Callable[[], int | None] | None], evaluate.Result],
    listener: signals.Listener,
) -> evaluate.Result:
    """An evaluation, which a signal ends, since a restart makes it anew.

    A single process leaves it at any instruction; those that share one leave it after a batch, and
    together.

    Raises Interrupted, in every process, when one was asked to stop.
    """
    if jax.process_count() > 1:
        return evaluated(lambda: listener.number)
    with listener.raising():
        return evaluated(None)


def _remedies(config: ConfigDict, keys: tuple[str, ...]) -> dict[str, Any]:
    flat = settings.flat(config)
    return {key: flat[key] for key in keys}


def _check_labels(
    experiment: Experiment, splits: dict[str, sources.Source], workdir: Path
) -> tuple[int, ...]:
    """Refuse labels that cannot be trained on, and report what they hold.

    Returns the labelled pixels of each class in training, if balanced class weights need them.
    """
    config, training = experiment.config, splits["training"]
    counted = {
        name: check.check(source, name=name, cache=workdir) for name, source in splits.items()
    }
    found = {name: checked for name, checked in counted.items() if checked is not None}
    if text := processes.from_first(
        lambda: describe.labels(config, training, splits["evaluation"], found)
    ):
        terminal.say(text)
    counts: tuple[int, ...] = ()
    if config.loss.class_weights == "balanced":
        counts = check.pixels(training, counted["training"])
    if weights := experiment.class_weights(counts):
        named = zip(experiment.classes.names, weights, strict=True)
        terminal.say("class weights  " + ", ".join(f"{name} {x:.3g}" for name, x in named))
    return counts


def first_weights(experiment: Experiment) -> str | dict[str, np.ndarray]:
    """What a new run's network starts from, by `model.pretrained`; "" for random weights.

    Raises InputError when it is not there, before anything takes long.
    """
    setting = experiment.config.model.pretrained
    if addresses.is_address(setting):
        in_bucket = setting.startswith("gs://") and not weight_files.is_staged(setting)
        return restore.tensors(setting) if in_bucket else experiment.fetch_pretrained()
    if setting and run_folder.is_run(Path(setting).expanduser()):
        return restore.tensors(setting)
    return experiment.fetch_pretrained()


def _start(
    experiment: Experiment,
    checkpoints: Checkpoints,
    step: int | None,
    weights: str | dict[str, np.ndarray],
    workdir: Path,
    mesh: Mesh,
) -> tuple[nnx.GraphDef, TrainState, dict[str, Any] | None]:
    """The state to go on from, and the input position if it comes from the checkpoint `step`."""
    if step is None:
        graphdef, state = experiment.create_state(weights)
        terminal.say(describe.parameters(state, workdir))
        return graphdef, sharding.replicate(mesh, state), None
    graphdef, state = experiment.abstract_state(mesh)
    state, position = checkpoints.restore(step, state)
    terminal.say(f"continuing from step {step} of {experiment.config.steps} in {workdir}")
    return graphdef, state, position
