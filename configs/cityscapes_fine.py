"""Cityscapes Fine: trained on gtFine of the 2,975 train images, evaluated on fine val.

Table 3 and Table 5 of the paper (ResNet-101 DeepLabv3+, one scale; 8 GTX 2080 Ti, 40,000 steps):

    row       aAcc    mAcc    mIoU
    base      96.49   90.47   80.76
    ohem      96.52   90.74   81.23
    arm       96.62   90.97   81.73

    python -m arm_jax.main --config configs/cityscapes_fine.py:arm --workdir runs/fine_arm \
        --config.data.root=/data/cityscapes

Table 6 (mIoU by the test server: base 81.39, ohem 81.81, linear 82.05, arm 81.87) is trained on the
fine labels of train and val, row `trainval`, and tested with row `tta`; the commands are those of
configs/cityscapes_coarse.py.
"""

from ml_collections import ConfigDict

from arm_jax.configs import base, cityscapes_coarse


def get_config(argument: str | None = None) -> ConfigDict:
    config = cityscapes_coarse.get_config()
    config.data.train_labels = "fine"
    return base.apply_rows(config, argument, cityscapes_coarse.ROWS)
