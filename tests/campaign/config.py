"""A network of a few thousand parameters on images of 32 x 48 pixels, for eight steps."""

from ml_collections import ConfigDict

from arm_jax import networks
from arm_jax.configs import base

SIZES = {"depths": (1, 1, 1, 1), "width": 4, "channels": 8}
SIZES |= {"low_level_channels": 4, "auxiliary_channels": 4}
networks.ARCHITECTURES["tiny"] = networks.ARCHITECTURES["deeplabv3plus_resnet18"].sized(**SIZES)


def get_config(argument: str | None = None) -> ConfigDict:
    config = base.get_config()
    config.steps = 8
    config.batch_size = 2
    config.data.classes = ("road", "building", "sky")
    config.augment.crop = (32, 32)
    config.augment.jitter = False
    config.model.name = "tiny"
    config.model.output_stride = 16
    config.model.dtype = "float32"
    config.input.threads = 2
    config.evaluation.batch_size = 2
    config.log_every = 1
    config.eval_every = 4
    config.save_every = 2
    return base.apply_rows(config, argument)
