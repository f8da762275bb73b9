"""The networks of the paper's experiments, made by name with `create`.

A name and sizes enter, then normalised images (b, h, w, 3); class scores (b, h / 4, w / 4, classes)
leave. The package knows nothing of labels, losses, weight files or devices.

input       ImageNet's mean and deviation, and padding
segmenter   a backbone and its heads: resnet, resnest; deeplabv3plus, ocr, fcn
layers      convolutions and their norms; batchnorm, depthwise, pooling, winograd, resampling
summary     parameters and multiply-adds, part by part
"""

from arm_jax.networks.resampling import resize
from arm_jax.networks.segmenter import ARCHITECTURES, Segmenter, architecture, create, training

__all__ = ["ARCHITECTURES", "Segmenter", "architecture", "create", "resize", "training"]
