"""Your own two folders: `images/` and `labels/` of equal names, labels as index PNGs.

    ROOT/images/train/a.jpg  ROOT/labels/train/a.png     to train on
    ROOT/images/val/b.jpg    ROOT/labels/val/b.png       to evaluate on

    python -m arm_jax.main --config configs/custom.py --workdir runs/mine \
        --config.data.root=ROOT --config.data.classes='("road","building","sky")'

A pixel's label is its class's place in that list, from 0; 255 (`data.ignore`) means none. The
defaults are for one accelerator: 10,000 steps of ResNet-50 on 512x512 crops. ImageNet weights are
downloaded on the first start; docs/weights.md describes what to do without a network.
"""

from ml_collections import ConfigDict

from arm_jax.configs import base


def get_config(argument: str | None = None) -> ConfigDict:
    config = base.get_config()
    config.steps = 10_000
    config.batch_size = 8
    config.augment.crop = (512, 512)
    config.model.name = "deeplabv3plus_resnet50"
    config.model.pretrained = "imagenet"
    config.arm.lr_multiplier = "auto"
    config.eval_every = 1_000
    return base.apply_rows(config, argument)
