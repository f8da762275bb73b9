"""What can be done with a trained run: `--mode evaluate`, `report`, `predict` and `server`."""

import functools
import shlex
from collections.abc import Collection
from pathlib import Path

from ml_collections import ConfigDict

from arm_jax.data import check
from arm_jax.evaluation import evaluate as evaluation
from arm_jax.evaluation import metrics, server_files
from arm_jax.evaluation import predict as predict_files
from arm_jax.run import configs, inputs, metrics_log, mirror, page, refusals, restore
from arm_jax.run import folder as run_folder
from arm_jax.run.checkpoints import Checkpoints
from arm_jax.system import names, outputs, processes, sharding, terminal
from arm_jax.system.errors import InputError


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
