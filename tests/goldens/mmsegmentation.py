"""mmsegmentation's networks on a CPU, filled by the rule: for the scripts that make goldens.

Needs an environment of its own: torch 2.13.0, mmsegmentation 1.2.2 (--no-deps), mmengine,
mmcv-lite 2.1.0, setuptools<81, ftfy, regex, prettytable, scipy, matplotlib.
"""

import sys
import types
from pathlib import Path

import fill
import torch


class _NoCompiledOps(types.ModuleType):
    """Stands for mmcv.ops, which mmcv-lite lacks: imported there, not used by these networks."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


for name in ("mmcv.ops", "mmcv.ops.point_sample", "mmcv.ops.carafe"):
    sys.modules[name] = _NoCompiledOps(name)

import mmcv  # noqa: E402

mmcv.ops = sys.modules["mmcv.ops"]

import mmseg  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmseg.registry import MODELS  # noqa: E402
from mmseg.utils import register_all_modules  # noqa: E402

register_all_modules(init_default_scope=True)

CONFIGS = {
    "deeplabv3plus_resnet18": "deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024.py",
    "deeplabv3plus_resnet50": "deeplabv3plus/deeplabv3plus_r50-d8_4xb2-40k_cityscapes-512x1024.py",
    "deeplabv3plus_resnet101": (
        "deeplabv3plus/deeplabv3plus_r101-d8_4xb2-40k_cityscapes-512x1024.py"
    ),
    "deeplabv3plus_resnet101_stride16": (
        "deeplabv3plus/deeplabv3plus_r101-d16-mg124_4xb2-40k_cityscapes-512x1024.py"
    ),
    "deeplabv3plus_resnest101": "resnest/resnest_s101-d8_deeplabv3plus_4xb4-160k_ade20k-512x512.py",
    "ocr_resnet101": "ocrnet/ocrnet_r101-d8_8xb2-40k_cityscapes-512x1024.py",
}


def build(name: str, margin: float = 0.0, **backbone):
    """The network of a config in evaluation mode; `backbone` overrides the config's."""
    root = Path(mmseg.__file__).parent / ".mim/configs"
    config = Config.fromfile(root / CONFIGS[name]).model
    _use_plain_batch_norm(config)
    config.pretrained = None
    config.backbone.update(backbone)
    return fill_module(MODELS.build(config).eval(), margin)


def fill_module(module: torch.nn.Module, margin: float = 0.0) -> torch.nn.Module:
    """Fill every tensor of the module's state dict but BatchNorm's counters."""
    state = {
        key: torch.from_numpy(fill.tensor(key, tuple(value.shape), margin))
        for key, value in module.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    module.load_state_dict(state, strict=False)
    return module


def logits(model, images) -> tuple[torch.Tensor, torch.Tensor]:
    """Main and auxiliary logits before any resizing, in the model's present mode."""
    features = model.extract_feat(images)
    if isinstance(model.decode_head, torch.nn.ModuleList):
        coarse = model.decode_head[0](features)
        # In training mmsegmentation runs the coarse head once more for the second head.
        again = model.decode_head[0](features) if model.training else coarse
        return model.decode_head[1](features, again), coarse
    return model.decode_head(features), model.auxiliary_head(features)


def _use_plain_batch_norm(config):
    if isinstance(config, dict):
        if config.get("type") == "SyncBN":
            config["type"] = "BN"
        for value in config.values():
            _use_plain_batch_norm(value)
    elif isinstance(config, list | tuple):
        for value in config:
            _use_plain_batch_norm(value)
