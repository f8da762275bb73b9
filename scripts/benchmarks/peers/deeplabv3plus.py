"""DeepLabv3+ on a dilated ResNet-V1c in PyTorch: the same network as arm_jax.networks.

The numbers are those of mmsegmentation: output stride 8 by dilations 2 and 4 whose first block has
the dilation of the stage before, a separable pyramid of 512 channels, 48 low-level channels, and an
auxiliary head of 256 on the third stage. Nothing here imports arm_jax or JAX: it is run by the
Python of another environment.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

DEPTHS = {
    "deeplabv3plus_resnet50": (3, 4, 6, 3),
    "deeplabv3plus_resnet101": (3, 4, 23, 3),
}
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)


def conv_norm(
    ins: int, outs: int, size: int, *, stride: int = 1, dilation: int = 1, groups: int = 1
) -> list[nn.Module]:
    padding = dilation * (size - 1) // 2
    conv = nn.Conv2d(ins, outs, size, stride, padding, dilation, groups, bias=False)
    return [conv, nn.BatchNorm2d(outs)]


def conv_relu(ins: int, outs: int, size: int, **options: int) -> nn.Sequential:
    return nn.Sequential(*conv_norm(ins, outs, size, **options), nn.ReLU(inplace=True))


def separable(ins: int, outs: int, dilation: int = 1) -> nn.Sequential:
    return nn.Sequential(
        conv_relu(ins, ins, 3, dilation=dilation, groups=ins), conv_relu(ins, outs, 1)
    )


class Bottleneck(nn.Module):
    def __init__(self, ins: int, width: int, stride: int, dilation: int):
        super().__init__()
        outs = 4 * width
        self.residual = nn.Sequential(
            conv_relu(ins, width, 1),
            conv_relu(width, width, 3, stride=stride, dilation=dilation),
            *conv_norm(width, outs, 1),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or ins != outs:
            self.shortcut = nn.Sequential(*conv_norm(ins, outs, 1, stride=stride))

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.residual(x) + self.shortcut(x), inplace=True)


class Backbone(nn.Module):
    """(b, 3, h, w) to the features of the four stages, at strides 4, 8, 8 and 8."""

    def __init__(self, depths: tuple[int, ...]):
        super().__init__()
        self.stem = nn.Sequential(
            conv_relu(3, 32, 3, stride=2),
            conv_relu(32, 32, 3),
            conv_relu(32, 64, 3),
            nn.MaxPool2d(3, 2, 1),
        )
        self.stages = nn.ModuleList()
        ins = 64
        plan = zip(depths, (1, 2, 1, 1), (1, 1, 2, 4), (1, 1, 1, 2), strict=True)
        for number, (depth, stride, dilation, first_dilation) in enumerate(plan):
            width = 64 * 2**number
            blocks = [Bottleneck(ins, width, stride, first_dilation)]
            ins = 4 * width
            blocks += [Bottleneck(ins, width, 1, dilation) for _ in range(depth - 1)]
            self.stages.append(nn.Sequential(*blocks))

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


class Head(nn.Module):
    """The pyramid over the last stage, refined by the first stage's features."""

    def __init__(self, classes: int):
        super().__init__()
        self.image = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv_relu(2048, 512, 1))
        self.pixel = conv_relu(2048, 512, 1)
        self.atrous = nn.ModuleList([separable(2048, 512, rate) for rate in (12, 24, 36)])
        self.fusion = conv_relu(5 * 512, 512, 3)
        self.low_level = conv_relu(256, 48, 1)
        self.refinement = nn.Sequential(separable(512 + 48, 512), separable(512, 512))
        self.classifier = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(512, classes, 1))

    def forward(self, features: list[Tensor]) -> Tensor:
        low_level, x = self.low_level(features[0]), features[-1]
        image = self.image(x).expand(-1, -1, *x.shape[2:])
        branches = [image, self.pixel(x), *(branch(x) for branch in self.atrous)]
        x = self.fusion(torch.cat(branches, 1))
        x = functional.interpolate(x, low_level.shape[2:], mode="bilinear")
        return self.classifier(self.refinement(torch.cat([x, low_level], 1)))


class DeepLabV3Plus(nn.Module):
    """Scores at stride 4; in training also the auxiliary head's, at stride 8."""

    def __init__(self, name: str, classes: int):
        super().__init__()
        self.backbone = Backbone(DEPTHS[name])
        self.head = Head(classes)
        self.auxiliary_head = nn.Sequential(
            conv_relu(1024, 256, 3), nn.Dropout2d(0.1), nn.Conv2d(256, classes, 1)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor] | Tensor:
        features = self.backbone(images)
        scores = self.head(features)
        return (scores, self.auxiliary_head(features[2])) if self.training else scores


def normalise(images: Tensor) -> Tensor:
    """uint8 (b, 3, h, w) to float32 with ImageNet's mean and deviation removed."""
    mean, std = (torch.tensor(c, device=images.device).view(1, 3, 1, 1) for c in (MEAN, STD))
    return (images - mean) / std


def loss(outputs: tuple[Tensor, Tensor], labels: Tensor, ignore: int = 255) -> Tensor:
    """Cross entropy at full resolution in float32, plus 0.4 times the auxiliary head's."""
    total = torch.zeros((), device=labels.device)
    for weight, scores in zip((1.0, 0.4), outputs, strict=False):
        scores = functional.interpolate(scores.float(), labels.shape[1:], mode="bilinear")
        total = total + weight * functional.cross_entropy(scores, labels, ignore_index=ignore)
    return total
