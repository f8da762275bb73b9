"""Makes networks_*.npz: what mmsegmentation 1.2.2 answers, in evaluation and in training mode.

    python tests/goldens/make_networks.py

in the environment that mmsegmentation.py describes. The logits are stored at every second row and
column; `versions` tells what made them.
"""

from pathlib import Path

import fill
import mmcv
import mmengine
import mmseg
import numpy as np
import torch
import torch.nn.functional as F
from mmsegmentation import build, logits

HERE = Path(__file__).parent
VERSIONS = (
    f"torch {torch.__version__}, mmsegmentation {mmseg.__version__}, "
    f"mmengine {mmengine.__version__}, mmcv-lite {mmcv.__version__}, numpy {np.__version__}"
)

# An even size, and an odd one wide enough for the largest dilation, 36 positions of 8 pixels.
SIZES = [(2, 64, 96), (1, 97, 321)]
# 150 classes make larger files.
SIZES_OF_RESNEST = [(1, 32, 64), (1, 33, 321)]

# Tensors whose gradients are compared, from both ends of the network and from each part.
GRADIENTS = {
    "deeplabv3plus_resnet18": [
        "backbone.stem.0.weight",
        "backbone.stem.1.weight",
        "backbone.layer2.0.downsample.0.weight",
        "backbone.layer3.1.bn2.bias",
        "decode_head.image_pool.1.conv.weight",
        "decode_head.aspp_modules.3.depthwise_conv.conv.weight",
        "decode_head.sep_bottleneck.0.depthwise_conv.bn.weight",
        "decode_head.conv_seg.weight",
        "auxiliary_head.convs.0.bn.weight",
        "auxiliary_head.conv_seg.bias",
    ],
    "ocr_resnet50": [
        "backbone.layer4.2.bn2.weight",
        "decode_head.0.convs.0.bn.weight",
        "decode_head.0.conv_seg.weight",
        "decode_head.1.bottleneck.bn.bias",
        "decode_head.1.object_context_block.key_project.0.conv.weight",
        "decode_head.1.object_context_block.value_project.bn.weight",
        "decode_head.1.conv_seg.bias",
    ],
}
STATISTICS = {
    "deeplabv3plus_resnet18": [
        "backbone.stem.1",
        "backbone.layer4.1.bn2",
        "decode_head.bottleneck.bn",
        "auxiliary_head.convs.0.bn",
    ],
    "ocr_resnet50": [
        "backbone.stem.1",
        "backbone.layer4.2.bn3",
        "decode_head.1.object_context_block.query_project.1.bn",
    ],
}


def evaluation(name, sizes):
    model = build(name)
    arrays = {}
    for size in sizes:
        with torch.no_grad():
            main, auxiliary = logits(model, torch.from_numpy(fill.images(*size)))
        tag = "x".join(map(str, size))
        for part, values in (("main", main), ("auxiliary", auxiliary)):
            arrays[f"{part} {tag}"] = values[..., ::2, ::2].numpy()
            print(name, part, tag, "rms", float(values.square().mean().sqrt()))
    save(name, arrays)


def training(name, model, size):
    """One step in float64: the reference's own rounding must not count as ours."""
    model.double().train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout2d):
            module.p = 0.0
    images = torch.from_numpy(fill.images(*size)).double()
    labels = torch.from_numpy(fill.labels(*size, 19)).long()
    losses = [
        F.cross_entropy(
            F.interpolate(scores, labels.shape[1:], mode="bilinear", align_corners=False),
            labels,
            ignore_index=255,
        )
        for scores in logits(model, images)
    ]
    (losses[0] + 0.4 * losses[1]).backward()
    parameters, buffers = dict(model.named_parameters()), dict(model.named_buffers())
    arrays = {"losses": torch.stack(losses).detach().float().numpy()}
    for key in GRADIENTS[name]:
        arrays[f"gradient {key}"] = parameters[key].grad[:16].float().numpy()
    for key in STATISTICS[name]:
        for statistic in ("running_mean", "running_var"):
            arrays[f"{key}.{statistic}"] = buffers[f"{key}.{statistic}"].float().numpy()
    print(name, "training", arrays["losses"])
    save(f"{name}_training", arrays)


def save(name, arrays):
    np.savez_compressed(HERE / f"networks_{name}.npz", versions=VERSIONS, **arrays)


if __name__ == "__main__":
    # Sizes at which the reference's own gradients in float32, with the images perturbed by 1e-6,
    # stay within 1e-4 of those in float64: no ReLU there hangs on rounding. See fill.tensor.
    training("deeplabv3plus_resnet18", build("deeplabv3plus_resnet18", margin=3.0), (3, 17, 33))
    training("ocr_resnet50", build("ocr_resnet101", margin=2.0, depth=50), (3, 17, 33))
    evaluation("deeplabv3plus_resnet18", SIZES)
    evaluation("deeplabv3plus_resnet50", SIZES)
    evaluation("deeplabv3plus_resnet101", SIZES)
    evaluation("deeplabv3plus_resnet101_stride16", SIZES)
    evaluation("deeplabv3plus_resnest101", SIZES_OF_RESNEST)
    evaluation("ocr_resnet101", SIZES)
