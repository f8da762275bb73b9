"""Runs on stored scenes, for tests of what judges their labels."""

from pathlib import Path

import numpy as np
from PIL import Image

from arm_jax import settings
from arm_jax.data import scenes
from arm_jax.data.labels import STREET_SCENES
from arm_jax.run import folder as run_folder
from arm_jax.run import inputs
from configs import base

SIZE = (48, 64)
NAMES = ("a", "b c", "d'<i>", "e", "f", "sub/g")


def stored(root: Path) -> Path:
    """Scenes as `train` and `val` in folders, the labels as stored values 100 + class."""
    for split, names in (("train", NAMES), ("val", NAMES[:2])):
        for index, name in enumerate(names):
            image, label = scenes.generate(split, index, SIZE)
            path = root / "images" / split / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
            path = root / "labels" / split / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.where(label == 255, 255, label + 100).astype(np.uint8)).save(path)
    return root


def recorded(tmp_path, data, **more) -> Path:
    """The folder of a run on these data, without a checkpoint."""
    values = (*((100 + k, k) for k in range(STREET_SCENES.number)), (255, 255))
    changes = {
        "data.dataset": "folders",
        "data.root": str(data),
        "data.classes": STREET_SCENES.names,
        "data.label_values": values,
        "augment.crop": (32, 32),
        "compilation_cache": "",
        **more,
    }
    config = settings.frozen(base.get_config("smoke"), changes)
    folder = tmp_path / "run"
    run_folder.open_folder(folder, config)
    run_folder.write_classes(folder, inputs.training_source(config).classes)
    return folder
