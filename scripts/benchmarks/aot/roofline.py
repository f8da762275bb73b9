"""What a device needs for a compiled program, by a model: NOT a measurement.

Each kernel takes the longer of two times: its bytes over the bandwidth, its operations over the
peak, both at the shares that good kernels reach. The shares are assumptions, and so are the two
latencies. Kernels run one after the other; copies that run beside them (TPUs) cost only bandwidth.
Vector arithmetic is not counted, nor what the host adds.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from aot.arithmetic import Product
from aot.kernels import COLLECTIVES, Kernel
from aot.targets import Device

# Shares of the maker's figures.
OF_BANDWIDTH = 0.88
OF_PEAK = {"matrix product": 0.70, "convolution": 0.60}  # on a GPU: cuBLAS, cuDNN
OF_TPU_PEAK = 0.85
OF_LINK = 0.70
# Seconds.
LAUNCH = 1.5e-6  # of a GPU's kernel
COLLECTIVE = 20e-6
# cuDNN has kernels of its own for windows up to here. A larger one leaves as many tiles of output
# as the map has, and no more multiprocessors than that have work.
LARGEST_WINDOW = 9
TILE = (128, 256)


@dataclass(frozen=True)
class Model:
    """Seconds for one run of a program on each device.

    Attributes:
      kernels: by the model, all of them.
      by_kind: the same, by kind of kernel.
      operations: the floor that all operations make at the maker's peak.
      bytes: the floor that all bytes make at the maker's bandwidth.
    """

    kernels: float
    by_kind: dict[str, float]
    operations: float
    bytes: float


def model(kernels: Iterable[Kernel], device: Device, devices: int) -> Model:
    """The model of a program of `kernels`, on each of `devices` chips."""
    kernels = list(kernels)
    by_kind: dict[str, float] = {}
    operations = moved = 0.0
    for kernel in kernels:
        moved += kernel.bytes * kernel.times
        operations += kernel.times * sum(
            product.operations / device.peak[_rate(product)] for product in kernel.products
        )
        if not kernel.asynchronous or kernel.kind in COLLECTIVES:
            seconds = kernel.times * kernel_seconds(kernel, device, devices)
            by_kind[kernel.kind] = by_kind.get(kernel.kind, 0.0) + seconds
    busy = moved / (OF_BANDWIDTH * device.bandwidth)
    return Model(max(sum(by_kind.values()), busy), by_kind, operations, moved / device.bandwidth)


def kernel_seconds(kernel: Kernel, device: Device, devices: int) -> float:
    """Of one run of a kernel."""
    if kernel.kind in COLLECTIVES:
        payload = sum(shape.bytes for shape in kernel.shapes)
        share = 2 * (devices - 1) / devices if kernel.kind == "all-reduce" else 1.0
        return COLLECTIVE + share * payload / (OF_LINK * device.link)
    arithmetic = sum(
        product.operations / (device.peak[_rate(product)] * _share(product, kernel, device))
        for product in kernel.products
    )
    launch = 0.0 if device.name.startswith("TPU") else LAUNCH
    return launch + max(arithmetic, kernel.bytes / (OF_BANDWIDTH * device.bandwidth))


def _rate(product: Product) -> str:
    return product.precision if product.precision in ("bf16", "f16", "f32") else "f32 rounded"


def _share(product: Product, kernel: Kernel, device: Device) -> float:
    if device.name.startswith("TPU"):
        return OF_TPU_PEAK
    kind = "matrix product" if product.kind == "matrix product" else "convolution"
    share = OF_PEAK[kind]
    if kind == "convolution" and max(product.size, default=1) > LARGEST_WINDOW:
        result = kernel.shapes[0]
        rows, columns = result.elements // result.dims[-1], result.dims[-1]
        tiles = math.ceil(rows / TILE[0]) * math.ceil(columns / TILE[1])
        share *= min(1.0, tiles / device.cores)
    return share
