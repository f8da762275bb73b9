"""What pays on one platform and costs on another: one row a platform, chosen when XLA compiles.

Figures are of compiled programs (docs/performance.md, "Compiled, not run") unless a row states
otherwise. A platform without a row has the plain forms.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from jax import lax


@dataclasses.dataclass(frozen=True)
class Choices:
    """The forms of a platform; the defaults are the plain ones.

    Attributes:
      winograd: 3x3 convolutions by `networks.winograd`, where its `pays` agrees.
      folded_kernel_gradient: the kernel's gradient of a dilated convolution phase by phase.
      apart_before_stride: a map is an array of its own before every n-th pixel of it is taken.
      apart_in_depthwise: what depthwise convolutions read and write is kept in its own precision.
      depthwise_kernel: their kernel's gradient by a kernel of our own, `networks.depthwise_kernel`.
      widening_from_moments: `networks.widening` by moments of its input.
      max_pool_by_taps: the max pooling's gradient pixel by pixel, `networks.pooling`.
    """

    winograd: bool = False
    folded_kernel_gradient: bool = False
    apart_before_stride: bool = False
    apart_in_depthwise: bool = False
    depthwise_kernel: bool = False
    widening_from_moments: bool = False
    max_pool_by_taps: bool = False


PLAIN = Choices()
ROWS = {
    # 1.4 to 2.3 times as fast as the primitive, measured on two cores ("Single operations").
    # It costs compile time where it is used: 26 to 32 s for ResNet-50's step on two idle cores,
    # where it was 12. The demo's network, too narrow for it, compiles as fast as before it. What
    # kept memory gains and costs on CPUs is in `system.host_memory`.
    "cpu": Choices(winograd=True),
    "cuda": Choices(
        # Plain, it becomes a convolution with a window as large as the map, a tenth of
        # ResNet-101's arithmetic; folded it is cuDNN's own. On a TPU v5e the folded form takes
        # 5.4 times the plain one's cycles.
        folded_kernel_gradient=True,
        # The Triton fusion of jaxlib 0.10.2 and 0.11.2, not that of 0.12.0.1, aborts the process on
        # the strided slice of a map with two users, on every card since Ampere:
        # https://github.com/openxla/xla/issues/47381. tests/networks/test_compiled_for_cuda.py
        # fails once no supported jax needs this; then it can go.
        apart_before_stride=True,
        # XLA drops the rounding between fusions otherwise, and keeps float32 maps: 431 GB a step of
        # ResNet-101 become 408.
        apart_in_depthwise=True,
        # XLA reads both maps once for every few of the nine taps: 27 GB a step of ResNet-101 more.
        depthwise_kernel=True,
        # 407 GB and 38.6 GiB a step of ResNet-101 become 337 and 29.1.
        widening_from_moments=True,
        # XLA's way makes float32 and int32 maps of the stem's output: 3.5 GB, the ReLU before it
        # included, become 1.0 for ResNet-101's batch of 16.
        max_pool_by_taps=True,
    ),
}


def choose(field: str, form: Callable[..., Any], *arrays: Any) -> Any:
    """`form(value, *arrays)` with the platform's value of a field of `Choices`.

    Only the form of the platform that is compiled for becomes part of the program; a program that
    is exported for several has them all. Not differentiated through: for the inside of functions
    with gradients of their own.
    """

    def branch(row: Choices) -> Callable[..., Any]:
        return lambda *arrays: form(getattr(row, field), *arrays)

    default = getattr(PLAIN, field)
    others = {name: branch(row) for name, row in ROWS.items() if getattr(row, field) != default}
    return lax.platform_dependent(*arrays, default=branch(PLAIN), **others)
