"""ADE20K: trained on the 20,210 train images with 150 classes, evaluated on val.

Table 5 of the paper (ResNeSt-101 DeepLabv3+, one scale; 8 GTX 2080 Ti, 160,000 steps):

    row       aAcc    mAcc    mIoU
    base      80.88   63.55   45.91
    ohem      81.25   65.19   46.78
    arm       81.07   64.22   46.51

    python -m arm_jax.main --config configs/ade20k.py:arm --workdir runs/ade20k_arm \
        --config.data.root=/data/ADEChallengeData2016

Table 6 (mIoU on val: base 46.46, ohem 47.30, linear 47.50, arm 47.19) adds the test-time
augmentation of row `tta` to the same runs: `:arm,tta` with `--mode evaluate`.
"""

from ml_collections import ConfigDict

from arm_jax.configs import base


def get_config(argument: str | None = None) -> ConfigDict:
    config = base.get_config()
    config.steps = 160_000
    config.data.dataset = "ade20k"
    config.data.train_labels = "fine"
    config.augment.crop = (512, 512)
    config.augment.base_size = (512, 2048)  # short and long side before the random resize
    config.model.name = "deeplabv3plus_resnest101"
    config.model.pretrained = "imagenet"
    config.evaluation.size = (512, 2048)
    config.evaluation.multiple = 64  # or each of the many sizes would be compiled
    config.evaluation.boundary_width = 5
    config.eval_every = 16_000
    return base.apply_rows(config, argument)
