"""Take the decisions on a review back: write corrected labels beside the old ones.

    python scripts/apply_review.py --workdir runs/mine --decisions decisions.csv
    python scripts/apply_review.py --workdir runs/mine --labelme runs/mine/review/labelme

The decisions are rows of the CSV that the page saved (several files are read in turn), or LabelMe
files that were corrected: of those in the run's own review, the ones that were saved since.

For two folders of one's own whose labels are images of numbers, the new labels are a folder beside
the old one, `labels_reviewed` for `labels`, with all other labels copied, so that one override
trains on it. For other labels `--out` is a new folder that holds images and labels of both splits.
What was there before is never written to.

Settings are those of the run; overrides as for arm_jax.main are such as --config.data.root=DIR, for
data that have moved.
"""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from arm_jax.system import signals

if __name__ == "__main__":
    signals.start()  # before anything takes long to import

import numpy as np
from ml_collections import FrozenConfigDict

from arm_jax import settings
from arm_jax.data import colors, pairs, trees
from arm_jax.data.folders import FolderSource
from arm_jax.data.labels import UNKNOWN, Classes, Table
from arm_jax.data.records import Source, encoded, named
from arm_jax.review import apply, files
from arm_jax.review.apply import Shape
from arm_jax.review.findings import digest
from arm_jax.run import configs, inputs, mirror
from arm_jax.run import folder as run_folder
from arm_jax.system import command_line, locks, names, outputs, parallel, terminal
from arm_jax.system import files as system_files
from arm_jax.system.errors import InputError

COMMAND = "apply_review"


@command_line.answered
def main(argv: Sequence[str] | None = None) -> int:
    parser = command_line.Parser(__doc__)
    parser.add_argument(
        "--workdir", type=mirror.argument, required=True, help="the run that was reviewed"
    )
    parser.add_argument("--decisions", type=Path, nargs="+", default=[], help="CSV files")
    parser.add_argument("--labelme", type=Path, help="a folder of corrected LabelMe files")
    parser.add_argument("--split", help="that was reviewed, if not the one trained on")
    parser.add_argument("--out", type=Path, help="where to write; by default beside the old labels")
    arguments, overrides = command_line.parse(parser, argv)
    if not arguments.decisions and arguments.labelme is None:
        parser.error("name decisions by --decisions or --labelme")
    run(arguments, overrides)
    return 0


def run(arguments: argparse.Namespace, given: Sequence[str] = ()) -> None:
    """Read the decisions, write the labels, report what changed."""
    asked = configs.load(None, given, arguments.workdir)
    config = configs.used(arguments.workdir, asked)[0]
    split = config.data.train_split if arguments.split is None else arguments.split
    source = inputs.labelled_as_training(config, split)
    classes = run_folder.read_classes(arguments.workdir)
    if source.classes.names != classes.names:
        raise InputError(f"{arguments.workdir}: the classes of its data are others by now")
    decisions = [one for path in arguments.decisions for one in files.read_decisions(path)]
    index = {named(source, number)[0]: number for number in range(len(source))}
    shapes, swaps = apply.planned(decisions, classes, index)
    drawn = {} if arguments.labelme is None else _saved(arguments.labelme, index)
    which = {*shapes, *swaps, *drawn}
    if not which:
        raise InputError("nothing was accepted or corrected, so there is nothing to write")
    made: dict[int, dict[str, str]] = {number: {} for number in which}
    for one in decisions:
        if one.accepted and index[one.image] in made:
            made[index[one.image]][f"decision {one.key} on {one.image!r}"] = one.digest
    for number, path in drawn.items():
        made[number][str(path)] = files.labelme_digest(path)
    apply.unchanged(made, lambda number: digest(source[number]["label"]))
    corrected = partial(_corrected, source, shapes, swaps, drawn)
    stored = source.numbers() if isinstance(source, FolderSource) else None
    if stored is None or arguments.out:
        overrides = _anew(config, arguments.out, split, source, corrected, which)
    else:
        overrides = _beside(config, source.classes, stored, corrected, which)
    matrix = np.zeros(2 * (classes.number + 1,), np.int64)
    for number in sorted(which):
        matrix += apply.changed(source[number]["label"], corrected(number), classes.number)
    print(f"{matrix.sum():,} pixels of {len(which)} images changed:")
    print(apply.table(matrix, lambda k: files.class_name(k, classes)))
    print("train on the new labels with\n  " + shlex.join([*given, *overrides]))


def _saved(folder: Path, index: dict[str, int]) -> dict[int, Path]:
    """The LabelMe files that somebody saved, by the number of their image."""
    if not folder.is_dir():
        raise InputError(f"--labelme={folder}: no such folder")
    paths = sorted(folder.rglob("*.json"))
    saved = [path for path in paths if not outputs.is_unchanged(path)]
    if len(saved) < len(paths):
        number = len(paths) - len(saved)
        print(f"{number} files of {folder} are as the review wrote them, and are left out")
    found = {}
    for path in saved:
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name not in index:
            raise InputError(f"{path}: there is no image {name}; remove the file")
        found[index[name]] = path
    return found


def _corrected(
    source: Source,
    shapes: dict[int, list[Shape]],
    swaps: dict[int, int],
    drawn: dict[int, Path],
    number: int,
) -> np.ndarray:
    """The label that image `number` is to have."""
    label = source[swaps.get(number, number)]["label"]
    if number in swaps and label.shape != source[number]["label"].shape:
        raise InputError(
            f"{source[number]['id']}: the label that it is to have is of another size; reject that"
        )
    label = apply.painted(label, shapes.get(number, []))
    if number in drawn:
        over = files.read_labelme(drawn[number], label.shape, source.classes)
        label = np.where(over == UNKNOWN, label, over)
    return label


def _beside(
    config: FrozenConfigDict,
    classes: Classes,
    stored: tuple[Path, list[Path], Table | None],
    corrected: Callable[[int], np.ndarray],
    which: set[int],
) -> list[str]:
    """A folder of labels beside the old one, in each root; the overrides that use it."""
    old, paths, table = stored
    store = _stored(classes, table)
    folder = config.data.label_folder
    name = _free(old, folder)
    changed = {paths[number]: number for number in which}
    places = {old: old.with_name(Path(name).name)}
    if config.data.eval_root:  # where the same setting will look for labels to evaluate on
        root = Path(config.data.eval_root).expanduser()
        places.setdefault(root / folder, root / name)
    for before, after in places.items():
        out = outputs.claim(after, COMMAND)
        with locks.held(out):
            tree = trees.Folder(before)
            # An image without a label may get one.
            new = {
                path.relative_to(before).as_posix() for path in changed if before in path.parents
            }
            everything = sorted({*tree.names(), *new})
            for file in terminal.bar(f"write {out.name}", everything, unit="label"):
                if before / file in changed:
                    target = names.below(out, Path(file).with_suffix(".png").as_posix())
                    label = store(corrected(changed[before / file]))
                    colors.write_label(target, label, classes)
                else:
                    system_files.write(names.below(out, file), tree.read(file))
        print(f"the new labels are in {out}")
    return [f"--config.data.label_folder={name}"]


def _free(old: Path, folder: str) -> str:
    """What to call a folder beside `old`, which the settings call `folder`: not there yet."""
    number, name = 1, f"{folder.rstrip('/')}_reviewed"
    while old.with_name(Path(name).name).exists():
        number += 1
        name = f"{folder.rstrip('/')}_reviewed_{number}"
    return name


def _stored(classes: Classes, table: Table | None) -> Callable[[np.ndarray], np.ndarray]:
    """From class indices to the numbers that label files store.

    Raises InputError, then or later, where a class, or no label, has none.
    """
    if table is None:
        return lambda label: label
    back = {index: number for number, index in reversed(list(enumerate(table.values)))}
    numbers = np.array([back.get(index, 0) for index in range(256)], np.uint8)

    def store(label: np.ndarray) -> np.ndarray:
        missing = [int(index) for index in np.unique(label) if int(index) not in back]
        if missing:
            raise InputError(
                f"no number in the labels means {files.class_name(missing[0], classes)}; add a pair"
                " to data.label_values"
            )
        return numbers[label]

    return store


def _anew(
    config: FrozenConfigDict,
    out: Path | None,
    split: str,
    source: Source,
    corrected: Callable[[int], np.ndarray],
    which: set[int],
) -> list[str]:
    """Images and labels of both splits as two plain folders; the overrides that use them."""
    if out is None:
        raise InputError(
            "these labels are no folder of images of numbers to write another one beside; name a"
            " new folder by --out"
        )
    out = _apart(names.local(out), config)
    data = config.data
    whole = settings.frozen(config, {"data.eval_images": 0})
    splits = {"train": data.train_split, "val": data.eval_split}
    trained = data.train_split
    parts = {
        "train": source if split == trained else inputs.labelled_as_training(config, trained),
        "val": inputs.evaluation_source(whole, source.classes),
    }
    changed = {
        name: _changed(part, source, which)
        if {*split.split("+")} & {*splits[name].split("+")}
        else {}
        for name, part in parts.items()
    }
    lost = which.difference(*(numbers.values() for numbers in changed.values()))
    if lost:
        raise InputError(
            f"--split={split}: {source[min(lost)]['id']} is neither trained nor evaluated on, and"
            f" its label would be lost; set data.train_split or data.eval_split to {split} as well"
        )
    outputs.claim(out, COMMAND)
    with locks.held(out):
        for name, part in parts.items():
            write = partial(_write, part, changed[name], corrected, out, name)
            done = parallel.ordered(write, range(len(part)), 2, threads=True)
            for _ in terminal.bar(f"write {name}", done, total=len(part)):
                pass
    print(f"images and labels of {split} are in {out}, with those to evaluate on")
    return [
        "--config.data.dataset=folders",
        f"--config.data.root={out}",
        f"--config.data.classes={tuple(source.classes.names)!r}",
        "--config.data.train_split=train",
        "--config.data.eval_split=val",
        "--config.data.label_folder=labels",
        "--config.data.image_folder=images",
        "--config.data.label_values=()",
        "--config.data.colors=()",
        "--config.data.eval_root=",
        "--config.data.coarsen=",
    ]


def _changed(part: Source, source: Source, which: set[int]) -> dict[int, int]:
    """Of the records of `part` whose label changes, the number in `source` by the number here.

    Raises InputError where the label there is not the one here, as of a split to evaluate on whose
    labels are not made coarse.
    """
    by_name = {named(source, number): number for number in which}
    found = {number: by_name.get(named(part, number)) for number in range(len(part))}
    changed = {number: its for number, its in found.items() if its is not None}
    for number, its in changed.items():
        if not np.array_equal(part[number]["label"], source[its]["label"]):
            raise InputError(
                f"{part[number]['id']}: the label that was reviewed is not the one to evaluate on,"
                " which data.* read otherwise; review the split that is trained on"
            )
    return changed


def _apart(out: Path, config: FrozenConfigDict) -> Path:
    """`out`; an InputError where labels would be written over those that are being read."""
    real = out.resolve()
    for setting in ("root", "eval_root"):
        root = names.local(config.data[setting]).resolve() if config.data[setting] else None
        if root is not None and real in (root, root / "images", root / "labels"):
            raise InputError(
                f"--out={out}: holds the labels that were reviewed (data.{setting}); name a new"
                " folder"
            )
    return out


def _write(
    part: Source,
    changed: dict[int, int],
    corrected: Callable[[int], np.ndarray],
    out: Path,
    split: str,
    number: int,
) -> None:
    label = corrected(changed[number]) if number in changed else part[number]["label"]
    pairs.write(encoded(part, number), label, part.classes, out, split)


if __name__ == "__main__":
    sys.exit(main())
