"""The networks of the paper's experiments, made by name with `create`.

A name and sizes enter, then normalised images (b, h, w, 3); class scores (b, h / 4, w / 4, classes)
leave. The package knows nothing of labels, losses, weight files or devices.

input       bands, their mean and deviation, and padding
segmenter   a whole network, by its name
architectures  HEADS and ARCHITECTURES: deeplabv3plus, ocr, fcn on a backbone
backbones   BACKBONES: resnet, resnest
parts       what a backbone and a head must bring along; names: what other packages call them
freezing    parts of a backbone that are not trained
layers      convolutions and their norms; batchnorm, depthwise, pooling, winograd, resampling
row_tiles   maps of the full resolution, a few rows at a time
summary     parameters and multiply-adds, part by part
"""

from arm_jax.networks.architectures import ARCHITECTURES, HEADS, Architecture, architecture
from arm_jax.networks.backbones import BACKBONES
from arm_jax.networks.freezing import WEIGHTS, Frozen, freeze
from arm_jax.networks.input import RGB, Bands
from arm_jax.networks.parts import Backbone, FourStages, Head
from arm_jax.networks.resampling import resize
from arm_jax.networks.segmenter import Segmenter, create, training

__all__ = [
    "ARCHITECTURES",
    "BACKBONES",
    "HEADS",
    "RGB",
    "WEIGHTS",
    "Architecture",
    "Backbone",
    "Bands",
    "FourStages",
    "Frozen",
    "Head",
    "Segmenter",
    "architecture",
    "create",
    "freeze",
    "resize",
    "training",
]
