"""Writes hlo_cuda.txt and hlo_tpu.txt: a small program as XLA compiles it for two absent devices.

    .venv-aot/bin/python tests/goldens/make_hlo.py cuda
    .venv-aot/bin/python tests/goldens/make_hlo.py tpu

Made with jax 0.10.2 and libtpu 0.0.42.1 (`make aot`). What tests/scripts/test_compile_for.py counts
in them was counted by hand, line by line; it is to be counted again when they are made again.
"""

import os
import re
import sys
from pathlib import Path

FOLDER = Path(__file__).parent
TARGET = FOLDER.parents[1] / "scripts" / "benchmarks" / "aot" / "h100.txtpb"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_gpu_autotune_level=0"
os.environ |= {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0"}

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from jax import lax  # noqa: E402
from jax.experimental import topologies  # noqa: E402
from jax.sharding import Mesh, NamedSharding, PartitionSpec  # noqa: E402


def program(x, kernel, matrix):
    """A dilated convolution, its kernel's gradient, a loop of three slices, a product, a sum."""

    def loss(kernel):
        y = lax.conv_general_dilated(
            x, kernel, (1, 1), [(2, 2)] * 2, rhs_dilation=(2, 2),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )  # fmt: skip
        return jnp.sum(jnp.square(y.astype(jnp.float32))), y

    gradient, y = jax.grad(loss, has_aux=True)(kernel)
    rows = lax.map(lambda part: jnp.sin(part) + 1, matrix.reshape(3, -1, matrix.shape[1]))
    return gradient, y, rows.reshape(matrix.shape) @ matrix.T


def main(platform: str) -> None:
    if platform == "cuda":
        topology = topologies.get_topology_desc(
            platform="cuda", topology_name="h100", target_config=TARGET.read_text(),
            topology="1x1x2",
        )  # fmt: skip
    else:
        topology = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x2")
    mesh = Mesh(np.asarray(topology.devices[:2]), ("data",))
    split, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("data",), ()))

    def array(shape, dtype, sharding):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

    compiled = jax.jit(program).lower(
        array((8, 32, 64, 128), jnp.bfloat16, split),
        array((3, 3, 128, 256), jnp.bfloat16, whole),
        array((768, 512), jnp.float32, whole),
    ).compile()  # fmt: skip
    text = compiled.as_text()
    # The paths of this machine are nobody's concern; the package's name is what `source` looks for.
    text = text.replace(str(Path(__file__)), "/checkout/arm_jax/program.py")
    text = re.sub(r'"[^"]*/site-packages/', '"/site-packages/', text)
    (FOLDER / f"hlo_{platform}.txt").write_text(text)


if __name__ == "__main__":
    main(sys.argv[1])
