"""Prepare a data set for training: `python scripts/prepare.py street_scenes --data_dir DIR`.

For cityscapes, ade20k and camvid, `--source` is the folder with the official files or zips. Writes
ArrayRecord files below DIR and prints their folder. Running it again does nothing, unless an
earlier run was cut short.
"""

import argparse
import sys

from arm_jax.system import signals

if __name__ == "__main__":
    signals.start()  # before anything takes long to import

from arm_jax.data import prepare
from arm_jax.system.errors import InputError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", help=f"one of: {', '.join(prepare.builder_names())}")
    parser.add_argument("--data_dir", required=True, help="folder for prepared data sets")
    parser.add_argument(
        "--source", default="", help="folder of the official files (cityscapes, ade20k, camvid)"
    )
    parser.add_argument("--config", default="", help="a config of the builder; default: its first")
    arguments = parser.parse_args()
    try:
        folder = prepare.ensure(
            arguments.dataset,
            arguments.data_dir,
            config=arguments.config,
            source=arguments.source,
        )
        print(folder)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
