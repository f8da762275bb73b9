"""Cityscapes Coarse: trained on gtCoarse of the 2,975 train images, evaluated on fine val.

Table 1 and Table 3 of the paper (ResNet-101 DeepLabv3+, one scale; 8 GTX 2080 Ti, 40,000 steps):

    row       aAcc    mAcc    mIoU
    base      93.55   82.21   70.33
    linear    93.92   83.30   72.13
    arm       93.88   83.83   71.94

    python -m arm_jax.main --config configs/cityscapes_coarse.py:arm --workdir runs/coarse_arm \
        --config.data.root=/data/cityscapes

Table 6 (mIoU by the test server: base 71.28, ohem 71.18, linear 71.63, arm 71.96) is trained on the
coarse labels of train and val, row `trainval`, and tested with the augmentation of row `tta`:

    python -m arm_jax.main --config configs/cityscapes_coarse.py:arm,trainval \
        --workdir runs/table6 --config.data.root=/data/cityscapes
    python -m arm_jax.main --workdir runs/table6 --mode server --config.evaluation.tta=ocr
"""

from ml_collections import ConfigDict

from arm_jax.configs import base

# Fine val goes on being evaluated, to see that the run is sound; its images are then known.
ROWS = {"trainval": {"data.train_split": "train+val"}}


def get_config(argument: str | None = None) -> ConfigDict:
    config = base.get_config()
    config.data.dataset = "cityscapes"
    config.model.pretrained = "imagenet"
    config.evaluation.boundary_width = 5
    return base.apply_rows(config, argument, ROWS)
