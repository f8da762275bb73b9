"""Makes ohem.npz: which pixels mmsegmentation's OHEMPixelSampler keeps, on random logits.

    pip install torch==2.13.0 mmengine mmcv-lite==2.1.0
    pip install --no-deps mmsegmentation==1.2.2
    python tests/goldens/make_ohem.py

Made with mmsegmentation 1.2.2, torch 2.13.0 (CPU) and numpy 2. Layout here is NHWC.
"""

import sys
import types
from pathlib import Path

import numpy as np
import torch


class _Absent(types.ModuleType):
    """Stands in for the compiled operators, which mmcv-lite has none of and the sampler no use."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


sys.modules["mmcv.ops"] = _Absent("mmcv.ops")
from mmseg.structures.sampler import OHEMPixelSampler  # noqa: E402

IGNORE = 255
IMAGES, HEIGHT, WIDTH, CLASSES = 2, 23, 17, 5
# mmsegmentation's min_kept is for one image.
CASES = [(0.7, 100), (0.9, 20), (0.05, 150), (0.0, 60), (0.01, 2), (0.7, 100_000), (0.2, 250)]


def main():
    rng = np.random.default_rng(0)
    logits = (2 * rng.standard_normal((IMAGES, HEIGHT, WIDTH, CLASSES))).astype(np.float32)
    labels = rng.integers(0, CLASSES, (IMAGES, HEIGHT, WIDTH)).astype(np.uint8)
    labels[rng.random(labels.shape) < 0.35] = IGNORE
    context = types.SimpleNamespace(ignore_index=IGNORE)
    arrays = {
        "logits": logits,
        "labels": labels,
        "thresholds": np.array([threshold for threshold, _ in CASES]),
        "min_kept": np.array([kept for _, kept in CASES]),
    }
    nchw = torch.from_numpy(logits.transpose(0, 3, 1, 2).copy())
    for i, (threshold, kept) in enumerate(CASES):
        sampler = OHEMPixelSampler(context, thresh=threshold, min_kept=kept)
        weight = sampler.sample(nchw, torch.from_numpy(labels.astype(np.int64))[:, None])
        arrays[f"kept_{i}"] = weight.numpy() > 0
        print(threshold, kept, int(weight.sum()), "of", int((labels != IGNORE).sum()))
    np.savez_compressed(Path(__file__).with_name("ohem.npz"), **arrays)


if __name__ == "__main__":
    main()
