"""Small stand-ins for the networks and data that evaluation works on."""

import dataclasses

import jax
import numpy as np
from flax import nnx


class TinySegmenter(nnx.Module):
    """Logits at stride 4 from two convolutions, and a term from global pooling as ASPP has."""

    def __init__(self, num_classes: int, extra_channels: int = 0, *, rngs: nnx.Rngs):
        self.num_classes = num_classes
        outputs = num_classes + extra_channels
        same = ((1, 1), (1, 1))
        self.stem = nnx.Conv(3, 8, (3, 3), strides=2, padding=same, rngs=rngs)
        self.head = nnx.Conv(8, outputs, (3, 3), strides=2, padding=same, rngs=rngs)
        self.pool = nnx.Linear(8, outputs, rngs=rngs)

    def __call__(self, images):
        features = jax.nn.relu(self.stem(images))
        pooled = features.mean(axis=(1, 2), keepdims=True)
        return self.head(features) + 0.3 * self.pool(pooled)


@dataclasses.dataclass(frozen=True)
class Classes:
    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    ignore: int = 255

    @property
    def number(self):
        return len(self.names)


def classes(number: int, ignore: int = 255) -> Classes:
    colors = tuple((37 * i % 256, 101 * i % 256, 193 * i % 256) for i in range(1, number + 1))
    return Classes(tuple(f"class {i}" for i in range(number)), colors, ignore)


def image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth blobs of colour plus noise, so that neighbouring pixels are related."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3))
    smooth = np.kron(coarse, np.ones((8, 8, 1), int))[:height, :width]
    return np.clip(smooth + rng.integers(-20, 20, smooth.shape), 0, 255).astype(np.uint8)


def label(height: int, width: int, number: int, seed: int = 0, ignore: int = 255) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, number + 1, (height // 6 + 1, width // 6 + 1))
    values[values == number] = ignore
    return np.kron(values, np.ones((6, 6), int))[:height, :width].astype(np.uint8)


class Records:
    """A source of images of the given sizes."""

    def __init__(self, sizes, number: int = 5):
        self.classes = classes(number)
        self._sizes = tuple(sizes)

    def __len__(self):
        return len(self._sizes)

    def __getitem__(self, index):
        size = self._sizes[index]
        return {
            "image": image(*size, seed=index),
            "label": label(*size, self.classes.number, seed=index),
            "id": f"street/{index:03d}",
        }
