"""What a run is about to do, in plain words."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
from clu import parameter_overview
from flax import nnx
from jax.sharding import Mesh
from ml_collections import ConfigDict

from arm_jax import networks, settings
from arm_jax.data import leaks, sampled, shares, sources
from arm_jax.data.check import Checked
from arm_jax.data.labels import Classes
from arm_jax.data.mixed import MixedSource
from arm_jax.evaluation.protocol import Protocol
from arm_jax.run import inputs
from arm_jax.settings import mixture
from arm_jax.settings.rows import TRAINING
from arm_jax.system import files
from arm_jax.training.state import TrainState
from arm_jax.weightings import WEIGHTINGS
from arm_jax.weights import published

# Settings of training that the other lines have.
TOLD = frozenset(
    {
        "steps",
        "batch_size",
        "data.train_split",
        "augment.crop",
        "model.pretrained",
        "arm.kind",
        "arm.input",
        "arm.p",
        "arm.slope",
        "arm.offset",
        "loss.kind",
    }
)


def run(
    config: ConfigDict,
    training: sources.Source,
    evaluation: sources.Source,
    mesh: Mesh,
    protocol: Protocol,
) -> str:
    """What is about to happen, in plain words."""
    images = training.numbers if isinstance(training, MixedSource) else len(training)
    stated = facts(config, training.classes, images, len(evaluation), protocol)
    place = next(i for i, (word, _) in enumerate(stated) if word == "tested by")
    stated[place:place] = _about(training, evaluation)
    lines = [f"{name:<13}{text}" for name, text in stated]
    lines.append(
        f"devices      {mesh.size} x {mesh.devices.flat[0].device_kind},"
        f" {jax.process_count()} process(es)"
    )
    known = _trained_too(config)
    if known:
        lines.append(
            f"note         {', '.join(sorted(known)) or 'the same folder'} is trained on too: the"
            " scores show that the run is sound, not how good it is"
        )
    return "\n".join(lines)


def _trained_too(config: ConfigDict) -> set[str]:
    """The splits to evaluate on that are trained on, by their names."""
    known: set[str] = set()
    for source in config.data.sources or ((),):
        its, _ = inputs.of_source(config, source)
        if its.data.root == (config.data.eval_root or config.data.root):
            known |= set(its.data.train_split.split("+")) & set(config.data.eval_split.split("+"))
    return known


def _about(training: sources.Source, evaluation: sources.Source) -> list[tuple[str, str]]:
    """What the labels of both were found to be."""
    found = [sources.about(source) for source in (training, evaluation)]
    other = [line for line in found[1] if line not in found[0]]
    return [("labels", line) for line in found[0]] + [("evaluated", line) for line in other]


def facts(
    config: ConfigDict,
    classes: Classes,
    training: int | Sequence[int] | None,
    evaluation: int | None,
    protocol: Protocol,
) -> list[tuple[str, str]]:
    """What a run trains on and evaluates on, and how: pairs of a word and a text.

    Args:
      config: complete.
      classes: of the network.
      training, evaluation: how many images the two splits have, or each of `data.sources`; None
        where that is not known.
      protocol: of the evaluation.
    """
    data = config.data
    player = WEIGHTINGS[config.arm.kind].describe(config.arm)
    crop = "x".join(map(str, config.augment.crop))
    width = config.evaluation.boundary_width
    epochs = ""
    if isinstance(training, int) and training and not data.sources:
        epochs = f", about {config.steps * config.batch_size / training:,.1f} epochs"
    return [
        *_trained_on(config, classes, training),
        (
            "evaluate on",
            f"{_images(evaluation)} of {_part(config, data.eval_split)},"
            f" {_labels(config, data.eval_labels)}",
        ),
        ("tested by", protocol.describe()),
        (
            "scores",
            "over all labelled pixels"
            + (f", and over those within {width} px of a class boundary" if width else ""),
        ),
        (
            "network",
            f"{config.model.name}, output stride {config.model.output_stride},"
            f" {config.model.dtype}",
        ),
        ("starts from", _start(config)),
        ("method", f"{config.loss.kind} loss, {player}"),
        ("schedule", f"{config.steps:,} steps of {config.batch_size} crops of {crop}{epochs}"),
        *_besides(config),
    ]


def _trained_on(
    config: ConfigDict, classes: Classes, images: int | Sequence[int] | None
) -> list[tuple[str, str]]:
    """The images to train on, and a line for each of several sources."""
    data = config.data
    if not data.sources:
        number = images if isinstance(images, int) else None
        return [
            (
                "train on",
                f"{_images(number)} of {_part(config, data.train_split)}, {classes.number} classes,"
                f" {_labels(config, data.train_labels, data.coarsen)}",
            )
        ]
    numbers = images if isinstance(images, Sequence) else [None] * len(data.sources)
    whole = images if isinstance(images, int) else sum(n or 0 for n in numbers)
    lines = [
        f"{_images(whole or None)} of {len(data.sources)} sources, {classes.number} classes; of"
        f" every {config.batch_size} crops:"
    ]
    named = mixture.names([dict(source) for source in data.sources])
    for source, name, number in zip(data.sources, named, numbers, strict=True):
        its, own = inputs.of_source(config, source)
        crops = own["share"] * config.batch_size
        epochs = f" ({config.steps * crops / number:,.1f} epochs)" if number else ""
        labels = "no labels"
        if own.get("labelled", True):
            labels = _labels(its, its.data.train_labels, its.data.coarsen)
            if not own.get("weigh", True):
                labels += ", not weighed"
            # By default what ARM weighs may be wrong.
            if own.get("correct", own.get("weigh", True)) != own.get("weigh", True):
                labels += ", corrected" if own["correct"] else ", not corrected"
        if not own.get("complete", True):
            labels += ", not completed"
        lines.append(f"  {crops:,.4g} of {name}: {_images(number)}{epochs}, {labels}")
    return [("train on", line) for line in lines]


def _images(number: int | None) -> str:
    return "images" if number is None else f"{number:,} images"


def _besides(config: ConfigDict) -> list[tuple[str, str]]:
    """The settings of training that are not the defaults, and are in no other line."""
    changed = [
        f"{row.key} = {value!r}"
        for row in settings.BY_KEY.values()
        if row.decides == TRAINING
        and row.key not in TOLD
        and (value := settings.flat(config)[row.key]) != row.default
    ]
    return [("besides", ", ".join(changed))] if changed else []


def _start(config: ConfigDict) -> str:
    """Where the weights of the first step come from."""
    model = config.model
    source = published.source(model.pretrained, model.name, model.variant or None)
    if not source:
        return "random weights"
    if model.pretrained == published.IMAGENET:
        return f"ImageNet weights in the backbone, {source}, and random heads"
    return f"{source}, random where it has nothing that fits"


def _part(config: ConfigDict, split: str) -> str:
    """A data set and which part of it."""
    return f"{config.data.dataset} {split}" if split else config.data.dataset


def _labels(config: ConfigDict, kind: str, preset: str = "") -> str:
    """The kind of label, and where coarse ones come from."""
    dataset = sources.DATASETS[config.data.dataset]
    if kind == "coarse":
        preset = preset or dataset.coarse_preset
    if preset:
        share = config.data.wrong_share
        wrong = f", {share:.0%} of them given a wrong class" if share else ""
        return f"coarse labels simulated from the fine ones (preset {preset}{wrong})"
    if not dataset.kinds():
        return "labels as they are"
    return f"{kind} labels"


def labels(
    config: ConfigDict,
    training: sources.Source,
    evaluation: sources.Source,
    found: Mapping[str, Checked],
) -> str:
    """What the labels of both splits hold, by `shares`; a warning a line for what is unusual.

    Raises InputError where labels cannot mean what the config says.
    """
    augment = config.augment
    lines: list[str] = []
    remarks: list[str] = []
    if "training" in found:
        table, remarks = shares.judge(training.classes, found)
        sampled.agree((training, evaluation), [one.pixels for one in found.values()])
        lines = [table]
    remarks += shares.remarks_on_images(
        training,
        crop=tuple(augment.crop),
        ratio=tuple(augment.ratio),
        base_size=tuple(augment.base_size) or None,
    )
    if not _trained_too(config) and (leak := leaks.remark(training, evaluation)):
        remarks.append(leak)
    return "\n".join([*lines, *(f"warning: {remark}" for remark in remarks)])


def parameters(state: TrainState, folder: Path) -> str:
    """How many parameters there are, and where; the whole table goes to parameters.txt."""
    params = nnx.to_pure_dict(state.params)
    overview = parameter_overview.get_parameter_overview(params)
    files.write(folder / "parameters.txt", overview + "\n")
    parts = {f"segmenter.{name}": tree for name, tree in params["segmenter"].items()}
    if "arm" in params:
        parts["arm"] = params["arm"]
    if frozen := nnx.to_pure_dict(nnx.filter_state(state.statistics, networks.Frozen)):
        parts["frozen, not trained"] = frozen
    counts = {name: sum(x.size for x in jax.tree.leaves(tree)) for name, tree in parts.items()}
    lines = [f"  {name:<26}{count:>12,}" for name, count in counts.items()]
    total = f"  {'total':<26}{sum(counts.values()):>12,}"
    return "\n".join(["parameters (each tensor in parameters.txt)", *lines, total])
