"""A head on the frozen first stages of ResNet-50, on CamVid: minutes a run on two CPU cores.

Not in the paper. Images are fitted to 240x320, and what the frozen stages make of them is computed
once and kept (`model.feature_cache`); no resize and no jitter then. Labels, splits and rows are
those of configs/camvid_coarse.py. docs/laptop.md has what this costs against training all.

    python -m arm_jax.main --config configs/camvid_head.py:arm --workdir runs/head_arm \
        --config.data.root=/data/camvid
"""

from ml_collections import ConfigDict

from arm_jax.configs import base, camvid_coarse


def get_config(argument: str | None = None) -> ConfigDict:
    config = camvid_coarse.get_config()
    config.steps = 300
    config.batch_size = 8
    config.augment.crop = (128, 160)
    config.augment.base_size = (240, 320)
    config.augment.ratio = (1.0, 1.0)
    config.augment.jitter = False
    config.model.name = "deeplabv3plus_resnet50_stage3"
    config.model.output_stride = 16
    config.model.dtype = "float32"
    config.model.freeze = ("stem", "stage1", "stage2", "stage3")
    config.model.feature_cache = True
    config.evaluation.size = (240, 320)
    config.log_every = 50
    config.eval_every = config.save_every = 10_000  # at the end
    return base.apply_rows(config, argument, camvid_coarse.ROWS)
