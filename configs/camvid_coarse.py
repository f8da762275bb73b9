"""CamVid with coarse labels simulated from its fine ones, evaluated on the fine test drives.

Not in the paper. Give the folder of SegNet's CamVid ({train,val,test} and {train,val,test}annot,
480x360, 11 classes), or one with images/{train,val,test} and labels/{train,val,test}. The
validation split is seven seconds of one drive, so that nothing can be chosen on it; the test split
is used. Row `fine` trains on the fine labels instead, for comparison; `hard` and the other presets
of docs/data.md are `--config.data.coarsen=hard`.

    python -m arm_jax.main --config configs/camvid_coarse.py:arm --workdir runs/camvid_arm \
        --config.data.root=/data/camvid
"""

from ml_collections import ConfigDict

from arm_jax.configs import base

ROWS = {"fine": {"data.coarsen": "", "data.train_labels": "fine"}}


def get_config(argument: str | None = None) -> ConfigDict:
    config = base.get_config()
    config.steps = 10_000
    config.batch_size = 8
    config.data.dataset = "camvid"
    config.data.coarsen = "cityscapes"
    config.data.eval_split = "test"
    config.augment.crop = (320, 448)
    config.model.name = "deeplabv3plus_resnet50"
    config.model.pretrained = "imagenet"
    config.evaluation.boundary_width = 5
    config.arm.lr_multiplier = 5.0
    config.eval_every = 1_000
    return base.apply_rows(config, argument, ROWS)
