"""Maps of numbers as colours, without matplotlib, which takes a second to import."""

import cv2
import numpy as np

# Pixels without a label or weight: neither end of any colour map.
NOTHING = (150, 150, 150)
_BYTES = np.arange(256, dtype=np.uint8)[:, None]
_COLORS = {
    "gray": np.repeat(_BYTES, 3, axis=1),
    "magma": cv2.applyColorMap(_BYTES, cv2.COLORMAP_MAGMA)[:, 0, ::-1],
    "viridis": cv2.applyColorMap(_BYTES, cv2.COLORMAP_VIRIDIS)[:, 0, ::-1],
}


def heat(values: np.ndarray, low: float, high: float, colors: str = "magma") -> np.ndarray:
    """A map of numbers (h, w) as uint8 (h, w, 3) RGB, from `low` to `high`; nan becomes grey.

    `colors` is "magma", "viridis" or "gray".
    """
    scaled = np.clip((values - low) / (high - low), 0, 1)
    image = _COLORS[colors][np.nan_to_num(scaled * 255).astype(np.uint8)]
    return np.where(np.isnan(values)[..., None], np.array(NOTHING, np.uint8), image)


def ramp(colors: str) -> np.ndarray:
    """The colours from low to high, uint8 (1, 256, 3): a legend."""
    return _COLORS[colors][None]
