"""Open every file of a data set and report what is in it and what is wrong with it.

    python scripts/check_dataset.py cityscapes --root /data/cityscapes --splits train,val --compare
    python scripts/check_dataset.py camvid --root /data/camvid --splits train --coarsen cityscapes
    python scripts/check_dataset.py folders --root ROOT --classes road,building,sky --out sheets

Prints what kind of labels they are, counts, sizes, label values, class shares and coverage, and
what looks as if it meant something else, with the argument that helps. With `--compare` (fine
beside coarse labels of the same images) or `--coarsen` (fine beside simulated ones) also how the
second agree with the first, by distance to the edges. With `--out` writes a sheet of samples
for each split. Ends with status 2 if a record cannot be used, or if less than two classes have a
pixel in the first split.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

from arm_jax.system import signals

if __name__ == "__main__":
    signals.start()  # before anything takes long to import


from arm_jax.data import agreement, bands, leaks, records, sampled, shares, sources
from arm_jax.data import arguments as source_arguments
from arm_jax.data.survey import Survey, survey
from arm_jax.system import command_line, names, outputs, processes, terminal
from arm_jax.system.errors import InputError


@command_line.answered
def main() -> int:
    parser = command_line.Parser(__doc__)
    source_arguments.add(parser, splits="train,val")
    parser.add_argument("--labels", default="fine", choices=("fine", "coarse"))
    parser.add_argument("--compare", action="store_true", help="fine labels beside coarse ones")
    parser.add_argument("--coarsen", default="", help="fine labels beside this preset's")
    parser.add_argument(
        "--wrong_share", type=float, default=0.0, help="share of wrong components in it"
    )
    parser.add_argument("--out", default="", help="folder for sheets of samples")
    command_line.add_group(parser)
    arguments = parser.parse_args()
    with command_line.together(arguments):
        return check_splits(arguments)


def check_splits(arguments: argparse.Namespace) -> int:
    """Survey all splits; returns the exit status."""
    surveyed = {split: check(arguments, split) for split in arguments.splits.split(",")}
    found = {split: one for split, (_, one) in surveyed.items()}
    if problems := [problem for one in found.values() for problem in one.problems]:
        raise InputError(f"records that cannot be used: {len(problems)}, first {problems[0]}")
    counted = {split or "all": one.checked() for split, one in found.items()}
    classes = next(iter(found.values())).classes
    for split, one in found.items():
        if one.classes.names != classes.names:
            raise InputError(
                f"{split}: has the classes {', '.join(one.classes.names)}, and"
                f" {next(iter(found))} has {', '.join(classes.names)}; list them in one order by"
                " --classes"
            )
    table, remarks = shares.judge(classes, counted, write=source_arguments.override)
    sampled.agree([s for s, _ in surveyed.values()], [one.pixels for one in counted.values()])
    (_, (training, _)), *others = surveyed.items()
    for split, (source, _) in others:
        if leak := leaks.remark(training, source):
            remarks.append(f"{split}: {leak}")
    terminal.say("\n".join([table, *(f"warning: {remark}" for remark in remarks)]))
    return 0


def check(arguments: argparse.Namespace, split: str) -> tuple[sources.Source, Survey]:
    """Survey one split, and print the result."""
    opened = partial(source_arguments.opened, arguments, split)
    second = None
    if arguments.compare:
        source, second = opened(labels="fine"), opened(labels="coarse")
    else:
        source = opened(labels=arguments.labels)
        if arguments.coarsen:
            simulated = {"coarsening": arguments.coarsen, "wrong_share": arguments.wrong_share}
            second = opened(labels="fine", **simulated)
    if arguments.out:
        processes.once(lambda: outputs.claim(arguments.out, "check_dataset"))
    found = survey(source, second, name=split, write=source_arguments.override)
    terminal.say("\n".join([f"{arguments.dataset} {split}", *sources.about(source), found.table()]))
    if second is not None:
        terminal.say(agreement.REFERENCE)
    if not found.problems:
        for remark in shares.remarks_on_images(source, write=source_arguments.override):
            terminal.say(f"warning: {remark}")
    if arguments.out and not found.problems:
        path = names.below(names.local(arguments.out), f"samples_{split or 'all'}.png", "--splits")
        processes.once(lambda: draw(path, source, second))
        terminal.say(f"samples: {path}")
    terminal.say("")
    return source, found


def draw(path: Path, source: sources.Source, second: sources.Source | None) -> None:
    """A sheet of up to six records, spread over the split."""
    from arm_jax.reporting import pictures  # matplotlib with it

    samples = []
    for index in records.spread(len(source), 6):
        record = source[index]
        coarse = None if second is None else second[index]["label"]
        image = bands.shown(record["image"])
        samples.append(pictures.Sample(image, record["label"], coarse, name=record["id"]))
    pictures.save(pictures.contact_sheet(samples, source.classes, path.stem), path)


if __name__ == "__main__":
    sys.exit(main())
