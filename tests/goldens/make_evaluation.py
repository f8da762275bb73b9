"""Makes evaluation.npz: scores and metrics of mmsegmentation on a tiny network and odd sizes.

    python tests/goldens/make_evaluation.py     (environment: see mmsegmentation.py)

Made with mmsegmentation 1.2.2, mmcv-lite 2.1.0, torch 2.13.0 (CPU). Scaled sizes are those of
mmsegmentation 0.x's MultiScaleFlipAug, which cuts the limits to whole numbers; 1.x rounds them.
"""

from pathlib import Path

import fill
import mmcv
import mmsegmentation
import numpy as np
import torch
from mmengine.config import ConfigDict
from mmseg.evaluation.metrics import IoUMetric
from mmseg.models.segmentors.seg_tta import SegTTAModel
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

CLASSES, SIZE = 5, (29, 42)
MEAN, DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@MODELS.register_module()
class TinyBackbone(nn.Module):
    """Two convolutions of stride 2."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(8, 8, 3, stride=2, padding=1)

    def forward(self, x):
        return (torch.relu(self.conv2(torch.relu(self.conv1(x)))),)


def build(align_corners: bool):
    head = {
        "type": "FCNHead",
        "num_convs": 0,
        "concat_input": False,
        "in_channels": 8,
        "in_index": 0,
        "channels": 8,
        "num_classes": CLASSES,
        "align_corners": align_corners,
    }
    model = MODELS.build(
        {
            "type": "EncoderDecoder",
            "backbone": {"type": "TinyBackbone"},
            "decode_head": head,
            "test_cfg": {"mode": "whole"},
        }
    )
    model = mmsegmentation.fill_module(model.eval())
    with torch.no_grad():
        model.decode_head.conv_seg.weight *= 30  # so that classes differ from place to place
    return model


def look(model, view, flip):
    """One pass: a sample with scores at the original size."""
    image = np.ascontiguousarray(view[:, ::-1] if flip else view)
    pixels = ((image - np.array(MEAN)) / np.array(DEVIATION)).astype(np.float32)
    meta = {"ori_shape": SIZE, "img_shape": view.shape[:2], "img_path": ""}
    if flip:
        meta |= {"flip": True, "flip_direction": "horizontal"}
    sample = SegDataSample(metainfo=meta)
    with torch.no_grad():
        return model.predict(torch.from_numpy(pixels.transpose(2, 0, 1))[None], [sample])[0]


def scores(model, image, *, crop=None, stride=None, scales=(1.0,), flip=False):
    """What argmax is taken of: logits of one pass, or mean probabilities of several."""
    model.test_cfg = ConfigDict(mode="whole")
    if crop is not None:
        model.test_cfg = ConfigDict(mode="slide", crop_size=crop, stride=stride)
    height, width = SIZE
    passes = []
    for scale in scales:
        view = mmcv.imrescale(image, (int(width * scale), int(height * scale)))
        passes += [look(model, view, mirrored) for mirrored in (False, True)[: 1 + flip]]
    if len(passes) == 1:
        return passes[0].seg_logits.data.numpy().transpose(1, 2, 0)
    total = sum(one.seg_logits.data.softmax(dim=0) for one in passes) / len(passes)
    merged = SegTTAModel(module=model).merge_preds([passes])[0].pred_sem_seg.data
    assert (total.argmax(dim=0) == merged).all()
    return total.numpy().transpose(1, 2, 0)


def main():
    rng = np.random.default_rng(0)
    image = np.clip(60 * fill.images(1, *SIZE)[0].transpose(1, 2, 0) + 128, 0, 255)
    image = image.astype(np.uint8)
    model, aligned = build(False), build(True)
    arrays = {
        "image": image,
        "whole": scores(model, image),
        "slide": scores(model, image, crop=(16, 20), stride=(7, 11)),
        "aligned": scores(aligned, image, crop=(17, 17), stride=(9, 9)),
        "augmented": scores(model, image, scales=(0.5, 1.0, 1.75), flip=True),
    }
    state = model.state_dict()
    for key in ("backbone.conv1", "backbone.conv2", "decode_head.conv_seg"):
        arrays[f"{key}.kernel"] = state[f"{key}.weight"].numpy().transpose(2, 3, 1, 0)
        arrays[f"{key}.bias"] = state[f"{key}.bias"].numpy()

    # Class 5 is neither labelled nor predicted, class 6 only predicted.
    label = rng.integers(0, 5, (2, 40, 50)).astype(np.uint8)
    prediction = np.where(rng.random(label.shape) < 0.6, label, rng.integers(0, 5, label.shape))
    prediction = np.where(rng.random(label.shape) < 0.05, 6, prediction).astype(np.uint8)
    label[rng.random(label.shape) < 0.2] = 255
    areas = [
        IoUMetric.intersect_and_union(torch.from_numpy(p), torch.from_numpy(t), 7, 255)
        for p, t in zip(prediction, label, strict=True)
    ]
    found = IoUMetric.total_area_to_metrics(*(sum(area) for area in zip(*areas, strict=True)))
    arrays |= {"label": label, "prediction": prediction}
    arrays |= {name: 100 * np.asarray(value, np.float64) for name, value in found.items()}
    np.savez_compressed(Path(__file__).with_name("evaluation.npz"), **arrays)


if __name__ == "__main__":
    main()
