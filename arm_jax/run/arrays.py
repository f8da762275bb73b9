"""The arrays of a checkpoint, written and read by Orbax, and what Orbax does not do by itself."""

import dataclasses
import os
import sys
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from arm_jax.run.digests import Folder
from arm_jax.system import buckets, processes, signals
from arm_jax.system.buckets import BucketError, Place
from arm_jax.system.errors import InputError, first_line

if TYPE_CHECKING:
    # Imported where they are used, as it takes long and many mistakes are answered before.
    import orbax.checkpoint as ocp
    from etils import epath

# How often TensorStore makes a request to a bucket again: for some three minutes, not for fifteen.
TRIES = 10
# Seconds after which TensorStore makes a request again whose bytes do not move. On its own it waits
# for as long as the system keeps the connection: half an hour.
STILL = 30


def to_save(state: Any, position: dict) -> "ocp.args.Composite":
    """What Orbax is to save: a train state and the position of the input.

    Of several processes, all of which hold the whole state, one saves it: as numpy arrays, since
    Orbax waits for the others at arrays that lie on devices of all.
    """
    import orbax.checkpoint as ocp

    arrays = present(state)
    if jax.process_count() > 1:
        arrays = jax.tree.map(lambda x: np.asarray(x.addressable_data(0)), arrays)
    return ocp.args.Composite(
        state=ocp.args.StandardSave(arrays), input=ocp.args.JsonSave(position)
    )


def restored(folder: Folder, asked: Any) -> tuple[Any, dict]:
    """The arrays of a checkpoint with the shapes, types and placement of `asked`; the position.

    The first process alone reads, and hands on what it read; every process must call this.

    Raises InputError when the checkpoint is of another network or cannot be read.
    """
    if processes.place()[1] == 1:
        return _read(folder, jax.tree.map(_abstract_array, asked))
    leaves, structure = jax.tree.flatten(asked)
    found: list[np.ndarray] = []

    def read() -> dict:
        state, position = _read(folder, jax.tree.map(_on_host, asked))
        found.extend(jax.tree.leaves(state))
        return position

    position = processes.from_first(read)
    arrays = processes.broadcast(found, [(x.shape, x.dtype) for x in leaves])
    placed = [
        jax.make_array_from_process_local_data(leaf.sharding, array, leaf.shape)
        for leaf, array in zip(leaves, arrays, strict=True)
    ]
    return jax.tree.unflatten(structure, placed), position


def _read(folder: Folder, like: Any) -> tuple[Any, dict]:
    """State and position of a checkpoint; in a run of several processes, by the first one alone.

    Raises InputError when the checkpoint is of another network or cannot be read.
    """
    import orbax.checkpoint as ocp

    options = alone("restore")
    handler = ocp.CompositeCheckpointHandler(
        composite_options=ocp.CompositeOptions(multiprocessing_options=options),
        state=ocp.StandardCheckpointHandler(multiprocessing_options=options),
        input=ocp.JsonCheckpointHandler(multiprocessing_options=options),
    )
    reader = ocp.Checkpointer(handler, multiprocessing_options=options)
    try:
        restored = reader.restore(
            for_orbax(folder),
            args=ocp.args.Composite(
                state=ocp.args.StandardRestore(like), input=ocp.args.JsonRestore()
            ),
        )
    except Exception as error:
        signals.unwrap()
        if isinstance(folder, Place) and _is_of_bucket(error):
            raise BucketError(f"{folder}: {buckets.reason(error)}") from error
        raise InputError(
            f"{folder} does not fit this config or is damaged ({first_line(error)});"
            " use the config that wrote it, or remove that folder to restart from an older one"
        ) from error
    finally:
        reader.close()
    return restored["state"], restored["input"]


def alone(purpose: str) -> "ocp.options.MultiprocessingOptions":
    """What tells Orbax that the first process works without the others, if there are any."""
    import orbax.checkpoint as ocp

    if jax.process_count() == 1:
        return ocp.options.MultiprocessingOptions()
    return ocp.options.MultiprocessingOptions(
        primary_host=0, active_processes={0}, barrier_sync_key_prefix=purpose
    )


def drop_echoes() -> None:
    """Keep the array writers, when one of them failed, from reporting each that came after it.

    The failure itself is raised by the manager. Its echoes are printed by threads of TensorStore,
    one traceback an array, as errors that nobody can catch.
    """
    if getattr(sys.unraisablehook, "drops_echoes", False):
        return
    usual = sys.unraisablehook

    def hook(found: Any) -> None:
        if str(found.exc_value) != "Event loop is closed":
            usual(found)

    hook.drops_echoes = True  # type: ignore[attr-defined]
    sys.unraisablehook = hook


def limit_tries() -> None:
    """Let a save in a bucket that does not answer fail while the run can still wait for it.

    TensorStore makes a request 32 times with pauses of up to half a minute. Orbax passes no such
    setting on; what it gives to every TensorStore is a table in this module. How long a request may
    stand still, it reads from the environment before its first one.
    """
    os.environ.setdefault("TENSORSTORE_CURL_CONNECT_TIMEOUT_SECONDS", str(round(buckets.CONNECT)))
    os.environ.setdefault("TENSORSTORE_CURL_LOW_SPEED_LIMIT_BYTES", "1")
    os.environ.setdefault("TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS", str(STILL))
    from orbax.checkpoint._src.serialization import tensorstore_utils

    for name in ("_BASE_TS_CONTEXT", "_DEFAULT_OCDBT_TS_CONTEXT"):
        context = getattr(tensorstore_utils, name, None)
        if isinstance(context, dict):
            context["gcs_request_retries"] = {"max_retries": TRIES}


def for_orbax(folder: Folder) -> "epath.Path":
    from etils import epath

    return epath.Path(str(folder))


def _is_of_bucket(error: BaseException) -> bool:
    """Whether a request failed, and not what the checkpoint holds."""
    text = str(error)
    signs = ("UNAVAILABLE", "PERMISSION_DENIED", "UNAUTHENTICATED", "DEADLINE", "Forbidden")
    return isinstance(error, BucketError) or any(sign in text for sign in signs)


def present(state: Any) -> Any:
    """The fields of a state that are not None, by name.

    What a run has not is not in its checkpoint either, so that one from before a field was thought
    of still fits.
    """
    if not dataclasses.is_dataclass(state):
        return state
    values = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    return {name: value for name, value in values.items() if value is not None}


def _on_host(x: jax.Array) -> np.ndarray:
    """What Orbax takes for a request of a numpy array; it occupies no memory."""
    return np.broadcast_to(np.zeros((), x.dtype), x.shape)


def _abstract_array(x: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)
