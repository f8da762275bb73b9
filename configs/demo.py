"""The main job in minutes on two CPU cores: ARM on coarse labels of generated street scenes.

`make demo` runs this and draws the figures. ResNet-10 DeepLabv3+ at output stride 16, from
scratch. A short run needs a quick optimiser, and weights that let it see the thin and rare classes
(see `loss.class_weights`), and an ARM that does not stay on its plateau (`arm.lr_multiplier`).

    python -m arm_jax.main --config configs/demo.py --workdir runs/demo
"""

from ml_collections import ConfigDict

from arm_jax.configs import base, street_scenes

# For classes of any number, too.
SMOKE = {**base.SMOKE, "loss.class_weights": "balanced"}


def get_config(argument: str | None = None) -> ConfigDict:
    config = street_scenes.get_config()
    config.steps = 1100
    config.batch_size = 4
    config.data.builder_config = "demo"
    config.augment.crop = (96, 192)
    config.augment.ratio = (0.75, 1.5)  # a pole of two pixels does not survive half of the size
    config.augment.jitter = False  # the scenes have no lighting to vary
    config.model.name = "deeplabv3plus_resnet10"
    config.model.output_stride = 16
    config.model.dtype = "float32"
    config.arm.lr_multiplier = "auto"
    # Balanced by the labels, but three times as much for poles: these are two pixels wide, their
    # coarse labels hold half of them, and without that they are hardly found (IoU 0.8 %).
    config.loss.class_weights = (0.6, 1.5, 2.6, 0.9, 3.9, 1.4, 0.8, 12.0, 7.8, 1.75, 4.0)
    config.optimizer.kind = "adamw"
    config.optimizer.learning_rate = 0.002
    config.optimizer.weight_decay = 0.01
    config.optimizer.schedule = "poly"
    config.log_every = 50
    config.eval_every = 550
    config.save_every = 550
    return base.apply_rows(config, argument, {"smoke": SMOKE})
