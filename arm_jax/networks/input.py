"""What a network reads: bands less their mean and by their deviation, padding at 0."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

COLORS = ("red", "green", "blue")
MEAN = (123.675, 116.28, 103.53)  # of ImageNet, RGB, 0..255
STD = (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class Bands:
    """The bands of a network's images, in their order; by default RGB in 0..255.

    Attributes:
        names: of the bands; "" where nothing is known of one.
        mean, deviation: of each, in units of the stored values.
        stored: whether images come with the numbers as they are stored, in 16 bits, and not as
            viewers show them, in three bytes.
    """

    names: tuple[str, ...] = COLORS
    mean: tuple[float, ...] = MEAN
    deviation: tuple[float, ...] = STD
    stored: bool = False

    @property
    def number(self) -> int:
        return len(self.names)

    @property
    def dtype(self) -> np.dtype:
        """Of the pixels."""
        return np.dtype(np.uint16 if self.stored else np.uint8)

    @classmethod
    def of(
        cls, channels: int | Sequence[str], mean: Sequence[float], deviation: Sequence[float]
    ) -> "Bands":
        """By the settings `data.channels`, `data.mean` and `data.deviation`.

        >>> Bands.of(2, (100.0, 90.0), (20.0, 30.0)).names
        ('', '')
        """
        names = (channels * ("",) if isinstance(channels, int) else tuple(channels)) or COLORS
        return cls(names, tuple(mean) or MEAN, tuple(deviation) or STD, stored=bool(channels))


RGB = Bands()


def of(network: Any) -> Bands:
    """What a network reads: its `bands`, RGB for one that has no such attribute."""
    return getattr(network, "bands", RGB)


def standardize(images: jax.Array, bands: Bands = RGB) -> jax.Array:
    """(b, h, w, bands) stored values to float32, less the bands' mean and by their deviation."""
    mean, std = (
        jnp.asarray(c, jnp.float32).reshape(1, 1, 1, bands.number)
        for c in (bands.mean, bands.deviation)
    )
    return (images.astype(jnp.float32) - mean) / std


def normalize(images: jax.Array, extent: jax.Array, bands: Bands = RGB) -> jax.Array:
    """Remove the bands' mean and deviation, and blank the padding.

    Args:
        images: integers (b, h, w, bands), as they are stored; RGB in 0..255 by default.
        extent: int32 (b, 2), height and width that are no padding.
        bands: what the images hold.

    Returns:
        float32 (b, h, w, bands); padding is exactly 0, the value of a mean pixel.
    """
    normal = standardize(images, bands)
    rows = jnp.arange(images.shape[1])[None, :] < extent[:, :1]
    columns = jnp.arange(images.shape[2])[None, :] < extent[:, 1:]
    inside = rows[:, :, None, None] & columns[:, None, :, None]
    return jnp.where(inside, normal, 0.0)


def first_kernel(kernel: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """The first kernel of a network for RGB, for other bands.

    A band called red, green or blue gets the kernel of its colour, any other the mean of the
    three; and all are scaled by three over the number of bands, so that the sum over the bands
    stays as large. One band alone gets the sum, which is what grey images of three equal colours
    would meet.

    Args:
        kernel: (h, w, 3, channels).
        names: of the bands.

    Returns:
        (h, w, bands, channels).

    >>> kernel = np.arange(3.0).reshape(1, 1, 3, 1)
    >>> first_kernel(kernel, ("", "red", "blue", "green"))[0, 0, :, 0].tolist()
    [0.75, 0.0, 1.5, 0.75]
    """
    mean = kernel.mean(axis=2)
    each = [kernel[:, :, COLORS.index(name)] if name in COLORS else mean for name in names]
    return np.stack(each, axis=2) * np.asarray(3 / len(names), kernel.dtype)
