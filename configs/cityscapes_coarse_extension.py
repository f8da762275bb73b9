"""Cityscapes Coarse Extension: trained on gtCoarse of train_extra, evaluated on fine val.

Sec. 4.1 of the paper gives this name to the 19,998 images with coarse labels alone, and T = 200,000
of 16 crops for "about 160 epochs" (Sec. 4.2) are 160 passes over these images: train_extra by
itself. Whether its appendix, in which the Extension raises the test mIoU of Table 6 from 71.96 to
73.90 (Sec. 4.5), adds them to the coarse labels of train and val is not said. For that there are
the rows `with_train` (139 epochs) and `with_trainval` (136). One image of the release is broken and
is left out.

    python -m arm_jax.main --config configs/cityscapes_coarse_extension.py:arm \
        --workdir runs/extra_arm --config.data.root=/data/cityscapes
"""

from ml_collections import ConfigDict

from arm_jax.configs import base, cityscapes_coarse

ROWS = {
    "with_train": {"data.train_split": "train+train_extra"},
    "with_trainval": {"data.train_split": "train+val+train_extra"},
}


def get_config(argument: str | None = None) -> ConfigDict:
    config = cityscapes_coarse.get_config()
    config.steps = 200_000
    config.data.train_split = "train_extra"
    config.eval_every = 20_000
    return base.apply_rows(config, argument, ROWS)
