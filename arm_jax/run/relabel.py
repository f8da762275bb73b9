"""`--mode relabel`: what a run believes of its labels, as a label folder beside them.

labels/       class indices: drawn, corrected, completed; those to evaluate on as they are
parts/        what became of each pixel, see `evaluation.relabel.Belief`
confidence/   the likelihood of the network's class, times 255
changes.html  the classes and images that changed most
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from arm_jax import contradictions, settings, targets
from arm_jax.data import check, places, records
from arm_jax.data.formats import keys
from arm_jax.data.labels import Classes
from arm_jax.data.sources import Source
from arm_jax.evaluation import relabel as relabels
from arm_jax.run import folds, inputs, mirror, refusals, restore
from arm_jax.system import names, outputs, terminal
from arm_jax.system.errors import InputError
from arm_jax.training import given

PAGE = "changes.html"


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
    The labels to evaluate on are copied as they are: one setting names the folder of both.

    Args:
      config, folder, checkpoint: as for `modes.evaluate`.
      output: a folder; None for the labels' with `_relabelled` behind its name.

    Returns:
      The folder.

    Raises:
      InputError: the labels are of no folder, or see `evaluation.relabel.relabel`.
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
    _claimed(target, place, list(zip(parts, found, strict=True)), copies)
    number = sum(len(source) for source in found)
    terminal.say(
        f"believing    the {used.evaluation.weights} of step {run.step}, of {number:,} images"
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
        target / PAGE,
        sorted(changes, key=lambda one: one.name),
        lambda change: relabels.stored(target, change.name),
        run.classes,
        _seen(used.review.folds),
    )
    overrides = " ".join(_overrides(used, target / "labels", run.classes))
    terminal.say(f"the largest changes are in {page}\nto train on them: {overrides}")
    return target


def _claimed(
    target: Path,
    place: Path,
    parts: Sequence[tuple[str, Source]],
    copies: Sequence[tuple[str, Source]],
) -> None:
    """Raise InputError, before anything is written, where something else would be written over."""
    planned = [name for part, source in parts for name in relabels.planned(source, part)]
    outputs.claim(target, relabels.COMMAND, planned=[*planned, PAGE])
    labels = (relabels.LABELS,)
    planned = [name for part, source in copies for name in relabels.planned(source, part, labels)]
    outputs.claim(place, relabels.COMMAND, planned=planned)


def _overrides(used: ConfigDict, labels: Path, classes: Classes) -> list[str]:
    """What reads the new labels as class indices, whatever says what numbers and colours mean."""
    data = used.data
    root = names.local(data.root, "data.root")
    found = [f"--config.data.label_folder={(_below(labels, root) or labels.absolute()).as_posix()}"]
    there = [
        places.places(root, part, data.image_folder, data.label_folder).for_keys()
        for part in data.train_split.split("+")
    ]
    if data.colors or any(map(keys.find, there)):
        pairs = ",".join(f"({k},{k})" for k in (*range(classes.number), classes.ignore))
        found.append(f"--config.data.label_values='({pairs})'")
    elif data.label_values:
        found.append("--config.data.label_values=()")
    if data.coarsen:
        found.append("--config.data.coarsen=")
    return found


def _below(path: Path, root: Path) -> Path | None:
    """From `root` to what lies below it; None for a path elsewhere."""
    whole, above = (Path(os.path.abspath(one)) for one in (path, root))
    return whole.relative_to(above) if whole.is_relative_to(above) else None


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


def _limits(run: restore.Run, limits: ConfigDict) -> contradictions.Limits:
    """How sure a run must be of another class, by `targets.near_rule`."""
    if limits.near_rule != "fixed" and run.state.beliefs is None:
        raise InputError(
            f"targets.near_rule = {limits.near_rule!r}, but the run of {run.folder} had no teacher"
            " that counts contradictions; use targets.near_rule = 'fixed'"
        )
    return contradictions.Limits(*map(float, given.limits(run.state.beliefs, limits)))


def _belief(run: restore.Run, limits: ConfigDict) -> Callable[[dict], relabels.Belief]:
    """What a run believes of a record, by the section `targets` and what its teacher knew."""
    state, sure, known = run.state.beliefs, _limits(run, limits), None
    if state is not None:
        known = np.asarray(targets.known(state.found, state.drawn, sure.known))
    pixels = _pixels(run, limits)
    weights = run.experiment.class_weights(pixels)
    terminal.say(
        f"corrects     above {sure.near:.2g} within {sure.width:g} px of an edge,"
        f" {sure.inside:.2g} behind that, {sure.far:.2g} beyond"
        f" {contradictions.BEHIND * sure.width:g} px; completes above {sure.complete:.2g}"
    )

    def belief(record: dict) -> relabels.Belief:
        p = relabels.without_weights(run.probabilities(record["image"]), weights)
        label, ignore = record["label"], run.classes.ignore
        return relabels.judge(p, label, limits, ignore, sure, known, pixels)

    return belief


def _pixels(run: restore.Run, limits: ConfigDict) -> tuple[int, ...]:
    """Of each class in the training labels, where class weights or `adjust` ask for it; else ()."""
    if run.experiment.config.loss.class_weights != "balanced" and not limits.adjust:
        return ()
    source = inputs.training_source(run.experiment.config)
    return check.pixels(source, check.check(source, name="training", cache=run.folder))


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
    inside = _below(target, root)
    place = target if inside is None else other / inside
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
