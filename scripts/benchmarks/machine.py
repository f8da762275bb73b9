"""What this machine is: devices, versions, processors, and one product on the device."""

import json
import os
import subprocess
import time

import jax
import jax.numpy as jnp


def main() -> None:
    start = time.perf_counter()
    x = jnp.ones((1024, 1024), jnp.bfloat16)
    jax.block_until_ready(x @ x)
    found = {
        "devices": [device.device_kind for device in jax.devices()],
        "jax": jax.__version__,
        "processors": len(os.sched_getaffinity(0)),
        "first_product_seconds": time.perf_counter() - start,
    }
    for package in ("torch", "flax", "optax", "orbax.checkpoint", "grain", "numpy"):
        try:
            module = __import__(package, fromlist=["__version__"])
            found[package] = getattr(module, "__version__", "installed")
        except ImportError:
            found[package] = None
    try:
        query = "--query-gpu=name,driver_version,memory.total,power.limit,clocks.max.sm"
        command = ["nvidia-smi", query, "--format=csv,noheader"]
        found["nvidia-smi"] = subprocess.run(
            command, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        found["nvidia-smi"] = str(error)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
