"""A head on the frozen first stages of ResNet-50, on CamVid: for a CPU.

Not in the paper. Images are fitted to 240x320, and what the frozen stages make of them is computed
once and kept (`model.feature_cache`), so that there is no resize at random and no jitter; crops are
parts of the features. All else is as in configs/camvid_finetune.py. docs/laptop.md
has more.

    python -m arm_jax.main --config configs/camvid_head.py:arm --workdir runs/head_arm \
        --config.data.root=/data/camvid
"""

from ml_collections import ConfigDict

from arm_jax.configs import base, camvid_coarse, camvid_finetune


def get_config(argument: str | None = None) -> ConfigDict:
    config = camvid_finetune.get_config()
    config.augment.crop = (128, 160)
    config.augment.ratio = (1.0, 1.0)
    config.augment.jitter = False
    config.model.dtype = "float32"
    config.model.freeze = ("stem", "stage1", "stage2", "stage3")
    config.model.feature_cache = True
    config.optimizer.backbone_lr_multiplier = 1.0
    return base.apply_rows(config, argument, camvid_coarse.ROWS)
