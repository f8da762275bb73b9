"""Prepare a data set for training: `python scripts/prepare.py street_scenes --data_dir DIR`.

For cityscapes, ade20k and camvid, `--source` is the folder with the official files or zips, for
`folders` that of your own images and labels, with `--splits` and how they are read.
Writes ArrayRecord files below DIR and prints their folder. Running it again does nothing, unless an
earlier run was cut short, or your own files were changed.
"""

import argparse
import sys

from arm_jax.system import signals

if __name__ == "__main__":
    signals.start()  # before anything takes long to import

from arm_jax.data import arguments as source_arguments
from arm_jax.data import prepare, sources
from arm_jax.data.layouts import Layout
from arm_jax.system import command_line, names, terminal
from arm_jax.system.errors import InputError


@command_line.answered
def main() -> int:
    parser = command_line.Parser(__doc__)
    parser.add_argument("dataset", help=f"one of: {', '.join(prepare.builder_names())}")
    parser.add_argument("--data_dir", required=True, help="folder for prepared data sets")
    parser.add_argument("--source", default="", help="folder of the official files, or of your own")
    parser.add_argument("--config", default="", help="a config of the builder; default: its first")
    parser.add_argument("--splits", default="train,val", help="for folders: separated by commas")
    source_arguments.add_meaning(parser)
    command_line.add_group(parser)
    arguments = parser.parse_args()
    official(arguments)
    with command_line.together(arguments):
        folder = prepare.ensure(
            arguments.dataset,
            arguments.data_dir,
            config=own(arguments) if arguments.dataset == "folders" else arguments.config,
            source=arguments.source,
        )
        terminal.say(str(folder))
    return 0


def official(arguments: argparse.Namespace) -> None:
    """Raise InputError where a benchmark's files are not there, before anything takes long."""
    entry, name = sources.DATASETS.get(arguments.dataset), arguments.dataset
    prepared = names.local(arguments.data_dir, "--data_dir") / name
    if not isinstance(entry, Layout) or any(prepared.glob("*/*/dataset_info.json")):
        return
    if not arguments.source:
        raise InputError(
            f"name the folder of {name}'s official files by --source{sources.wanted(name)}"
        )
    if not names.local(arguments.source, "--source").exists():
        raise InputError(f"--source={arguments.source}: no such folder{sources.wanted(name)}")


def own(arguments: argparse.Namespace) -> object:
    """The builder's config for one's own data."""
    from arm_jax.data import builders

    if arguments.orientation == "stored":
        raise InputError(
            "--orientation=stored: prepared images are read as viewers show them; read the data in"
            " place"
        )
    arguments.root, arguments.images = arguments.source, 0
    splits = arguments.splits.split(",")
    opened = {split: source_arguments.opened(arguments, split) for split in splits}
    return builders.own(arguments.source, opened)


if __name__ == "__main__":
    sys.exit(main())
