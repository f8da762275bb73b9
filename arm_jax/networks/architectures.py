"""The table of networks: which backbone and head each is made of, and how large they are."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from arm_jax.networks import deeplabv3plus, ocr
from arm_jax.networks.backbones import BACKBONES
from arm_jax.networks.parts import Backbone, Head
from arm_jax.system.errors import InputError
from arm_jax.system.registry import Entry, Registry

HEADS = Registry("head", Head, deeplabv3plus=deeplabv3plus.HEAD, ocr=ocr.HEAD)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture(Entry):
    """An entry of `ARCHITECTURES`: the parts of a named network, and their sizes.

    Attributes:
        head, backbone: keys of `HEADS` and `BACKBONES`.
        variant: of the backbone; "" for its usual one.
        sizes: those of the head and the backbone that are not their usual ones.
        auxiliary_channels: of the auxiliary head.
        dropout_rate: before the classifiers.
    """

    head: str
    backbone: str
    variant: str = ""
    sizes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    auxiliary_channels: int = 256
    dropout_rate: float = 0.1

    def sized(self, **sizes: Any) -> "Architecture":
        """The same with other values of these attributes, or other `sizes`.

        Raises:
            InputError: the network has no such size, or a part is not known.
        """
        own = {field.name for field in dataclasses.fields(self)} - {"sizes"}
        changed = {name: sizes.pop(name) for name in own & set(sizes)}
        row = dataclasses.replace(self, **changed, sizes={**self.sizes, **sizes})
        known = {**BACKBONES[row.backbone].sizes, **HEADS[row.head].sizes}
        for name in row.sizes:
            if name not in known:
                raise InputError(
                    f"a network of {row.backbone} and {row.head} has no size {name!r}; it has "
                    f"{', '.join([*known, *sorted(own)])}"
                )
        return row

    def sizes_of(self, part: Backbone | Head) -> dict[str, Any]:
        """The sizes of one of its parts."""
        return {name: self.sizes.get(name, usual) for name, usual in part.sizes.items()}


def architecture(name: str, variant: str | None = None, **sizes: Any) -> Architecture:
    """The entry of `ARCHITECTURES` of this name, sized as asked for, its variant filled in.

    Raises:
        InputError: unknown name, variant, part or size.

    >>> architecture("deeplabv3plus_resnet10", channels=8).sizes["channels"]
    8
    """
    row = ARCHITECTURES[name].sized(**sizes)
    backbone = BACKBONES[row.backbone]
    row = dataclasses.replace(row, variant=variant or row.variant or backbone.variant)
    if row.variant not in backbone.variants:
        choices = ", ".join(backbone.variants)
        raise InputError(f"{name} has no variant {row.variant!r}; choose one of {choices}")
    return row


ARCHITECTURES = Registry(
    "network",
    Architecture,
    # Made by the dozen on a CPU.
    deeplabv3plus_resnet10=Architecture(
        head="deeplabv3plus",
        backbone="resnet10",
        sizes={"channels": 32, "low_level_channels": 8},
        auxiliary_channels=16,
    ),
    # A head on the first three stages of ResNet-50, which are frozen: see docs/laptop.md.
    deeplabv3plus_resnet50_stage3=Architecture(
        head="deeplabv3plus",
        backbone="resnet50",
        sizes={"depths": (3, 4, 6, 0), "channels": 64, "low_level_channels": 32},
        auxiliary_channels=32,
    ),
    # Small enough for a CPU.
    deeplabv3plus_resnet18=Architecture(
        head="deeplabv3plus",
        backbone="resnet18",
        sizes={"channels": 128, "low_level_channels": 12},
        auxiliary_channels=64,
    ),
    deeplabv3plus_resnet50=Architecture(head="deeplabv3plus", backbone="resnet50"),
    deeplabv3plus_resnet101=Architecture(head="deeplabv3plus", backbone="resnet101"),
    deeplabv3plus_resnest50=Architecture(head="deeplabv3plus", backbone="resnest50"),
    deeplabv3plus_resnest101=Architecture(head="deeplabv3plus", backbone="resnest101"),
    ocr_resnet50=Architecture(head="ocr", backbone="resnet50"),
    ocr_resnet101=Architecture(head="ocr", backbone="resnet101"),
)
