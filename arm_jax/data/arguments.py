"""The arguments of a script that name a data set, each with the form of the setting that it is."""

import argparse
from typing import Any

from arm_jax import settings
from arm_jax.data import sources
from arm_jax.data.records import Source

# Argument -> the setting that has its form and help.
_SETTINGS = {
    "--classes": "data.classes",
    "--ignore": "data.ignore",
    "--label-values": "data.label_values",
    "--label-names": "data.label_names",
    "--colors": "data.colors",
    "--undrawn": "data.undrawn",
    "--unlabelled": "data.unlabelled",
    "--overlaps": "data.overlaps",
    "--orientation": "data.orientation",
    "--image-folder": "data.image_folder",
    "--label-folder": "data.label_folder",
}
CHANNELS = "--channels"  # prepared data have three bands


def add(parser: argparse.ArgumentParser, *, splits: str) -> None:
    """Add what `opened` needs. `splits` is the default of --splits."""
    parser.add_argument("dataset", choices=sources.DATASETS)
    parser.add_argument("--root", default="", help="folder of the data")
    parser.add_argument("--splits", default=splits, help="separated by commas")
    parser.add_argument("--images", type=int, default=0, help="only the first N")
    add_meaning(parser)
    _add(parser, CHANNELS, "data.channels")


def add_meaning(parser: argparse.ArgumentParser) -> None:
    """Add what settles how one's own images and labels are read."""
    for name, key in _SETTINGS.items():
        _add(parser, name, key)


def _add(parser: argparse.ArgumentParser, name: str, key: str) -> None:
    setting = settings.find(key)
    parser.add_argument(name, help=f"for folders: {setting.help} It is {key} of a config.")


def opened(arguments: argparse.Namespace, split: str, **options: Any) -> Source:
    """The source that the arguments describe; `options` as for `sources.open_source`.

    Raises InputError for a value that is not valid, and all that opening raises.
    """
    values = {}
    for name, key in (*_SETTINGS.items(), (CHANNELS, "data.channels")):
        text = getattr(arguments, name[2:].replace("-", "_"), None)
        setting = settings.find(key)
        field = key.removeprefix("data.").replace("label_values", "values")
        values[field] = setting.default if text is None else settings.parsed(key, text)
    return sources.open_source(
        arguments.dataset,
        root=arguments.root,
        split=split,
        images=arguments.images,
        **values,
        **options,
    )


def override(key: str, value: str) -> str:
    """A setting's value as an argument of a script that has it, else of `arm_jax.main`."""
    for name, setting in _SETTINGS.items():
        if setting == key:
            return f"{name}='{value}'"
    return f"--config.{key}='{value}'"
