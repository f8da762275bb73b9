"""ResNet-50's first three stages and a small head, all trained on CamVid: for one GPU.

Not in the paper. The whole network of configs/camvid_head.py, which keeps the same stages frozen:
images of 240x320, crops of that size, and labels, splits and rows of configs/camvid_coarse.py. The
stages are pretrained and the head is not, which therefore learns faster. 300 steps are 6.5 epochs.
docs/experiments.md has what was measured on it.

    python -m arm_jax.main --config configs/camvid_finetune.py:arm --workdir runs/finetune_arm \
        --config.data.root=/data/camvid
"""

from ml_collections import ConfigDict

from arm_jax.configs import base, camvid_coarse


def get_config(argument: str | None = None) -> ConfigDict:
    config = camvid_coarse.get_config()
    config.steps = 300
    config.augment.crop = (240, 320)
    config.augment.base_size = (240, 320)
    config.model.name = "deeplabv3plus_resnet50_stage3"
    config.model.output_stride = 16
    # Else poles, signs, fences and people, 4 % of the pixels, are never found in so few steps, and
    # a teacher that has not found a class yet completes it away for good.
    config.loss.class_weights = "balanced"
    config.arm.lr_multiplier = "auto"
    config.optimizer.kind = "adamw"  # SGD is far from done after so few steps
    config.optimizer.learning_rate = 0.01
    config.optimizer.backbone_lr_multiplier = 0.03
    config.optimizer.weight_decay = 0.01
    config.optimizer.schedule = "poly"
    config.evaluation.size = (240, 320)
    config.eval_every = config.save_every = 10_000  # at the end
    return base.apply_rows(config, argument, camvid_coarse.ROWS)
