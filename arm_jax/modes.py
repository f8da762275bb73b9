"""What can be done with a trained run: `--mode evaluate`, `report`, `predict` and `server`."""

import functools
from pathlib import Path

import jax
from ml_collections import ConfigDict

from arm_jax.data import check, sources, trees
from arm_jax.evaluation import evaluate as evaluation
from arm_jax.evaluation import metrics, server_files
from arm_jax.evaluation import predict as prediction
from arm_jax.experiment import Experiment
from arm_jax.reporting import report as reports
from arm_jax.run import folder as run_folder
from arm_jax.run.restore import restore
from arm_jax.system import processes, sharding, terminal
from arm_jax.system.errors import InputError


def evaluate(config: ConfigDict, folder: str, checkpoint: str = "latest") -> evaluation.Result:
    """Evaluate a checkpoint on the config's evaluation split; writes `eval.json`."""
    experiment, players, state = restore(config, folder, checkpoint)
    source = experiment.evaluation_source()
    look = functools.partial(check.check, source, name="evaluation", cache=Path(folder))
    processes.once(look)
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
        run_folder.read_metrics(folder),
        kind=config.arm.input,
        p=config.arm.p,
    )
    terminal.say("\n".join(f"drew {path}" for path in drawn))


def predict(
    config: ConfigDict, folder: str, checkpoint: str, images: str | None, output: str | None
) -> None:
    """Label every image of a folder; index PNGs and colour overlays go to `output`.

    Images are looked at as the config's evaluation does it.
    """
    if images is None:
        raise InputError("--mode predict needs --input, a folder of images")
    _only_process("predict")
    experiment, players, _ = restore(config, folder, checkpoint)
    target = Path(output) if output else Path(folder) / "predictions"
    prediction.predict_folder(
        players.segmenter,
        images,
        target,
        experiment.classes,
        protocol=experiment.protocol(),
        orientation=config.data.orientation,
    )
    terminal.say(f"predictions are in {target}")


def server(
    config: ConfigDict, folder: str, checkpoint: str, images: str | None, output: str | None
) -> Path:
    """Label a benchmark's test images and zip the predictions for its server, checked.

    Args:
      config: the config that trained the run, with the evaluation to test by.
      folder: the run's working directory.
      checkpoint: "latest", "best" or a step.
      images: a folder or zip that holds the test images; None takes Cityscapes' from `data.root`.
      output: path of the zip; None for `<benchmark>_test.zip` in the run's folder.

    Returns:
      The path of the zip.

    Raises:
      InputError: the run's classes are of no benchmark with a server, or see
        `server_files.write_zip`.
    """
    _only_process("server")
    tree = _test_images(config, images)
    experiment, players, _ = restore(config, folder, checkpoint)
    known = server_files.SERVERS
    name = next((k for k, s in known.items() if s.classes.names == experiment.classes.names), None)
    if name is None:
        raise InputError(
            f"{folder}: its classes are those of no benchmark with a server "
            f"({', '.join(s.name for s in known.values())}); use --mode predict"
        )
    target = Path(output) if output else Path(folder) / f"{name}_test.zip"
    if target.is_dir():
        raise InputError(f"--output={target} is a folder; name the zip file to write")
    terminal.say(f"tested by    {experiment.protocol().describe()}")
    remarks = server_files.write_zip(
        players.segmenter,
        tree,
        target,
        known[name],
        protocol=experiment.protocol(),
        batch_size=config.evaluation.batch_size,
        mesh=sharding.make_mesh(),
    )
    terminal.say("\n".join([*remarks, f"the file for the server is {target}"]))
    return target


def _test_images(config: ConfigDict, images: str | None) -> trees.Tree:
    """The folder or zip that `--input` names, or the data set's own test split."""
    if images is None:
        dataset = sources.DATASETS[config.data.dataset]
        if dataset.unlabelled:
            return dataset.images(config.data.root, dataset.unlabelled[0])
        raise InputError("--mode server needs --input, a folder or zip of the test images")
    path = Path(images).expanduser()
    if not path.exists():
        raise InputError(f"--input={path}: no such folder or zip")
    return trees.Folder(path) if path.is_dir() else trees.Zip(path)


def _only_process(mode: str) -> None:
    if jax.process_count() > 1:
        raise InputError(f"--mode {mode} runs in one process; leave out --coordinator")


def show(result: evaluation.Result, folder: str) -> None:
    """The table of an evaluation, and how its images were looked at."""
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
    terminal.say("\n".join(lines))


def show_differences(config: ConfigDict, base_config: ConfigDict) -> None:
    """Print what a row, and overrides, change against the base model, row `base` of the file."""
    base = Experiment(base_config).flat_config()
    changes = [
        f"  {key:<28}{base[key]!r:>12} -> {value!r}"
        for key, value in Experiment(config).flat_config().items()
        if value != base[key]
    ]
    terminal.say("\n".join(["changed against the base model (row `base`):", *changes]))
    if not changes:
        terminal.say("  nothing")
