"""`--mode review`: which labels does a trained run contradict? Leaves `review/` in its folder.

index.html           the page to decide on
review.csv, .jsonl   one line a region: image, polygon, given and proposed class, score, kind
apart.csv            the same for outlines that were drawn coarsely and objects without any label
images.csv           every image, the worst first
confusion.csv        pixels by given and predicted class, away from edges
labelme/, coco.json  the proposed corrections for annotation tools
"""

import os
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict, FrozenConfigDict

from arm_jax.data import bands, images, records
from arm_jax.data.image_files import file_bytes
from arm_jax.data.records import encoded, named
from arm_jax.data.sources import Source
from arm_jax.review import files, findings
from arm_jax.review.findings import Findings, Item, Seen
from arm_jax.run import folds, inputs, mirror, restore
from arm_jax.system import files as system_files
from arm_jax.system import locks, names, outputs, processes, terminal
from arm_jax.system.errors import InputError
from arm_jax.system.parallel import ordered

# Images read ahead of the device, threads that search for regions, and images waiting for them: the
# likelihoods of an image at its full size are large.
READ_AHEAD = 4
THREADS = 2
WAITING = 3


@mirror.uploads
def review(
    config: ConfigDict | None,
    folder: str | Path,
    checkpoint: str = "latest",
    *,
    split: str | None = None,
    decisions: str | None = None,
) -> Path:
    """Review the labels of a split by a trained run, or by runs on its folds.

    The processes of a group share the images, and every one must call this.

    Args:
      config, folder, checkpoint: as for `modes.evaluate`.
      split: of the training data; None for the one that was trained on.
      decisions: a CSV with earlier decisions: what is decided is left out, and the score of the
        rest is fitted to them.

    Returns:
      The path of the page.

    Raises:
      InputError: the split has no image, folds are asked for of another split, or as
        `restore.load` and `files.read_decisions`.
      Diverged: the training of a fold did.
    """
    made = {} if decisions is None else _made(names.local(decisions, "--decisions"))
    run = restore.opened(config, folder, checkpoint)
    config = run.experiment.config
    own = split is None or split == config.data.train_split
    source = inputs.labelled_as_training(
        config,
        config.data.train_split if split is None else split,
        config.data.train_images if own else 0,
    )
    if config.review.folds and not own:
        raise InputError(
            f"--split={split} was not trained on, so review.folds = {config.review.folds} has no"
            " effect; leave one of them out"
        )
    folds.check(config, len(source))
    records.compare(source, "reviewed")
    target = run.folder / "review"
    mirror.fetch(target, below=True)
    processes.once(lambda: outputs.claim(target, "a review"))
    start = time.perf_counter()
    with processes.held_by_first(lambda: locks.held(target)):
        found = Findings(source.classes, config.review.regions)
        with terminal.bar("review", total=len(source)) as bar:
            for seen in _looked(run, source, own):
                found.add(seen)
                bar.update()
        kind = _kind(config, own)
        page, left = processes.from_first(lambda: _write(target, run, source, found, kind, made))
    terminal.say(
        f"reviewed {len(source):,} images in {time.perf_counter() - start:.0f} s; {kind}\n"
        f"{left}\nthe page is {page}"
    )
    return page


def _left(items: Sequence[Item], decided: int) -> str:
    """What is left to decide on, in words."""
    if items:
        number = len({item.index for item in items})
        return f"regions to decide on: {len(items):,}, in {number:,} images"
    if decided:
        return f"nothing is left to decide on after {decided:,} decisions"
    return "nothing to decide on: the network contradicts no label"


def _made(path: Path) -> dict[str, bool]:
    return {one.key: one.accepted for one in files.read_decisions(path)}


def _kind(config: FrozenConfigDict, own: bool) -> str:
    """What kind of score the page shows, in words."""
    if not own:
        return "scores of a network that was not trained on these labels"
    if config.review.folds:
        return (
            f"out-of-fold scores: each image was judged by one of {config.review.folds} networks"
            " that was not trained on its label"
        )
    return (
        "in-sample scores: the network was trained on these labels and has partly learnt them;"
        " review.folds = 3 judges each image by a network that was not"
    )


def _looked(run: restore.Run, source: Source, own: bool) -> Iterator[Seen]:
    """Every image once, judged by one of the processes; all of them get it."""
    number = run.experiment.config.review.folds if own else 0
    if not number:
        yield from _look(run, source, range(len(source)))
        return
    for fold, judge in enumerate(folds.trained(run)):
        yield from _look(judge, source, range(fold, len(source), number))


def _look(run: restore.Run, source: Source, everything: Sequence[int]) -> Iterator[Seen]:
    indices = [everything[place] for place in processes.share(len(everything))]

    def read() -> Iterator[tuple[int, dict[str, Any], np.ndarray]]:
        found = ordered(source.__getitem__, indices, READ_AHEAD, threads=True, ahead=READ_AHEAD)
        for index, record in zip(indices, found, strict=True):
            if record["label"].shape != record["image"].shape[:2]:
                raise InputError(
                    f"{record['id']}: image and label differ in size; scripts/check_dataset.py"
                    " lists all such"
                )
            yield index, record, run.probabilities(record["image"])

    def look(one: tuple[int, dict[str, Any], np.ndarray]) -> Seen:
        index, record, probabilities = one
        image = bands.shown(record["image"])
        return findings.look(index, record["id"], image, record["label"], probabilities)

    mine = ordered(look, read(), THREADS, threads=True, ahead=WAITING)
    yield from processes.merged(mine, len(everything))


def _write(
    target: Path,
    run: restore.Run,
    source: Source,
    found: Findings,
    kind: str,
    made: dict[str, bool],
) -> tuple[Path, str]:
    """The files of a review; returns the page's path and what is left, in words."""
    # Nothing else in this package needs it.
    from arm_jax.reporting import review_page

    items, fitted = findings.decided(found.items(), made)
    whole = [item for item in found.whole_images() if item.key not in made]
    everything, classes = [*whole, *items], found.classes
    files.write_csv(target / "review.csv", everything, classes)
    files.write_lines(target / "review.jsonl", everything, classes)
    files.write_csv(target / "apart.csv", found.apart(), classes)
    _write_tables(target, found)
    _write_annotations(target, source, items, found)
    cards = _cards(source, everything, classes)
    page = review_page.write(
        target / "index.html",
        run=str(run.folder),
        step=run.step,
        kind=kind,
        fitted=len(made) if fitted else 0,
        decided=len(made),
        cards=cards,
        found=found,
    )
    return page, _left(everything, len(made))


def _cards(source: Source, items: Sequence[Item], classes: Any) -> Iterator[tuple[Item, Any]]:
    """Each item with its thumbnail, images read once, in no order."""
    from arm_jax.reporting import review_page

    by_image = sorted(items, key=lambda item: item.index)
    groups = [list(group) for _, group in groupby(by_image, key=lambda item: item.index)]

    def drawn(group: list[Item]) -> list[tuple[Item, Any]]:
        record = source[group[0].index]
        image, label = bands.shown(record["image"]), record["label"]
        return [
            (item, review_page.thumbnail(item, image, label, classes, len(items))) for item in group
        ]

    with terminal.bar("draw", total=len(items), unit="region") as bar:
        for cards in ordered(drawn, groups, THREADS, threads=True):
            bar.update(len(cards))
            yield from cards


def _write_tables(target: Path, found: Findings) -> None:
    header = ["image", "score", "worst_region", "soft_minimum", "labelled", "agreement"]
    by_score = sorted(found.images.values(), key=lambda one: -one.score)
    rows = [
        [
            files.cell(one.name),
            *(
                f"{x:.4f}"
                for x in (one.score, one.worst, one.soft_minimum, one.labelled, one.agreement)
            ),
        ]
        for one in by_score
    ]
    files.write_table(target / "images.csv", header, rows)
    titles = [files.cell(name) for name in found.classes.names]
    files.write_table(
        target / "confusion.csv",
        ["given \\ predicted", *titles],
        [[name, *map(str, row)] for name, row in zip(titles, found.matrix, strict=True)],
    )


def _write_annotations(
    target: Path, source: Source, items: Sequence[Item], found: Findings
) -> None:
    """LabelMe's files, those of an earlier review that nobody changed replaced, and COCO's."""
    classes, folder = found.classes, target / "labelme"
    for path in sorted(folder.rglob("*.json")):
        if outputs.is_unchanged(path):
            path.unlink()
    by_image: dict[int, list[Item]] = {}
    for item in items:
        by_image.setdefault(item.index, []).append(item)
    kept = []
    for index, group in by_image.items():
        path = names.below(folder, f"{group[0].image}.json")
        if path.exists():
            kept.append(path)
            continue
        shown = named(source, index)[1]
        if not shown:
            shown = str(_copied(source, index, path))
        relative = Path(os.path.relpath(Path(shown).absolute(), path.parent.absolute()))
        system_files.write_json(path, files.labelme(group, classes, relative.as_posix()))
    if kept:
        terminal.say(
            f"{len(kept)} files of {folder} were changed since, first {kept[0]}, and stay as they"
            " are; scripts/apply_review.py takes them"
        )
    system_files.write_json(target / "coco.json", files.coco(items, classes))


def _copied(source: Source, index: int, path: Path) -> Path:
    """The image of a source without files, written beside its LabelMe file."""
    data = file_bytes(encoded(source, index)["image"])
    copy = path.with_name(f"{path.stem}{images.suffix(data)}")
    if not copy.exists():
        system_files.write(copy, data)
    return copy
