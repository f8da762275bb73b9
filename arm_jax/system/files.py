"""Files that are whole or absent."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from arm_jax.system.errors import InputError


@contextlib.contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A path to write to, that becomes `path` when the block ends well.

    The folder is made where it is missing. The temporary file lies beside the final one, ends the
    same way (libraries choose a format by it), and is removed if the block raises.

    Raises:
      InputError: the folder or file cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror or error}); "
            "free some space or choose another folder"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
