"""Runs short enough to be made by the dozen: what docs/experiments.md tabulates.

    python scripts/compare.py configs/grid.py:base configs/grid.py:arm --workdir runs/compare

The scenes of configs/demo.py in crops of a quarter of their area, and a network of 0.4 million
parameters.
"""

from ml_collections import ConfigDict

from configs import base, demo


def get_config(argument: str | None = None) -> ConfigDict:
    config = demo.get_config()
    config.steps = 400
    config.batch_size = 8
    config.augment.crop = (64, 128)
    config.augment.ratio = (0.5, 1.0)
    config.model.name = "deeplabv3plus_resnet10"
    config.optimizer.learning_rate = 0.1
    config.log_every = 50
    config.eval_every = config.save_every = 10_000  # at the end
    return base.variant(config, argument)
