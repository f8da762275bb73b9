"""What a run will do, in words, before it begins."""

import importlib

import pytest

from arm_jax import experiment as experiments
from arm_jax.data.labels import ADE20K, CAMVID, CITYSCAPES
from arm_jax.run import describe
from arm_jax.system import sharding


def load(name, argument=None, **overrides):
    config = importlib.import_module(f"configs.{name}").get_config(argument)
    config.update_from_flattened_dict(overrides)
    return config


class Many:
    """A source that is only counted."""

    def __init__(self, number, classes):
        self.number, self.classes = number, classes

    def __len__(self):
        return self.number


WHOLE = "tested by    whole image; single scale, no flip;"


@pytest.mark.parametrize(
    ("name", "row", "images", "classes", "expected"),
    [
        (
            "cityscapes_fine",
            "base",
            (2975, 500),
            CITYSCAPES,
            [
                "train on     2,975 images of cityscapes train, 19 classes, fine labels\n",
                "evaluate on  500 images of cityscapes val, fine labels\n",
                WHOLE,
                "40,000 steps of 16 crops of 512x1024, about 215.1 epochs",
                "ce loss, no reweighting",
            ],
        ),
        (
            "cityscapes_coarse",
            "arm,trainval,tta",
            (3475, 500),
            CITYSCAPES,
            [
                "train on     3,475 images of cityscapes train+val, 19 classes, coarse labels\n",
                "scales 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2 and horizontal flip: 14 passes, logits",
                "note         val is trained on too: the scores show that the run is sound, not",
            ],
        ),
        (
            "cityscapes_coarse_extension",
            "arm",
            (19998, 500),
            CITYSCAPES,
            [
                "19,998 images of cityscapes train_extra, 19 classes, coarse labels\n",
                "200,000 steps of 16 crops of 512x1024, about 160.0 epochs",
            ],
        ),
        (
            "ade20k",
            "arm",
            (20210, 2000),
            ADE20K,
            [
                "train on     20,210 images of ade20k train, 150 classes, fine labels\n",
                "whole image; image resized to fit 512x2048, shape kept; single scale, no flip;",
                "160,000 steps of 16 crops of 512x512, about 126.7 epochs",
                "from  ImageNet weights in the backbone, hf://timm/resnest101e.in1k, and random",
            ],
        ),
        (
            "camvid_coarse",
            "arm",
            (367, 233),
            CAMVID,
            [
                "11 classes, coarse labels simulated from the fine ones (preset cityscapes)\n",
                "evaluate on  233 images of camvid test, fine labels\n",
                "over all labelled pixels, and over those within 5 px of a class boundary\n",
                "besides      arm.lr_multiplier = 5.0\n",
            ],
        ),
    ],
)
def test_what_will_be_done_is_said_in_words(name, row, images, classes, expected):
    config = load(name, row)
    training, evaluation = (Many(number, classes) for number in images)
    protocol = experiments.build(config, classes).protocol
    words = describe.run(config, training, evaluation, sharding.make_mesh(), protocol) + "\n"
    for part in expected:
        assert part in words
    assert ("note" in words) == ("trainval" in row)


def test_sliding_windows_wrong_classes_and_weight_files_are_said_too():
    config = load("camvid_coarse")
    config.model.pretrained = "mine.pth"
    config.data.wrong_share = 0.1
    config.evaluation.crop, config.evaluation.boundary_width = (240, 240), 0
    many = Many(9, CAMVID)
    protocol = experiments.build(config, CAMVID).protocol
    words = describe.run(config, many, many, sharding.make_mesh(), protocol)
    assert "(preset cityscapes, 10% of them given a wrong class)" in words
    assert "sliding windows of 240x240 pixels (height x width) every 160 rows" in words
    assert "scores       over all labelled pixels\n" in words
    assert "starts from  mine.pth, random where it has nothing that fits\n" in words
    config.model.pretrained = ""
    words = describe.run(config, many, many, sharding.make_mesh(), protocol)
    assert "starts from  random weights\n" in words
