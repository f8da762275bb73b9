"""Take the decisions on a review back: write corrected labels beside the old ones.

    python scripts/apply_review.py --workdir runs/mine --decisions decisions.csv
    python scripts/apply_review.py --workdir runs/mine --labelme runs/mine/review/labelme

The decisions are rows of the CSV that the page saved (several files are read in turn), or LabelMe
files that were corrected: of those in the run's own review, the ones that were saved since.

For two folders of one's own (`data.dataset = folders`) the new labels are a folder beside the old
one, `labels_reviewed` for `labels`, with all other labels copied, so that one override trains on
it. For other data sets `--out` is a new folder that holds images and labels of both splits. What
was there before is never written to.
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
from tqdm import tqdm

from arm_jax.data import colors, images, trees
from arm_jax.data.labels import Classes
from arm_jax.data.records import Source, encoded, named
from arm_jax.review import apply, files
from arm_jax.review.apply import Shape
from arm_jax.run import configs, inputs
from arm_jax.run import folder as run_folder
from arm_jax.system import locks, names, outputs, parallel
from arm_jax.system.errors import InputError
from arm_jax.system.files import whole

COMMAND = "apply_review"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", type=Path, required=True, help="the run that was reviewed")
    parser.add_argument("--decisions", type=Path, nargs="+", default=[], help="CSV files")
    parser.add_argument("--labelme", type=Path, help="a folder of corrected LabelMe files")
    parser.add_argument("--split", help="that was reviewed, if not the one trained on")
    parser.add_argument("--out", type=Path, help="where to write; by default beside the old labels")
    arguments = parser.parse_args(argv)
    if not arguments.decisions and arguments.labelme is None:
        parser.error("name decisions by --decisions or --labelme")
    try:
        run(arguments)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def run(arguments: argparse.Namespace) -> None:
    """Read the decisions, write the labels, report what changed."""
    config = configs.used(arguments.workdir)[0]
    split = config.data.train_split if arguments.split is None else arguments.split
    own = split == config.data.train_split
    source = inputs.labelled_as_training(config, split, config.data.train_images if own else 0)
    classes = run_folder.read_classes(arguments.workdir)
    if source.classes.names != classes.names:
        raise InputError(f"{arguments.workdir}: the classes of its data are others by now")
    decisions = [one for path in arguments.decisions for one in files.read_decisions(path)]
    index = _ids(source)
    shapes, swaps = apply.planned(decisions, classes, index)
    if arguments.labelme is not None:
        for number, drawn in _drawn(arguments.labelme, classes, index).items():
            shapes.setdefault(number, []).extend(drawn)
    if not shapes and not swaps:
        raise InputError("nothing was accepted or corrected, so there is nothing to write")
    corrected = partial(_corrected, source, shapes, swaps)
    if config.data.dataset == "folders" and not config.data.coarsen and not arguments.out:
        overrides = _beside(config, split, source, corrected, {*shapes, *swaps})
    else:
        overrides = _anew(config, arguments.out, split, source, corrected)
    matrix = _changes(source, corrected, {*shapes, *swaps})
    print(f"{matrix.sum():,} pixels of {len({*shapes, *swaps})} images changed:")
    print(apply.table(matrix, lambda k: files.class_name(k, classes)))
    print("train on the new labels with\n  " + shlex.join(overrides))


def _ids(source: Source) -> dict[str, int]:
    """The number of each image by its id."""
    return {named(source, number)[0]: number for number in range(len(source))}


def _drawn(folder: Path, classes: Classes, index: dict[str, int]) -> dict[int, list[Shape]]:
    """The shapes of the LabelMe files that somebody saved."""
    if not folder.is_dir():
        raise InputError(f"--labelme={folder}: no such folder")
    found: dict[int, list[Shape]] = {}
    unchanged = 0
    for path in sorted(folder.rglob("*.json")):
        if outputs.is_unchanged(path):
            unchanged += 1
            continue
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name not in index:
            raise InputError(f"{path}: there is no image {name}; remove the file")
        found[index[name]] = files.read_labelme(path, classes)
    if unchanged:
        print(f"{unchanged} files of {folder} are as the review wrote them, and are left out")
    return found


def _corrected(
    source: Source, shapes: dict[int, list[Shape]], swaps: dict[int, int], number: int
) -> np.ndarray:
    """The label that image `number` is to have."""
    label = source[swaps.get(number, number)]["label"]
    if number in swaps and label.shape != source[number]["label"].shape:
        raise InputError(
            f"{source[number]['id']}: the label that it is to have is of another size; reject that"
        )
    return apply.painted(label, shapes.get(number, []))


def _changes(source: Source, corrected: Callable[[int], np.ndarray], which: set[int]) -> np.ndarray:
    classes = source.classes
    total = np.zeros(2 * (classes.number + 1,), np.int64)
    for number in sorted(which):
        total += apply.changed(source[number]["label"], corrected(number), classes.number)
    return total


def _beside(
    config: FrozenConfigDict,
    split: str,
    source: Source,
    corrected: Callable[[int], np.ndarray],
    which: set[int],
) -> list[str]:
    """A folder of labels beside the old one, in each root; the overrides that use it."""
    data = config.data
    store = _stored(source.classes, data.label_values)
    name = _free(Path(data.root).expanduser(), data.label_folder)
    ids = {number: identity for identity, number in _ids(source).items() if number in which}
    changed = {ids[number]: number for number in which}
    roots = dict.fromkeys([data.root, data.eval_root or data.root])
    for root in (Path(root).expanduser() for root in roots):
        old, out = root / data.label_folder, outputs.claim(root / name, COMMAND)
        mine = root == Path(data.root).expanduser()
        with locks.held(out):
            tree = trees.Folder(old)
            for file in tqdm(tree.names(), f"write {out.name}", unit="label", disable=None):
                inside = Path(file)
                below = (
                    inside.relative_to(split) if split and inside.is_relative_to(split) else inside
                )
                identity = below.with_suffix("").as_posix()
                is_of_split = not split or inside.is_relative_to(split)
                if mine and is_of_split and identity in changed:
                    target = names.below(out, inside.with_suffix(".png").as_posix())
                    label = store(corrected(changed[identity]))
                    colors.write_label(target, label, source.classes)
                    continue
                with whole(names.below(out, file)) as temporary:
                    temporary.write_bytes(tree.read(file))
        print(f"the new labels are in {out}")
    return [f"--config.data.label_folder={name}"]


def _free(root: Path, folder: str) -> str:
    """The name of a folder beside `folder` that does not exist yet."""
    number, name = 1, f"{folder.rstrip('/')}_reviewed"
    while (root / name).exists():
        number += 1
        name = f"{folder.rstrip('/')}_reviewed_{number}"
    return name


def _stored(classes: Classes, values: Sequence[tuple[int, int]]) -> Callable:
    """From class indices to the values that label files store.

    Raises InputError where a class, or no label, has none.
    """
    if not values:
        return lambda label: label
    back = {index: stored for stored, index in reversed(values)}
    table = np.zeros(256, np.uint8)
    for index in range(classes.number):
        if index not in back:
            raise InputError(
                f"data.label_values has no value for {classes.names[index]}; add a pair"
            )
        table[index] = back[index]

    def store(label: np.ndarray) -> np.ndarray:
        if classes.ignore not in back and (label == classes.ignore).any():
            raise InputError("data.label_values has no value for data.ignore; add a pair")
        table[classes.ignore] = back.get(classes.ignore, 0)
        return table[label]

    return store


def _anew(
    config: FrozenConfigDict,
    out: Path | None,
    split: str,
    source: Source,
    corrected: Callable[[int], np.ndarray],
) -> list[str]:
    """Images and labels of both splits as two plain folders; the overrides that use them."""
    if out is None:
        raise InputError(
            f"the labels of data.dataset = {config.data.dataset!r} have no folder to write beside;"
            " name a new one by --out"
        )
    out = outputs.claim(out, COMMAND)
    evaluated = inputs.evaluation_source(config, source.classes)
    parts = {"train": (source, corrected), "val": (evaluated, lambda n: evaluated[n]["label"])}
    with locks.held(out):
        for name, (part, label_of) in parts.items():
            write = partial(_write, part, label_of, out, name)
            done = parallel.ordered(write, range(len(part)), 2, threads=True)
            for _ in tqdm(done, f"write {name}", len(part), unit="image", disable=None):
                pass
    print(f"images and labels of {split} are in {out}, with those to evaluate on")
    return [
        "--config.data.dataset=folders",
        f"--config.data.root={out}",
        f"--config.data.classes={tuple(source.classes.names)!r}",
        "--config.data.train_split=train",
        "--config.data.eval_split=val",
        "--config.data.label_values=()",
        "--config.data.coarsen=",
    ]


def _write(
    source: Source, label_of: Callable[[int], np.ndarray], out: Path, split: str, number: int
) -> None:
    record = encoded(source, number)
    image = record["image"]
    data = images.encode_png(image) if isinstance(image, np.ndarray) else image.data
    name = names.inside(record["id"], "the data set")
    with whole(names.below(out / "images" / split, f"{name}{images.suffix(data)}")) as temporary:
        temporary.write_bytes(data)
    target = names.below(out / "labels" / split, f"{name}.png")
    colors.write_label(target, label_of(number), source.classes)


if __name__ == "__main__":
    sys.exit(main())
