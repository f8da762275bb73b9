"""Compiled programs that outlive the process."""

from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache

from arm_jax.system.errors import InputError


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
