"""The rule that fills the tensors of a network, so that goldens need no weight file.

A tensor depends on its key in the reference's state dict and on its shape there. Convolutions
keep the second moment of a rectified input, running variances are positive, and the last
BatchNorm of a bottleneck is weak, so that activations stay near 1 through a hundred layers. The
scores are small enough for a softmax to be soft.
"""

import math
import zlib

import numpy as np


def tensor(key: str, shape: tuple[int, ...], margin: float = 0.0) -> np.ndarray:
    """The float32 values, in PyTorch's order of axes, of the tensor called `key`.

    With a `margin`, every BatchNorm's bias is at least that far from 0, half of them on each side.
    Few inputs of a ReLU are then so near to 0 that rounding decides their sign. In a gradient each
    such decision is a difference of a percent, between any two implementations.
    """
    generator = np.random.default_rng(zlib.crc32(key.encode()))
    if key.endswith("running_var"):
        values = generator.uniform(0.5, 1.5, shape)
    elif len(shape) == 4:
        deviation = math.sqrt(2 / math.prod(shape[1:])) * (0.1 if "conv_seg" in key else 1.0)
        values = generator.standard_normal(shape, np.float32) * deviation
    elif key.endswith(("running_mean", "bias")):
        values = generator.normal(0, 0.1, shape)
        if key.endswith("bias"):
            values += margin * np.sign(values)
    else:
        values = generator.uniform(0.8, 1.2, shape) * (0.2 if "bn3" in key else 1.0)
    return values.astype(np.float32)


def images(batch: int, height: int, width: int) -> np.ndarray:
    """Normalised images (batch, 3, height, width), a smooth scene under noise.

    Each image has another contrast, colour and scene: were their means alike, the BatchNorm over
    the images' means would magnify rounding errors to percents.
    """
    generator = np.random.default_rng(zlib.crc32(f"{batch} {height} {width}".encode()))
    noise = generator.standard_normal((batch, 3, height, width), np.float32)
    number = np.arange(batch)[:, None, None, None]
    phase = np.arange(height)[:, None] / (5 + 3 * number) + np.arange(width) / (13 - 2 * number)
    scene = np.sin(phase) + generator.normal(0, 1, (batch, 3, 1, 1))
    return ((0.5 + 0.4 * number) * (0.5 * noise + scene)).astype(np.float32)


def labels(batch: int, height: int, width: int, classes: int) -> np.ndarray:
    """Labels (batch, height, width) uint8 in blocks of 8 pixels, a fifth of them 255."""
    generator = np.random.default_rng(zlib.crc32(f"labels {batch} {height} {width}".encode()))
    shape = (batch, -(-height // 8), -(-width // 8))
    blocks = generator.integers(0, classes, shape)
    blocks[generator.uniform(size=shape) < 0.2] = 255
    return blocks.repeat(8, 1).repeat(8, 2)[:, :height, :width].astype(np.uint8)
