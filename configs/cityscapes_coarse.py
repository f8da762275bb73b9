"""Cityscapes Coarse: trained on gtCoarse of the 2,975 train images, evaluated on fine val.

Table 1 and Table 3 of the paper (ResNet-101 DeepLabv3+, one scale; 8 GTX 2080 Ti, 40,000 steps):

    row       aAcc    mAcc    mIoU
    base      93.55   82.21   70.33
    linear    93.92   83.30   72.13
    arm       93.88   83.83   71.94

    python -m arm_jax.main --config configs/cityscapes_coarse.py:arm --workdir runs/coarse_arm \
        --config.data.root=/data/cityscapes
"""

from ml_collections import ConfigDict

from configs import base


def get_config(argument: str | None = None) -> ConfigDict:
    config = base.get_config()
    config.data.dataset = "cityscapes"
    return base.variant(config, argument)
