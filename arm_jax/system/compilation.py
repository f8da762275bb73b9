"""What a program costs to compile: numbers that are computed once; programs kept for later."""

from pathlib import Path

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental.compilation_cache import compilation_cache

from arm_jax.system.errors import InputError


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
    """Keep what takes a second or more to compile in `folder`, and take it from there next time.

    A later start of the same program, on the same devices and versions, then skips the compiler.
    "" keeps nothing, unless JAX's own setting JAX_COMPILATION_CACHE_DIR names a folder.

    Raises:
      InputError: the folder cannot be made.
    """
    if not folder:
        return
    try:
        path = Path(folder).expanduser().absolute()
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"compilation_cache = {folder!r} cannot be made ({error.strerror}); name another folder"
        ) from error
    jax.config.update("jax_compilation_cache_dir", str(path))
    compilation_cache.reset_cache()  # which reads the setting only once
