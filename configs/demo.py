"""The main job in minutes on two CPU cores: ARM on coarse labels of generated street scenes.

`make demo` runs this and leaves the page runs/demo/report.html. ResNet-18 DeepLabv3+ at output
stride 16, from scratch; the short run needs a larger learning rate for ARM (see
`arm.lr_multiplier`).

    python -m arm_jax.main --config configs/demo.py --workdir runs/demo
"""

from ml_collections import ConfigDict

from arm_jax.configs import base, street_scenes


def get_config(argument: str | None = None) -> ConfigDict:
    config = street_scenes.get_config()
    config.steps = 300
    config.batch_size = 4
    config.data.builder_config = "demo"
    config.augment.crop = (96, 192)
    config.model.name = "deeplabv3plus_resnet18"
    config.model.output_stride = 16
    config.model.dtype = "float32"
    config.arm.lr_multiplier = "auto"
    config.log_every = 20
    config.eval_every = 150
    config.save_every = 100
    return base.apply_rows(config, argument)
