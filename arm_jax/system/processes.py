"""What each process of a run does on its own devices, and how all of them agree in the end.

Images of one split differ in size, and processes that shared every call would first have to agree
on the sizes of all images. Evaluation needs no such agreement: each process takes every n-th image
and runs it on its own devices with its own copy of the state; the only thing exchanged, once, is
the result.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from arm_jax.system import sharding
from arm_jax.system.errors import InputError

MESSAGE_BYTES = 1000


def local_mesh(mesh: Mesh) -> Mesh:
    """The devices of this process alone."""
    return sharding.make_mesh(list(mesh.local_devices))


def local_copy(mesh: Mesh, tree: Any) -> Any:
    """A tree replicated over a local mesh.

    Its arrays are on the host, or whole on every device that they are on.
    """
    everywhere = sharding.replicated(mesh)

    def copy(leaf: Any) -> jax.Array:
        if isinstance(leaf, jax.Array):
            if not leaf.is_fully_replicated:
                raise ValueError(f"an array of shape {leaf.shape} is split over devices")
            leaf = leaf.addressable_data(0)
        return jax.device_put(leaf, everywhere)

    return jax.tree.map(copy, tree)


def share(number: int) -> range:
    """The indices below `number` that this process takes care of."""
    return range(jax.process_index(), number, jax.process_count())


def once(action: Callable[[], object]) -> None:
    """Do something in the first process, and go on in all of them when it is done.

    For what depends on files alone, which all processes are taken to see alike. Every process must
    call this.

    Raises:
      InputError: in every process, what `action` raised.
    """
    error = None
    if jax.process_index() == 0:
        try:
            action()
        except InputError as mistake:
            error = mistake
    total(np.zeros(1, np.int64), error)


def total(values: np.ndarray, error: InputError | None = None) -> np.ndarray:
    """The sum over all processes of an int64 array, exact; every process must call this once.

    Raises:
      InputError: in every process, the first error that one of them hands in.
    """
    if jax.process_count() == 1:
        if error is not None:
            raise error
        return values
    message = str(error).encode()[:MESSAGE_BYTES] if error is not None else b""
    # As bytes, because JAX would cut 64-bit integers to 32.
    mine = np.frombuffer(
        message.ljust(MESSAGE_BYTES, b"\0") + values.astype(np.int64).tobytes(), np.uint8
    )
    gathered = np.asarray(multihost_utils.process_allgather(mine))
    for one in gathered:
        text = one[:MESSAGE_BYTES].tobytes().rstrip(b"\0").decode(errors="replace")
        if text:
            raise InputError(text)
    numbers = np.ascontiguousarray(gathered[:, MESSAGE_BYTES:]).view(np.int64)
    return numbers.sum(axis=0).reshape(values.shape)
