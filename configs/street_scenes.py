"""Generated street scenes: coarse labels to train on, exact ones to evaluate on; no download.

    python -m arm_jax.main --config configs/street_scenes.py:arm --workdir runs/scenes_arm

Rows: base (plain cross entropy), linear (Linear ARM), arm. The scenes are drawn and prepared under
`data.root` on the first start. ResNet-50 on 256x512 scenes: an experiment for one accelerator, or
for a CPU and a night.
"""

from ml_collections import ConfigDict

from arm_jax.configs import base


def get_config(argument: str | None = None) -> ConfigDict:
    config = base.get_config()
    config.steps = 10_000
    config.data.dataset = "street_scenes"
    config.data.root = "data"
    config.augment.crop = (256, 512)
    config.model.name = "deeplabv3plus_resnet50"
    config.eval_every = 1_000
    return base.apply_rows(config, argument)
