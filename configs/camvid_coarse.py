"""CamVid with coarse labels simulated from its fine ones, evaluated on the fine test drives.

Not in the paper. Give the folder that holds images/{train,val,test} and labels/{train,val,test}
with index PNGs of the 11 classes (255 where there is no label), 480x360. The validation split is
seven seconds of one drive, so that nothing can be chosen on it; the test split is used.

    python -m arm_jax.main --config configs/camvid_coarse.py:arm --workdir runs/camvid_arm \
        --config.data.root=/data/camvid
"""

from ml_collections import ConfigDict

from configs import base


def get_config(argument: str | None = None) -> ConfigDict:
    config = base.get_config()
    config.steps = 10_000
    config.batch_size = 8
    config.data.dataset = "camvid"
    config.data.coarsen = "cityscapes"
    config.data.eval_split = "test"
    config.augment.crop = (320, 448)
    config.model.name = "deeplabv3plus_resnet50"
    config.arm.lr_multiplier = 5.0
    config.eval_every = 1_000
    return base.variant(config, argument)
