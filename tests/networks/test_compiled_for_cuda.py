"""Small pieces compiled for an H100 that is not here: what XLA and cuDNN make of them.

Where the CUDA plugin is not installed (`make aot-cuda` does it), all but one are skipped. Each
compilation is a process of its own: what fails may abort it.
"""

import importlib.util
import os
import re
import signal
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import jaxlib
import pytest

ROOT = Path(__file__).parents[2]
# The first jaxlib that compiles `ABORTS`, by trial: 0.10.2 and 0.11.2 abort, 0.12.0.1 does not.
# The report: https://github.com/openxla/xla/issues/47381.
MENDED_IN = (0, 12)

needs_plugin = pytest.mark.skipif(
    not (
        importlib.util.find_spec("jax_plugins")
        and importlib.util.find_spec("jax_plugins.xla_cuda13")
    ),
    reason="needs jax-cuda13-plugin and jax-cuda13-pjrt, which compile without a GPU",
)

PREAMBLE = """
import sys
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

target = topologies.get_topology_desc(
    platform="cuda", topology_name="h100", topology="1x1x1", target_config=open(sys.argv[1]).read()
)
sharding = NamedSharding(Mesh(np.array(target.devices), ("data",)), PartitionSpec())


def compile(function, *shapes, dtype=jnp.bfloat16):
    shapes = [jax.ShapeDtypeStruct(shape, dtype, sharding=sharding) for shape in shapes]
    print(jax.jit(function).lower(*shapes).compile().as_text())

"""
# A ReLU with two users, of which one takes every second pixel into a product.
ABORTS = """
def function(x, k):
    y = jnp.maximum(x, 0)
    return y[:, ::2, ::2].reshape(-1, 64) @ k, y

compile(function, (4, 24, 48, 64), (64, 128), dtype=jnp.float32)
"""


def compiled(program: str, flags: str = "") -> subprocess.CompletedProcess[str]:
    """The process that compiled a piece and printed its optimised program, or died of it."""
    target = ROOT / "scripts" / "benchmarks" / "aot" / "h100.txtpb"
    variables = {name: x for name, x in os.environ.items() if not name.startswith("JAX_")}
    variables |= {
        "JAX_PLATFORMS": "cpu",
        # Autotuning would run the kernels.
        "XLA_FLAGS": f"--xla_gpu_autotune_level=0 {flags}",
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.run(
        [sys.executable, "-c", PREAMBLE + textwrap.dedent(program), str(target)],
        env=variables,
        capture_output=True,
        text=True,
        timeout=300,
    )


def text_of(program: str, flags: str = "") -> str:
    process = compiled(program, flags)
    assert process.returncode == 0, process.stderr[-2000:]
    return process.stdout


def version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:2])


def test_the_barrier_before_strides_is_still_needed():
    """Fails once every jax that pyproject allows does without `platforms.apart_before_stride`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (lowest,) = (version(name) for name in project["dependencies"] if re.match(r"jax[ >=]", name))
    assert lowest < MENDED_IN, "remove apart_before_stride, _every_nth's barrier and these tests"


@needs_plugin
def test_xla_aborts_at_the_strided_slice_of_a_map_with_two_users():
    process = compiled(ABORTS)
    if version(jaxlib.__version__) < MENDED_IN:
        assert process.returncode == -signal.SIGABRT, "MENDED_IN is earlier than thought"
        assert "triton_tiling_propagation" in process.stderr
    else:
        assert process.returncode == 0, "MENDED_IN is later than thought"


@needs_plugin
def test_the_package_does_not_abort_there_forward_or_backward():
    text_of(
        """
        from arm_jax.networks import layers

        def function(x, k):
            y = jnp.maximum(x, 0)
            return layers.convolve(y, k, stride=2), y

        def gradients(x, k, *cotangents):
            return jax.vjp(function, x, k)[1](cotangents)

        shapes = (4, 24, 48, 64), (1, 1, 64, 128)
        compile(function, *shapes, dtype=jnp.float32)
        compile(gradients, *shapes, (4, 12, 24, 128), (4, 24, 48, 64), dtype=jnp.float32)
        """
    )


@needs_plugin
@pytest.mark.parametrize("channels", [256, 128])
def test_gradients_of_a_dilated_convolution_have_windows_of_3x3(channels):
    text = text_of(
        f"""
        from arm_jax.networks import layers

        def gradients(x, k, cotangent):
            return jax.vjp(lambda x, k: layers.convolve(x, k, dilation=2), x, k)[1](cotangent)

        maps = (2, 32, 64, {channels})
        compile(gradients, maps, (3, 3, {channels}, {channels}), maps)
        """
    )
    assert "__cudnn$convBackwardFilter" in text
    windows = re.findall(r"window={size=(\w+)", text)
    assert windows and set(windows) == {"3x3"}


@needs_plugin
def test_a_widening_product_is_stored_once_with_its_batch_norm_sum_and_relu():
    text = text_of(
        """
        from arm_jax.networks import widening

        def function(x, identity):
            k, ones = jnp.ones((64, 256)), jnp.ones((256,))
            return widening.normalized_product(x, k, ones, ones, ones, identity, True)[0]

        compile(function, (4, 32, 64, 64), (4, 32, 64, 256))
        """,
        # With a GPU, XLA would time Triton's product against cuBLAS's.
        "--xla_gpu_enable_triton_gemm=false",
    )
    entry = text[text.index("\nENTRY") :]
    assert entry.count('"epilogue":"BIAS_RELU"') == 1
    wide = re.findall(r"= \(?bf16\[(?:8192|4,32,64),256\]\S* ([\w-]+)\(", entry)
    assert "fusion" not in wide


@needs_plugin
@pytest.mark.skipif(
    version(jaxlib.__version__) >= (0, 11), reason="Pallas' Triton needs a GPU from 0.11 on"
)
def test_the_depthwise_kernel_compiles_and_is_the_only_one_to_read_both_maps():
    text = text_of(
        """
        from arm_jax.networks import layers

        def of_kernel(x, k, cotangent):
            convolve = lambda k: layers.convolve(x, k, dilation=12, groups=256)
            return jax.vjp(convolve, k)[1](cotangent)

        compile(of_kernel, (2, 32, 64, 256), (3, 3, 1, 256), (2, 32, 64, 256))
        """
    )
    assert text.count('custom_call_target="__gpu$xla.gpu.triton"') == 1
