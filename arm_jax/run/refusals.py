"""What a command line asks for and cannot have, answered before JAX is imported.

The rooms that do the work check again, each for itself; what is here costs tenths of a second.
"""

from collections.abc import Sequence
from pathlib import Path

from ml_collections import FrozenConfigDict

from arm_jax.data import check as check_labels
from arm_jax.data import chosen, shares, sources, trees
from arm_jax.run import configs, inputs, mirror, trackers
from arm_jax.system import addresses, names
from arm_jax.system.buckets import Place
from arm_jax.system.coordinator import Group
from arm_jax.system.errors import InputError
from arm_jax.system.staging import stage
from arm_jax.weights import published, weight_files

ONE_SOURCE = ("review", "relabel")
ONE_PROCESS = ("report", "relabel", "server")
FEW = 32  # labels, which are counted in tenths of a second

# The modes that use an option; the others take no notice of it, which nobody means who gives it.
OPTIONS = {
    "checkpoint": ("evaluate", "report", "review", "predict", "relabel", "server"),
    "input": ("predict", "server"),
    "output": ("report", "predict", "relabel", "server"),
    "confidence": ("predict",),
    "probabilities": ("predict",),
    "threshold": ("predict",),
    "split": ("review",),
    "decisions": ("review",),
}


def check_options(mode: str, given: Sequence[str]) -> None:
    """Raise InputError for an option on the command line that the mode does not use."""
    for name in given:
        if mode not in OPTIONS[name]:
            meant = " or ".join(f"--mode {other}" for other in OPTIONS[name])
            raise InputError(f"--{name} is for {meant}, not for --mode {mode}; leave it out")


def check(
    mode: str,
    config: FrozenConfigDict,
    folder: str,
    images: str | None = None,
    group: Group | None = None,
) -> None:
    """Raise InputError for what a mode will certainly refuse.

    Args:
      mode: train, evaluate, report, review, predict, relabel or server.
      config: as from `configs.load`.
      folder: the run's.
      images: what `--input` names.
      group: the processes of the run; None for one.
    """
    if mode in ONE_PROCESS and group is not None:
        raise InputError(f"--mode {mode} runs in one process; leave out --coordinator")
    if mode == "predict":
        images_to_label(images)
    if mode == "server":
        test_images(config, images)
    if mode != "train":
        checkpoints(folder)
        used, _ = configs.used(folder, config)
        if mode in ONE_SOURCE and used.data.sources:
            raise InputError(
                f"--mode {mode} is for the labels of one source, and the run has data.sources; add"
                " --config.data.sources= and --config.data.root=FOLDER of the one that is meant"
            )
        return
    trackers.require(config.tracker)
    first_weights(config, folder)
    # Unknown names are refused by `consistency.checked`, which needs the networks' table as well.
    data_set = sources.DATASETS.get(config.data.dataset)
    if data_set is None or data_set.prepares:
        return
    # What lies at an address is staged when all else is known to be right.
    if not inputs.addresses_of(config, mode):
        training = inputs.training_source(config)
        inputs.evaluation_source(config, training.classes)
        few_labels(training)


def few_labels(training: sources.Source) -> None:
    """Raise InputError where a handful of labels leaves fewer than two classes to train on.

    Labels that cannot be read, and many labels, are the run's own check's, which lists them.
    """
    if len(training) > FEW:
        return
    try:
        checked = check_labels.check(training, name="training", progress=False)
    except InputError:
        return
    if checked is not None:
        shares.judge(training.classes, {"training": checked})


def first_weights(config: FrozenConfigDict, folder: str | Path) -> None:
    """Raise InputError where the file that a new run starts from is not on this machine.

    What lies at an address is looked at when all else is known to be right; a run that has begun
    needs its first weights no more.
    """
    setting = config.model.pretrained
    if setting in ("", published.IMAGENET) or addresses.is_address(setting):
        return
    if (mirror.place(folder) / "checkpoints").is_dir() or Path(setting).expanduser().is_dir():
        return
    try:
        weight_files.locate(setting)
    except InputError as error:
        raise InputError(f"{error}; {weight_files.REMEDY}") from error


def checkpoints(folder: str | Path) -> Path | Place:
    """The folder of a run's checkpoints. Raises InputError where there is none."""
    path = mirror.place(folder) / "checkpoints"
    if not path.is_dir():
        raise InputError(f"{path} does not exist; give --workdir the folder of a trained run")
    return path


def images_to_label(images: str | None) -> str:
    """What `--input` names for `--mode predict`. Raises InputError where there is no image."""
    if images is None:
        raise InputError(f"--mode predict needs --input; {chosen.WAYS}")
    chosen.find(images)
    return images


def relabelled_folder(config: FrozenConfigDict, output: str | None) -> Path:
    """Where `--mode relabel` writes. Raises InputError where the labels lie in no folder."""
    data = config.data
    if data.dataset != "folders":
        raise InputError(
            f"data.dataset = {data.dataset!r}: --mode relabel writes labels beside those of"
            " data.dataset = 'folders' alone"
        )
    if output is not None:
        return names.local(output, "--output")
    root = names.local(data.root or sources.usual_root("folders"), "data.root")
    return root / f"{data.label_folder}_relabelled"


def test_images(config: FrozenConfigDict, images: str | None) -> trees.Tree:
    """The folder or zip that `--input` names, or the data set's own test split."""
    if images is None:
        dataset = sources.DATASETS[config.data.dataset]
        if dataset.unlabelled:
            root = stage.local(config.data.root, "data.root", inputs.cache(config))
            return dataset.images(root, dataset.unlabelled[0])
        raise InputError("--mode server needs --input, a folder or zip of the test images")
    path = names.local(images, "--input")
    if not path.exists():
        raise InputError(f"--input={path}: no such folder or zip")
    return trees.Folder(path) if path.is_dir() else trees.Zip(path)
