"""Write a data set with coarse labels simulated from fine ones, as two plain folders.

    python scripts/coarsen.py camvid --root /data/camvid --splits train --preset hard --out OUT

OUT/images/SPLIT holds the images unchanged, OUT/labels/SPLIT the coarse labels as palette PNGs, and
OUT/classes.txt the class names in order. Train on it with `dataset = "folders"`. The same labels
come without files from `data.coarsen` in a config.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from arm_jax.system import signals

if __name__ == "__main__":
    signals.start()  # before anything takes long to import

import numpy as np

from arm_jax.data import arguments as source_arguments
from arm_jax.data import coarsen, pairs, records, sources
from arm_jax.system import command_line, files, locks, outputs, parallel, processes, terminal


@command_line.answered
def main() -> int:
    parser = command_line.Parser(__doc__)
    source_arguments.add(parser, splits="train")
    parser.add_argument("--preset", required=True, choices=tuple(coarsen.PRESETS))
    parser.add_argument(
        "--wrong_share", type=float, default=0.0, help="share of components made wrong"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True, help="a new folder, or one of this script's")
    parser.add_argument("--workers", type=int, default=0, help="processes; 0 works in this one")
    command_line.add_group(parser)
    arguments = parser.parse_args()
    with command_line.together(arguments):
        names_of_splits = arguments.splits.split(",")
        splits = {name: source_arguments.opened(arguments, name) for name in names_of_splits}
        out = processes.from_first(lambda: outputs.claim(arguments.out, "coarsen"))
        with processes.held_by_first(lambda: locks.held(out)):
            for split, source in splits.items():
                write_split(arguments, source, split, out)
    return 0


def write_split(
    arguments: argparse.Namespace, source: sources.Source, split: str, out: Path
) -> None:
    """Write all records of a split; the processes of a group share them."""
    records.compare(source, split)
    settings = coarsen.preset(arguments.preset, arguments.wrong_share)
    write = partial(write_record, source, settings, arguments.seed, out, split)
    mine = parallel.ordered(write, processes.share(len(source)), arguments.workers)
    done = processes.merged(mine, len(source))
    for _ in terminal.bar(f"coarsen {split}", done, total=len(source)):
        pass
    processes.once(lambda: write_classes(out / "classes.txt", source.classes.names))
    terminal.say(
        f"{len(source)} images and labels in {out / 'images' / split} and {out / 'labels' / split}"
    )


def write_classes(path: Path, names_in_order: Sequence[str]) -> None:
    """Write the names of the classes, one a line."""
    files.write(path, "".join(f"{name}\n" for name in names_in_order))


def write_record(
    source: sources.Source,
    settings: coarsen.Coarsening | coarsen.Blocks,
    seed: int,
    out: Path,
    split: str,
    index: int,
) -> None:
    """Write one image, as the bytes it has where there are some, and its coarse label."""
    record = records.encoded(source, index)
    label = coarsen.coarsen(
        np.asarray(record["label"]), source.classes, settings, seed=seed, name=record["id"]
    )
    pairs.write(record, label, source.classes, out, split)


if __name__ == "__main__":
    sys.exit(main())
