"""A network from one exported file, by what its metadata state; see `weights.export.metadata`."""

import json
from pathlib import Path

from arm_jax import experiment as experiments
from arm_jax import settings
from arm_jax.data.labels import Classes
from arm_jax.experiment import Experiment
from arm_jax.networks.input import Bands
from arm_jax.system.errors import InputError, first_line
from arm_jax.weights import weight_files


def experiment(file: Path, name: str) -> Experiment:
    """The classes, the bands and the network of a file, and the defaults of all other settings.

    Whole images are predicted once, in float32: how the run evaluated is not stated.

    Args:
      file: a .safetensors.
      name: what to call it in messages.

    Raises:
      InputError: it cannot be read, or does not state them.
    """
    stated = weight_files.metadata(file)
    if missing := [key for key in ("network", "class_names", "class_colors") if key not in stated]:
        raise InputError(
            f"{name} does not state its {' and '.join(missing)}, as files of scripts/export.py do;"
            " pretrained.load takes weights alone"
        )
    try:
        colors = tuple(tuple(color) for color in json.loads(stated["class_colors"]))
        names = tuple(json.loads(stated["class_names"]))
        classes = Classes(names, colors, int(stated.get("ignore", "255")))
        changes = {
            "data.classes": names,
            "data.ignore": classes.ignore,
            "model.name": stated["network"],
            "model.variant": stated.get("variant", ""),
            "model.output_stride": int(stated["output_stride"]),
            "model.dtype": "float32",
        }
        if "channels" in stated:
            bands = tuple(json.loads(stated["channels"]))
            changes |= {
                "data.channels": bands if all(bands) else len(bands),
                "data.mean": tuple(json.loads(stated["mean"])),
                "data.deviation": tuple(json.loads(stated["std"])),
            }
        found = experiments.build(settings.frozen(settings.defaults(), changes), classes)
        own = found.bands
        means = tuple(json.loads(stated["mean"])), tuple(json.loads(stated["std"]))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{name}: its metadata are damaged ({first_line(error)})") from error
    if means != (own.mean, own.deviation):
        raise InputError(
            f"{name}: states the mean and deviation {means} for RGB in bytes, and networks here"
            f" have {Bands().mean} and {Bands().deviation}"
        )
    return found
