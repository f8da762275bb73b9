"""Open every file of a data set and report what is in it and what is wrong with it.

    python scripts/check_dataset.py cityscapes --root /data/cityscapes --splits train,val --compare
    python scripts/check_dataset.py camvid --root /data/camvid --splits train --coarsen cityscapes
    python scripts/check_dataset.py folders --root ROOT --classes road,building,sky --out sheets

Prints counts, sizes, label values, class shares and coverage. With `--compare` (fine beside coarse
labels of the same images) or `--coarsen` (fine beside simulated coarse ones) also how the second
agree with the first, by distance to the edges. With `--out` writes a sheet of samples for each
split. Ends with status 2 if a record cannot be used.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from arm_jax.data import agreement, sources
from arm_jax.data.survey import survey
from arm_jax.reporting import pictures
from arm_jax.system import names, outputs, signals
from arm_jax.system.errors import InputError


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", choices=sources.DATASETS)
    parser.add_argument("--root", default="", help="folder of the data")
    parser.add_argument("--splits", default="train,val", help="separated by commas")
    parser.add_argument("--labels", default="fine", choices=("fine", "coarse"))
    parser.add_argument("--classes", default="", help="names for folders, separated by commas")
    parser.add_argument("--ignore", type=int, default=255, help="the value of unlabelled pixels")
    parser.add_argument("--images", type=int, default=0, help="only the first N")
    parser.add_argument("--compare", action="store_true", help="fine labels beside coarse ones")
    parser.add_argument("--coarsen", default="", help="fine labels beside this preset's")
    parser.add_argument(
        "--wrong_share", type=float, default=0.0, help="share of wrong components in it"
    )
    parser.add_argument("--out", default="", help="folder for sheets of samples")
    arguments = parser.parse_args()
    bad = 0
    try:
        for split in arguments.splits.split(","):
            bad += check(arguments, split)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 2 if bad else 0


def check(arguments: argparse.Namespace, split: str) -> int:
    """Survey one split, print the result, and return the number of bad records."""

    def opened(labels: str, **simulated) -> sources.Source:
        return sources.open_source(
            arguments.dataset,
            root=arguments.root,
            split=split,
            labels=labels,
            classes=tuple(name for name in arguments.classes.split(",") if name),
            ignore=arguments.ignore,
            images=arguments.images,
            **simulated,
        )

    second = None
    if arguments.compare:
        source, second = opened("fine"), opened("coarse")
    else:
        source = opened(arguments.labels)
        if arguments.coarsen:
            second = opened("fine", coarsening=arguments.coarsen, wrong_share=arguments.wrong_share)
    if arguments.out:
        outputs.claim(arguments.out, "check_dataset")
    found = survey(source, second, name=split)
    print(f"{arguments.dataset} {split}\n{found.table()}")
    if second is not None:
        print(agreement.REFERENCE)
    if arguments.out and not found.problems:
        path = names.below(names.local(arguments.out), f"samples_{split or 'all'}.png", "--splits")
        draw(path, source, second)
        print(f"samples: {path}")
    print()
    return len(found.problems)


def draw(path: Path, source: sources.Source, second: sources.Source | None) -> None:
    """A sheet of up to six records, spread over the split."""
    samples = []
    for index in np.unique(np.linspace(0, len(source) - 1, 6).astype(int)):
        record = source[index]
        coarse = None if second is None else second[index]["label"]
        samples.append(pictures.Sample(record["image"], record["label"], coarse, name=record["id"]))
    pictures.save(pictures.contact_sheet(samples, source.classes, path.stem), path)


if __name__ == "__main__":
    signals.start()
    sys.exit(main())
