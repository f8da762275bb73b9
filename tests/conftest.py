"""Eight simulated devices on the CPU, strict broadcasting, and absl flags marked as read."""

import os

# Both take effect only before jax is imported.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
).strip()

# No test writes to the user's cache of compiled programs, nor needs what is there.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"

import jax
from absl import flags

# A (b, 1) weight that meets a (b,) loss is a bug, not a broadcast.
jax.config.update("jax_numpy_rank_promotion", "raise")

# Grain reads an absl flag, and raises if nobody has parsed the command line.
if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()
