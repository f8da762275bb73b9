"""What can be done with a trained run: `--mode evaluate`, `report`, `predict`,
`relabel` and `server`."""

import functools
import shlex
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from arm_jax import settings, targets
from arm_jax.data import check, records
from arm_jax.data.labels import Classes
from arm_jax.data.sources import Source
from arm_jax.evaluation import evaluate as evaluation
from arm_jax.evaluation import metrics, server_files
from arm_jax.evaluation import predict as predict_files
from arm_jax.evaluation import relabel as relabels
from arm_jax.run import configs, folds, inputs, metrics_log, mirror, page, refusals, restore
from arm_jax.run import folder as run_folder
from arm_jax.run.checkpoints import Checkpoints
from arm_jax.system import names, outputs, processes, sharding, terminal
from arm_jax.system.errors import InputError
from arm_jax.training import beliefs


@mirror.uploads
def evaluate(
    config: ConfigDict | None, folder: str | Path, checkpoint: str = "latest"
) -> evaluation.Result:
    """Evaluate a checkpoint on the evaluation split; writes `eval.json` and the run's page.

    Args:
      config: the settings to use the run with, see `restore.load`; None for its own.
      folder: the run's working directory.
      checkpoint: "latest", "best" or a step.
    """
    run = restore.opened(config, folder, checkpoint, all_devices=True)
    processes.once(functools.partial(run_folder.claim, run.folder))
    experiment = run.experiment
    source = inputs.evaluation_source(experiment.config, run.classes)
    check.check(source, name="evaluation", cache=run.folder)
    mesh = sharding.make_mesh()
    result = experiment.evaluate(run.players, source, mesh)
    experiment.write_report(run.folder, result, step=run.step)
    processes.once(lambda: page.write(page.of(run), mesh))
    return result


@mirror.uploads
def report(
    config: ConfigDict | None,
    folder: str | Path,
    checkpoint: str = "latest",
    output: str | None = None,
) -> None:
    """Draw a checkpoint's page and figures. Nothing is evaluated.

    Args:
      config, folder, checkpoint: as for `evaluate`.
      output: a folder to draw into; None for the run's own.
    """
    # Nothing else needs matplotlib.
    from arm_jax.reporting import report as figures

    run = restore.opened(config, folder, checkpoint)
    target = names.local(output, "--output") if output else run.folder
    if target == run.folder:
        run_folder.claim(target)
    drawing = page.Page(page.of(run), sharding.one_device())
    drawn, evaluated = [drawing.write(target)], drawing.evaluated
    drawn += figures.draw(
        target,
        f"{run.folder.name}, step {run.step:,}",
        run.classes,
        samples=drawing.spread(),
        matrix=None if evaluated is None else evaluated.matrix,
        calibration=None if evaluated is None else evaluated.values.get("calibration"),
        histogram=run.state.histogram,
        records=drawing.records,
        p=run.experiment.config.arm.p,
    )
    terminal.say("\n".join([*drawing.notes, *(f"drew {path}" for path in drawn)]))


@mirror.uploads
def predict(
    config: ConfigDict | None,
    folder: str | Path,
    checkpoint: str,
    images: str | None,
    output: str | None,
    maps: Collection[str] = (),
    threshold: float = 0.0,
) -> None:
    """Label images; index PNGs, colour overlays and a table go to `output`.

    Images go through the network as in evaluation. `images`, `maps` and `threshold` as for
    `evaluation.predict.predict_images`, the others as for `evaluate`.
    """
    images = refusals.images_to_label(images)
    run = restore.opened(config, folder, checkpoint)
    target = names.local(output, "--output") if output else run.folder / "predictions"
    mirror.fetch(target, below=True)
    if not isinstance(mirror.place(target), Path):
        # Each process has a folder of its own, and uploads what it wrote there.
        processes.once(lambda: outputs.check(target, predict_files.COMMAND))
        if not processes.is_first():
            outputs.claim(target, predict_files.COMMAND)
    predict_files.predict_images(
        run.model,
        images,
        target,
        run.classes,
        maps=maps,
        threshold=threshold,
        protocol=run.experiment.protocol,
        orientation=run.experiment.config.data.orientation,
        cut=run.experiment.blocks,
    )
    terminal.say(
        f"predictions are in {target}; {predict_files.TABLE} lists the images, the least sure first"
    )


@mirror.uploads
def relabel(
    config: ConfigDict | None,
    folder: str | Path,
    checkpoint: str = "latest",
    output: str | None = None,
) -> Path:
    """Write what the training believes of its labels as a label folder beside them, and a page.

    All images of the splits are labelled, whatever `data.train_images` and `data.fold` leave out,
    by the thresholds that `config` has; with `review.folds`, each by a run that it was left out of.
    The labels to evaluate on are copied as they are: one
    setting names the folder of both.

    Args:
      config, folder, checkpoint: as for `evaluate`.
      output: a folder; None for the labels' with `_relabelled` behind its name.

    Returns:
      The folder.

    Raises:
      InputError: the labels are of no folder, or see `relabel.relabel`.
    """
    # Pages need jinja2, and nothing else here does.
    from arm_jax.reporting import relabelled

    run = restore.opened(config, folder, checkpoint)
    used = run.experiment.config
    target = refusals.relabelled_folder(used, output)
    # How sure is sure may be chosen anew, unlike what the run was trained with.
    limits = used.targets if config is None else config.targets
    parts = used.data.train_split.split("+")
    found = [inputs.labelled_as_training(used, part) for part in parts]
    copies, place = _labels_to_evaluate_on(used, target, run.classes)
    number = sum(len(source) for source in found)
    terminal.say(
        f"believing    the {used.evaluation.weights} of step {run.step}, of {number:,} images;"
        f" completes above {limits.complete_above:g}, corrects above {limits.correct_above:g}"
    )
    changes = []
    for judge, numbers in _judges(run, found):
        belief = _belief(judge, limits)
        for part, source, its in zip(parts, found, numbers, strict=True):
            for change in relabels.relabel(
                belief, source, target, run.classes, split=part, numbers=its
            ):
                changes.append(change)
                _, _, corrected, completed = change.shares
                terminal.say(f"{change.name}: {corrected:.1%} corrected, {completed:.1%} completed")
    for part, source in copies:
        relabels.copy(source, place, run.classes, split=part)
    page = relabelled.write(
        target / "changes.html",
        sorted(changes, key=lambda one: one.name),
        lambda change: relabels.stored(target, change.name),
        run.classes,
        _seen(used.review.folds),
    )
    labels = target / "labels"
    root = names.local(used.data.root, "data.root")
    inside = labels.is_relative_to(root)
    named = labels.relative_to(root).as_posix() if inside else labels.as_posix()
    overrides = [f"--config.data.label_folder={named}"]
    if used.data.label_values:
        overrides.append("--config.data.label_values=()")
    if used.data.coarsen:
        overrides.append("--config.data.coarsen=")
    terminal.say(f"the largest changes are in {page}\nto train on them: {' '.join(overrides)}")
    return target


def _judges(
    run: restore.Run, sources: Sequence[Source]
) -> Iterator[tuple[restore.Run, list[Sequence[int]]]]:
    """The networks that judge, each with the numbers of its records in each of the sources.

    With `review.folds` these are the runs that an image was left out of, else the run itself.
    """
    config = run.experiment.config
    if not config.review.folds:
        yield run, [range(len(source)) for source in sources]
        return
    everything = inputs.labelled_as_training(config, config.data.train_split)
    folds.check(config, len(everything))
    place = {records.named(everything, n): n for n in range(len(everything))}
    of = [
        [place[records.named(s, n)] % config.review.folds for n in range(len(s))] for s in sources
    ]
    for fold, judge in enumerate(folds.trained(run)):
        yield judge, [[n for n, its in enumerate(one) if its == fold] for one in of]


def _near_threshold(run: restore.Run, limits: ConfigDict) -> float:
    """How sure a run must be of another class near an edge, by `targets.near_rule`."""
    if limits.near_rule == "fixed":
        return limits.correct_above_near
    if run.state.beliefs is None:
        raise InputError(
            f"targets.near_rule = {limits.near_rule!r}, but the run of {run.folder} had no teacher"
            " that counts contradictions; use targets.near_rule = 'fixed'"
        )
    return float(beliefs.near_threshold(run.state.beliefs, limits))


def _belief(run: restore.Run, limits: ConfigDict) -> Callable[[dict], relabels.Belief]:
    """What a run believes of a record, by the section `targets` and what its teacher knew."""
    state, near, known = run.state.beliefs, _near_threshold(run, limits), None
    if state is not None:
        known = np.asarray(targets.known(state.found, state.drawn, limits.known_above))
    weights = _class_weights(run)
    terminal.say(f"near edges   within {limits.near:g} px, corrects above {near:.2g}")

    def belief(record: dict) -> relabels.Belief:
        p = relabels.without_weights(run.probabilities(record["image"]), weights)
        return relabels.judge(p, record["label"], limits, run.classes.ignore, near, known)

    return belief


def _class_weights(run: restore.Run) -> tuple[float, ...]:
    """The factors on the loss that the run was trained with; () for none."""
    pixels: tuple[int, ...] = ()
    if run.experiment.config.loss.class_weights == "balanced":
        source = inputs.training_source(run.experiment.config)
        pixels = check.pixels(source, check.check(source, name="training", cache=run.folder))
    return run.experiment.class_weights(pixels)


def _seen(number: int) -> str:
    """What the networks have seen of the labels that they judge."""
    if number:
        return (
            f"Each image was judged by one of {number} networks that was not trained on its label"
        )
    return (
        "The network was trained on these labels; review.folds = 3 judges each by one that was not"
    )


def _labels_to_evaluate_on(
    used: ConfigDict, target: Path, classes: Classes
) -> tuple[list[tuple[str, Source]], Path]:
    """The splits whose labels are copied, and the folder where `data.label_folder` finds them.

    Raises InputError where their files would be those of the relabelled splits.
    """
    data = used.data
    root = names.local(data.root, "data.root")
    other = names.local(data.eval_root, "data.eval_root") if data.eval_root else root
    inside = target.is_relative_to(root)
    place = other / target.relative_to(root) if inside else target
    parts = set(data.eval_split.split("+"))
    trained = parts & set(data.train_split.split("+"))
    if trained and place == target:
        if other != root:
            raise InputError(
                f"--output={target}: the labels of {data.root} and of {data.eval_root} would have"
                f" the same files there; choose a folder inside of {data.root}"
            )
        terminal.say(f"evaluates on  {', '.join(sorted(trained))} too, whose labels are changed")
        parts -= trained
    copies = []
    for part in sorted(parts):
        config = settings.frozen(used, {"data.eval_split": part, "data.eval_images": 0})
        copies.append((part, inputs.evaluation_source(config, classes)))
    return copies, place


@mirror.uploads
def server(
    config: ConfigDict | None,
    folder: str | Path,
    checkpoint: str,
    images: str | None,
    output: str | None,
) -> Path:
    """Label a benchmark's test images and zip the predictions for its server, checked.

    Args:
      config, folder, checkpoint: as for `evaluate`.
      images: a folder or zip that holds the test images; None takes Cityscapes' from `data.root`.
      output: path of the zip; None for `<benchmark>_test.zip` in the run's folder.

    Returns:
      The path of the zip.

    Raises:
      InputError: the run's classes are of no benchmark with a server, or see
        `server_files.write_zip`.
    """
    config = configs.used(folder)[0] if config is None else config
    tree = refusals.test_images(config, images)
    run = restore.opened(config, folder, checkpoint, all_devices=True)
    known = server_files.SERVERS
    which = next((k for k, s in known.items() if s.classes.names == run.classes.names), None)
    if which is None:
        raise InputError(
            f"{folder}: its classes are those of no benchmark with a server "
            f"({', '.join(s.name for s in known.values())}); use --mode predict"
        )
    target = names.local(output, "--output") if output else run.folder / f"{which}_test.zip"
    outputs.refuse_foreign_file(target)
    protocol = run.experiment.protocol
    terminal.say(f"tested by    {protocol.describe()}")
    remarks = server_files.write_zip(
        run.model,
        tree,
        target,
        known[which],
        protocol=protocol,
        batch_size=run.experiment.config.evaluation.batch_size,
        mesh=sharding.make_mesh(),
    )
    terminal.say("\n".join([*remarks, f"the file for the server is {target}"]))
    return target


def show(result: evaluation.Result, folder: str | Path) -> None:
    """The table of an evaluation, how its images went through the network, where the page is."""
    lines = [
        metrics.table(result.scores, run_folder.read_classes(folder).names),
        f"{result.images:,} images; {result.protocol.describe()}",
    ]
    if result.boundary is not None:
        lines.append(
            f"within {result.boundary_width} px of a class boundary:"
            f" aAcc {result.boundary.aAcc:.2f}, mAcc {result.boundary.mAcc:.2f},"
            f" mIoU {result.boundary.mIoU:.2f}"
        )
    report = Path(folder) / page.FILE
    if report.exists():
        lines.append(f"report       {report}")
    terminal.say("\n".join(lines))


def closing(folder: str | Path) -> None:
    """Where a trained run's best checkpoint is, what draws its curves, and what to do next."""
    place = mirror.place(folder)
    here = str(folder) if isinstance(place, Path) else str(place)  # or its address
    name = shlex.quote(here)
    checkpoints = Checkpoints(folder, read_only=True)
    try:
        step = checkpoints.find("best")
    finally:
        checkpoints.close()
    scores = metrics_log.scores_at(folder, step)
    miou = f", mIoU {scores['mIoU']:.2f}" if scores else ""
    terminal.say(
        f"best         step {step:,}{miou}: {here}/checkpoints/{step}\n"
        f"curves       tensorboard --logdir {name}\n"
        f"next         python -m arm_jax.main --mode predict --workdir {name} --checkpoint best"
        " --input IMAGES"
    )
