"""Memory that XLA has freed stays with the process, where the device is a CPU."""

import ctypes
import importlib.util
import os
import sys

# mallopt's parameters, from glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def keep_freed() -> bool:
    """Let glibc keep large blocks that are freed; call it before JAX starts its device.

    On CPUs XLA allocates a step's temporary arrays anew in every step. By default glibc takes such
    blocks from the system and returns them, so that the kernel maps and zeroes each page once a
    step: a seventh of the time of a step of 1.4 GiB (docs/performance.md). Kept blocks cost
    nothing, but the process never shrinks. glibc is limited to one arena, because only the first
    can hold blocks of that size. If a variable MALLOC_... is set in the environment, nothing is
    changed.

    Returns:
        Whether it was done: by glibc, with no plugin for an accelerator installed.
    """
    accelerated = any(map(importlib.util.find_spec, ("jax_plugins", "libtpu")))
    chosen = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    if sys.platform != "linux" or accelerated or chosen:
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    values = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _ARENA_MAX: 1}
    return all([mallopt(parameter, value) for parameter, value in values.items()])
