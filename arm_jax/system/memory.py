"""What to do when the memory of a device, or of the machine, does not suffice."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

import jax

from arm_jax.system.errors import InputError

_WORDS = ("resource_exhausted", "out of memory", "out_of_memory", "failed to allocate")


@contextlib.contextmanager
def explained(doing: str, remedies: Mapping[str, Any]) -> Iterator[None]:
    """Turn the error of a memory that is too small into one line with the settings that help.

    Args:
      doing: what needs the memory.
      remedies: setting -> its value now, in the order in which to try them.

    Raises:
      InputError: the memory does not suffice.
    """
    try:
        yield
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        text = " ".join(str(error).split())
        if not isinstance(error, MemoryError) and not any(w in text.lower() for w in _WORDS):
            raise
        settings = ", ".join(f"{key} ({value!r} now)" for key, value in remedies.items())
        raise InputError(
            f"{doing} needs more memory than there is ({text[:160] or 'MemoryError'}); change one"
            f" of {settings}, by --config.KEY=VALUE"
        ) from error


def refuse_batch(number: int, size: tuple[int, int]) -> None:
    """Raise InputError for crops whose bytes alone are more than the machine has memory for.

    A program for a batch of another size takes minutes to compile before it cannot be executed.

    Args:
      number: of crops on this machine at a time.
      size: height and width of each.
    """
    if not hasattr(os, "sysconf"):
        return
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    needed = 4 * number * size[0] * size[1]  # three colours and a label
    if needed > there > 0:
        raise InputError(
            f"{number:,} crops of {size[0]:,}x{size[1]:,} have {needed:,} bytes before anything is"
            f" computed, and this machine has {there:,}; choose a smaller batch_size or"
            " augment.crop"
        )
