"""Makes networks_backbones.npz: the four stages' features of timm's and mmsegmentation's backbones.

    python tests/goldens/make_backbones.py

in the environment that mmsegmentation.py describes, with timm 1.0.31 (--no-deps). timm's resnet50
has torchvision's names and is torchvision's network. Stored are each backbone's keys and shapes,
and every 32nd channel of its features at every second row and column.

Also makes published.npz: keys and shapes of every file in arm_jax/weights/published.py, once it is
certain that timm's registry has the file, and that it wants images normalised as ours are.
"""

import importlib.abc
import importlib.machinery
import json
import sys
import types
from pathlib import Path

import fill
import mmsegmentation
import numpy as np
import torch


class _Constants(type):
    def __getattr__(cls, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return name


class _Names(types.ModuleType):
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return _Constants(name, (torch.nn.Module,), {})


class _NoTorchvision(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """timm imports torchvision, which has no build for every torch; its ResNets do not use it."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torchvision":
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return _Names(spec.name)

    def exec_module(self, module):
        pass


sys.meta_path.append(_NoTorchvision())

import timm  # noqa: E402

HERE = Path(__file__).parent
SIZES = [(1, 97, 113), (1, 64, 96)]
# Caffe's pooling loses a row of an odd map where ours keeps it.
SIZES_OF_CAFFE = [(1, 96, 112)]
PUBLISHED = [
    "resnet18.tv_in1k",
    "resnet18d.ra2_in1k",
    "resnet50.tv_in1k",
    "resnet50c.gluon_in1k",
    "resnet50d.gluon_in1k",
    "resnet50s.gluon_in1k",
    "resnet101.tv_in1k",
    "resnet101c.gluon_in1k",
    "resnet101d.gluon_in1k",
    "resnet101s.gluon_in1k",
    "resnest50d.in1k",
    "resnest101e.in1k",
]


def resnest_by_its_authors():
    """timm's ResNeSt, dilated as the authors' code does it.

    Where a stride has become a dilation, a block there still averages 3x3, and its shortcut does
    not average; timm's does the contrary.
    """
    model = timm.create_model("resnest50d", output_stride=8).eval()
    for stage in (model.layer3, model.layer4):
        assert stage[0].avd_last is None
        stage[0].avd_last = torch.nn.AvgPool2d(3, 1, padding=1)
        stage[0].downsample[0] = torch.nn.Identity()
    return model


def shapes(model):
    return {
        key: list(value.shape)
        for key, value in model.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }


def record(arrays, name, model, sizes):
    arrays[f"{name} shapes"] = np.array(json.dumps(shapes(model)))
    for size in sizes:
        tag = "x".join(map(str, size))
        for number, feature in enumerate(hooked(model, size)):
            arrays[f"{name} {tag} {number}"] = feature[0, ::32, ::2, ::2].numpy()
            print(name, number, tuple(feature.shape), float(feature.square().mean().sqrt()))


def hooked(model, size):
    collected = []
    stages = (model.layer1, model.layer2, model.layer3, model.layer4)
    hooks = [
        stage.register_forward_hook(lambda module, inputs, output: collected.append(output))
        for stage in stages
    ]
    with torch.no_grad():
        model(torch.from_numpy(fill.images(*size)))
    for hook in hooks:
        hook.remove()
    return collected


def published():
    """Backbones share most of their keys and shapes, so that these compress well."""
    found = {}
    for name in PUBLISHED:
        settings = timm.get_pretrained_cfg(name)
        assert settings.hf_hub_id == f"timm/{name}"
        assert settings.mean == (0.485, 0.456, 0.406) and settings.std == (0.229, 0.224, 0.225)
        found[f"hf://timm/{name}"] = shapes(timm.create_model(name.partition(".")[0]))
    return found


def main():
    np.savez_compressed(HERE / "published.npz", shapes=np.array(json.dumps(published())))
    arrays = {
        "versions": np.array(
            f"torch {torch.__version__}, timm {timm.__version__}, numpy "
            f"{np.__version__}, mmsegmentation {mmsegmentation.mmseg.__version__}"
        )
    }
    for name, output_stride in [
        ("resnet18", 32),
        ("resnet18d", 32),
        ("resnet50", 32),
        ("resnet50", 8),
        ("resnet50c", 8),
        ("resnet50d", 32),
        ("resnet50s", 16),
        ("resnet101c", 8),
        ("resnest50d", 32),
        ("resnest101e", 32),
    ]:
        model = timm.create_model(name, output_stride=output_stride).eval()
        mmsegmentation.fill_module(model)
        record(arrays, f"timm {name} {output_stride}", model, SIZES)
    model = mmsegmentation.fill_module(resnest_by_its_authors())
    record(arrays, "authors resnest50d 8", model, SIZES)
    segmenter = mmsegmentation.build("deeplabv3plus_resnet50", type="ResNet", style="caffe")
    # Caffe's own pooling, which mmsegmentation does not have.
    backbone = segmenter.backbone
    backbone.maxpool = torch.nn.MaxPool2d(3, 2, ceil_mode=True)
    mmsegmentation.fill_module(backbone)
    record(arrays, "caffe resnet50 8", backbone, SIZES_OF_CAFFE)
    np.savez_compressed(HERE / "networks_backbones.npz", **arrays)


if __name__ == "__main__":
    main()
