"""Runs short enough to be made by the dozen: what docs/experiments.md tabulates.

    python scripts/compare.py configs/grid.py:base configs/grid.py:arm --workdir runs/compare

The scenes of configs/demo.py in crops of a quarter of their area, and a network of 0.4 million
parameters, from scratch: a minute of one core a run.

Reweighting scales the loss by `loss_ratio`, up to 1.8 here, and so the steps that SGD takes. Row
`faster` lets a base model take such steps as well: `base,faster`.
"""

from ml_collections import ConfigDict

from arm_jax.configs import base, street_scenes

ROWS = {"faster": {"optimizer.learning_rate": 0.18}}


def get_config(argument: str | None = None) -> ConfigDict:
    config = street_scenes.get_config()
    config.data.builder_config = "demo"
    config.steps = 400
    config.batch_size = 8
    config.augment.crop = (64, 128)
    config.augment.ratio = (0.5, 1.0)
    config.model.name = "deeplabv3plus_resnet10"
    config.model.output_stride = 16
    config.model.dtype = "float32"
    config.arm.lr_multiplier = 3.0
    config.optimizer.learning_rate = 0.1
    config.log_every = 50
    config.eval_every = config.save_every = 10_000  # at the end
    return base.apply_rows(config, argument, ROWS)
