"""Labels in colour: as RGB, over an image, and as palette PNGs."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from arm_jax.data import bands
from arm_jax.data.labels import Classes
from arm_jax.system import files


def colorize(label: np.ndarray, classes: Classes) -> np.ndarray:
    """uint8 (h, w) class indices -> uint8 (h, w, 3) RGB; what is no class becomes black."""
    return classes.palette[label]


def overlay(
    image: np.ndarray, label: np.ndarray, classes: Classes, opacity: float = 0.5
) -> np.ndarray:
    """The image with the class colours laid over it; pixels of no class stay as they are."""
    image = bands.shown(image)
    blend = cv2.addWeighted(colorize(label, classes), opacity, image, 1 - opacity, 0)
    return np.where((label < classes.number)[..., None], blend, image)


def write_label(path: str | Path, label: np.ndarray, classes: Classes) -> None:
    """Write class indices as a palette PNG: the values stay indices, viewers show colours."""
    image = Image.fromarray(label)
    image.putpalette(classes.palette.tobytes())
    with files.whole(path) as temporary:
        image.save(temporary, format="PNG")


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write uint8 (h, w, 3) RGB as PNG or JPEG, by the path's ending."""
    with files.whole(path) as temporary:
        Image.fromarray(image).save(temporary, quality=92)
