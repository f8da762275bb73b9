"""The devices that can be compiled for, what they can do by their makers, and how to name them."""

import re
from dataclasses import dataclass
from pathlib import Path

from arm_jax.system.errors import InputError

# XLA's description of the GPU, after openxla/xla's target_config/specs/h100_sxm.txtpb, with the
# versions of the pinned wheels.
H100 = Path(__file__).with_name("h100.txtpb")
GIB = 2**30


@dataclass(frozen=True)
class Device:
    """One chip, by public figures of its maker; nothing here was measured.

    Attributes:
      memory: bytes that a program can have.
      bandwidth: of the main memory, bytes a second.
      peak: multiplications and additions a second, dense, by the type of the factors; "f32 rounded"
        is float32 at JAX's default precision.
      link: bytes a second that leave a chip for its neighbours, in one direction.
      cores: that work on tiles of a product at the same time.
    """

    name: str
    memory: int
    bandwidth: float
    peak: dict[str, float]
    link: float
    cores: int


def _tpu(name: str, memory: float, bandwidth: float, peak: float, link: float) -> Device:
    # JAX's default rounds float32 factors to bfloat16; the highest precision takes six passes.
    rates = {"bf16": peak, "f16": peak, "f32 rounded": peak, "f32": peak / 6}
    return Device(name, int(memory * GIB), bandwidth, rates, link, 1)


DEVICES = {
    "h100": Device(
        "H100 SXM",
        84_942_979_072,  # as the driver reports it; in h100.txtpb too
        3.35e12,
        {"bf16": 989e12, "f16": 989e12, "f32 rounded": 494e12, "f32": 67e12},
        450e9,
        132,
    ),
    "v5e": _tpu("TPU v5e", 15.75, 819e9, 197e12, 200e9),
    "v6e": _tpu("TPU v6e", 31.25, 1640e9, 918e12, 448e9),
    "v5p": _tpu("TPU v5p", 95.0, 2765e9, 459e12, 600e9),
}
PLATFORMS = {"cuda": "1x1x1", "tpu": "v5e:2x4"}  # and the topology that is meant without one
# JAX takes this share of a GPU's memory when it starts, unless the environment names another.
PREALLOCATED = 0.75


def device(platform: str, topology: str) -> Device:
    """The chip of a topology.

    Raises:
      InputError: the topology is not written as its platform has it.
    """
    if platform == "cuda":
        if not re.fullmatch(r"[1-9]\d*x[1-9]\d*x[1-9]\d*", topology):
            raise InputError(
                f"--topology {topology}: for cuda it is slices x hosts x GPUs of a host,"
                " such as 1x1x1 or 1x1x8"
            )
        return DEVICES["h100"]
    generation, _, shape = topology.partition(":")
    if generation not in DEVICES or generation == "h100" or not re.fullmatch(r"\d+(x\d+)+", shape):
        raise InputError(
            f"--topology {topology}: for tpu it is a generation and the shape of its slice,"
            " such as v5e:1x1, v5e:2x4, v6e:2x4 or v5p:2x2x1"
        )
    return DEVICES[generation]


def memory(text: str) -> int:
    """Bytes, of "12GiB", "80 GB" or "900MiB".

    Raises:
      InputError: it is no size.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]i?B)\s*", text)
    if not found:
        raise InputError(f"--memory {text}: give a number and a unit, such as 12GiB or 80GB")
    unit = found.group(2)
    power = "KMGT".index(unit[0]) + 1
    return int(float(found.group(1)) * (1024 if "i" in unit else 1000) ** power)
