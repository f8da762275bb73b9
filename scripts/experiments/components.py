"""Principal components of a network's features."""

import numpy as np


def principal(x: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The mean and the first components of features, scaled to a mean variance of 1.

    Args:
      x: float32 (..., c).
      width: how many components.

    Returns:
      (c,), and (c, width) float32 that the difference to the mean is multiplied by.
    """
    flat = x.reshape(-1, x.shape[-1])
    mean = flat.mean(0)
    values, vectors = np.linalg.eigh(np.cov((flat - mean).T))
    scale = np.sqrt(values[::-1][:width].mean())
    return mean, (vectors[:, ::-1][:, :width] / scale).astype(np.float32)
