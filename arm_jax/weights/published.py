"""Where the ImageNet weights of each backbone are published: a table at the bottom of the file."""

from arm_jax import networks
from arm_jax.system.errors import InputError

IMAGENET = "imagenet"


def source(setting: str, name: str, variant: str | None = None) -> str:
    """What `model.pretrained` stands for: itself, or the address that goes with "imagenet".

    Args:
        setting: "imagenet", a path, an address, or "" for none.
        name: a network, a key of `networks.ARCHITECTURES`.
        variant: of its backbone; the network's usual one by default.

    Returns:
        A source for `pretrained.load`, or "".

    Raises:
        InputError: "imagenet" is asked for and the network is not known, or no weights that fit
            its backbone are.
    """
    if setting != IMAGENET:
        return setting
    variant = networks.architecture(name, variant).variant
    backbone = name.rpartition("_")[2]
    known = SOURCES.get(backbone, {})
    if variant not in known:
        raise InputError(
            f"no ImageNet weights are known for {backbone} of variant {variant}, only for"
            f" {' and '.join(known)}; choose such a model.variant, or set model.pretrained to a"
            " weight file, or to nothing to train from scratch"
        )
    return known[variant]


# Backbone -> variant -> weights. All were trained on RGB images normalised with ImageNet's mean and
# deviation, and timm gives each an Apache-2.0 or BSD licence. One file of a ResNeSt serves both of
# its variants, which differ only where a stride became a dilation. Of "caffe" there is none.
SOURCES = {
    "resnet18": {
        "v1b": "hf://timm/resnet18.tv_in1k",
        "v1d": "hf://timm/resnet18d.ra2_in1k",
    },
    "resnet50": {
        "v1b": "hf://timm/resnet50.tv_in1k",
        "v1c": "hf://timm/resnet50c.gluon_in1k",
        "v1d": "hf://timm/resnet50d.gluon_in1k",
        "v1s": "hf://timm/resnet50s.gluon_in1k",
    },
    "resnet101": {
        "v1b": "hf://timm/resnet101.tv_in1k",
        "v1c": "hf://timm/resnet101c.gluon_in1k",
        "v1d": "hf://timm/resnet101d.gluon_in1k",
        "v1s": "hf://timm/resnet101s.gluon_in1k",
    },
    "resnest50": dict.fromkeys(("d2", "original"), "hf://timm/resnest50d.in1k"),
    "resnest101": dict.fromkeys(("d2", "original"), "hf://timm/resnest101e.in1k"),
}
