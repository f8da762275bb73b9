"""What a program costs to compile: numbers that are computed once; programs kept for later."""

import contextlib
import errno
import hashlib
import os
import platform
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental.compilation_cache import compilation_cache

from arm_jax.system import caches, locks, terminal
from arm_jax.system.caches import AUTO
from arm_jax.system.errors import InputError, first_line

MOST_BYTES = 2 * 2**30  # of a kind of machine; the demo's programs have 6 MB
LEAST_FREE_BYTES = 2**28


def all_true(truths: jax.Array) -> jax.Array:
    """() bool, whether all of (n,) are true, as `computed_once`."""
    return lax.sort(truths)[0]


def computed_once(value: jax.Array) -> jax.Array:
    """A scalar that XLA computes in one place.

    XLA repeats what leads to a scalar in each kernel that uses it: a schedule, or a chain of `and`,
    in the update of every tensor, two fifths of the code of a small network's step. It removes
    `lax.optimization_barrier` before it does so, but repeats no sort.
    """
    return lax.sort(jnp.stack([value, value]))[0]


def keep_in(folder: str) -> None:
    """Keep what takes a second or more to compile, and take it from there at the next start.

    A later start of the same program, on the same kind of machine and versions, then skips the
    compiler. Programs of other kinds of machines are kept apart, because code for a CPU with other
    instructions ends the process. Several processes may share a folder. What was not used for
    longest is deleted beyond `MOST_BYTES`.

    Args:
      folder: "auto" is the user's folder for caches, unless JAX's own settings
        (JAX_COMPILATION_CACHE_DIR) name another; "" keeps nothing. A folder for caches that cannot
        be written costs a line on the terminal, and nothing is kept.

    Raises:
      InputError: a folder was named, and cannot be written.
    """
    if not folder or (folder == AUTO and getattr(jax.config, "jax_compilation_cache_dir", None)):
        return
    path = caches.folder(folder, "programs", "compilation_cache") / machine()
    try:
        path.mkdir(parents=True, exist_ok=True)
        with locks.held(path, wait=10.0, name=".lockfile"):  # JAX's own
            _remove_halves(path)
        if shutil.disk_usage(path).free < LEAST_FREE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except (OSError, InputError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        if folder != AUTO:
            raise InputError(
                f"compilation_cache = {folder!r} cannot be written ({reason}); name another folder,"
                " or leave it out"
            ) from error
        terminal.say(f"compiled programs are not kept: {path} cannot be written ({reason})")
        return
    jax.config.update("jax_compilation_cache_max_size", MOST_BYTES)
    jax.config.update("jax_compilation_cache_dir", str(path))
    compilation_cache.reset_cache()  # which reads the settings only once


def machine() -> str:
    """A name for machines that can run each other's compiled programs."""
    features = platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        known = ("model name", "flags", "Features", "CPU implementer", "CPU part")
        features = "\n".join(sorted({line for line in lines if line.startswith(known)}))
    digest = hashlib.blake2b(features.encode(), digest_size=6).hexdigest()
    return f"{platform.system()}-{platform.machine()}-{digest}".lower()


def _remove_halves(path: Path) -> None:
    """Remove programs that a process was writing when it was killed: their time of use is last."""
    for program in path.glob("*-cache"):
        if not program.with_name(program.name.removesuffix("-cache") + "-atime").exists():
            program.unlink(missing_ok=True)
