"""The pixels near class boundaries, where coarse labels are missing and errors gather."""

import cv2
import numpy as np

from arm_jax.system.errors import InputError


def near_boundaries(label: np.ndarray, width: int, ignore: int = 255) -> np.ndarray:
    """The label with all pixels ignored but those within `width` pixels of another class.

    Distance is Euclidean, between pixel centres, so that width 1 keeps the two rows of pixels that
    touch along an edge. Ignored pixels are no class: the rim of an unlabelled region is not a
    boundary.

    Args:
      label: uint8 (h, w) class indices, `ignore` above all classes.
      width: in pixels, at least 1.
    """
    if width < 1:
        raise InputError(f"boundary_width = {width} must be a positive number of pixels")
    reach = np.arange(-width, width + 1)
    disk = (reach[:, None] ** 2 + reach[None, :] ** 2 <= width**2).astype(np.uint8)
    valid = label != ignore
    highest = cv2.dilate(np.where(valid, label, 0).astype(np.uint8), disk)
    lowest = cv2.erode(np.where(valid, label, 255).astype(np.uint8), disk)
    near = valid & ((highest != label) | (lowest != label))
    return np.where(near, label, ignore).astype(np.uint8)
