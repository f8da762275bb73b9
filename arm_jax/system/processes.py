"""How the processes of a run share work, and agree on what came of it.

Work on many images needs no word between the processes but two: `share`, the items that this
process takes care of, and `merged`, which turns the results of the shares into those of all items
in their order. What follows is then the same in every process, and the same as in a single one.
`gathered`, `once` and `from_first` exchange the rest.

All of these but `share` and `place` wait for the other processes: every process must call them, in
the same order. What only the first process does is therefore done `alone`.

A single process needs none of it, and no JAX.
"""

import contextlib
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from arm_jax.system.errors import InputError

Value = TypeVar("Value")
Result = TypeVar("Result")

ROUND = 16  # results of each process that are exchanged at a time
_HEAD = 1 << 12  # bytes of every first message, with the length of the whole in front
_MOST = 1 << 24  # bytes of any other
_LENGTH = 8
_DAYS = 7 * 24 * 60 * 60 * 1000  # of `wait`, in milliseconds
_LARGEST = 1 << 26  # bytes of a part of a broadcast

_alone = False
# How far this process has come: messages and steps, counted. Those of all processes are equal while
# none is behind.
moves = 0


def place() -> tuple[int, int]:
    """Which process this is, from 0, and of how many; (0, 1) within `alone`."""
    jax = sys.modules.get("jax")
    if _alone or jax is None or not jax.distributed.is_initialized():
        return 0, 1
    return jax.process_index(), jax.process_count()


def is_first() -> bool:
    """Whether this is the first process, which writes and reports."""
    return place()[0] == 0


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """For the block, this process works as if there were no others, and waits for none."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


def moved() -> None:
    """Count a step that the other processes make too."""
    global moves
    moves += 1


def share(number: int) -> range:
    """The indices below `number` that this process takes care of."""
    index, processes = place()
    return range(index, number, processes)


def merged(mine: Iterable[Result], number: int) -> Iterator[Result]:
    """The results of all items in their order, in every process.

    Results go from process to process in rounds, so that few are held. If `mine` raises an
    InputError, every process raises it where its turn would have come.

    Args:
      mine: the results of the items of `share(number)`, in order.
      number: of all items.
    """
    _, processes = place()
    iterator = iter(mine)
    if processes == 1:
        yield from iterator
        return
    for start in range(0, number, processes * ROUND):
        rounds = gathered(_next_results(iterator))
        for place_of, index in enumerate(range(start, min(number, start + processes * ROUND))):
            turn, process = divmod(place_of, processes)
            results, error = rounds[process]
            if turn < len(results):
                yield results[turn]
            elif error is not None:
                raise error
            else:
                raise ValueError(f"process {process} has no result for item {index} of {number}")


def _next_results(results: Iterator[Result]) -> tuple[list[Result], InputError | None]:
    found: list[Result] = []
    try:
        for result in results:
            found.append(result)
            if len(found) == ROUND:
                break
    except InputError as error:
        return found, error
    return found, None


def wait(name: str) -> None:
    """Wait for the other processes, for as long as they live.

    For what may take hours on one machine and not on another: the devices' libraries end a
    collective after minutes, and `peers` takes who is late at one for one that hangs.

    Args:
      name: of the moment, one for each.
    """
    if place()[1] > 1:
        # Slow to import.
        from orbax.checkpoint import multihost

        multihost.get_barrier_sync_fn()(key=f"arm_jax.{name}", timeout_ms=_DAYS)


def once(action: Callable[[], object]) -> None:
    """Do something in the first process, and go on in all of them when it is done.

    For what depends on files alone, which all processes are taken to see alike.

    Raises:
      InputError: in every process, what `action` raised.
    """

    def acted() -> None:
        action()

    from_first(acted)


def from_first(make: Callable[[], Value]) -> Value:
    """What `make` returns in the first process, in all of them.

    Raises:
      InputError: in every process, what `make` raised.
    """
    index, processes = place()
    if processes == 1:
        return make()
    value: Value | None = None
    error = None
    if index == 0:
        try:
            with alone():
                value = make()
        except InputError as mistake:
            error = mistake
    found, error = gathered((value, error))[0]
    if error is not None:
        raise error
    return found  # type: ignore[return-value]


def broadcast(
    arrays: Sequence[np.ndarray], like: Sequence[tuple[tuple[int, ...], Any]]
) -> list[np.ndarray]:
    """The arrays of the first process, in all of them, bit by bit.

    They travel as one string of bytes, in parts of one size: JAX compiles a program for each.

    Args:
      arrays: in the first process; the others may hand in none.
      like: shape and dtype of each, in every process.
    """
    from jax.experimental import multihost_utils

    _meet()
    sizes = [int(np.prod(shape)) * np.dtype(dtype).itemsize for shape, dtype in like]
    part = min(_LARGEST, max(_HEAD, 1 << (sum(sizes) - 1).bit_length()))
    string = np.zeros(-(-sum(sizes) // part) * part, np.uint8)
    if is_first():
        start = 0
        for array, (shape, dtype), size in zip(arrays, like, sizes, strict=True):
            if np.shape(array) != shape:
                raise ValueError(f"an array of shape {np.shape(array)}, not {shape}")
            flat = np.ascontiguousarray(np.asarray(array, dtype).reshape(-1))
            string[start : start + size] = flat.view(np.uint8)
            start += size
    for start in range(0, len(string), part):
        piece = string[start : start + part]
        piece[:] = multihost_utils.broadcast_one_to_all(piece)
    found, start = [], 0
    for (shape, dtype), size in zip(like, sizes, strict=True):
        found.append(string[start : start + size].view(dtype).reshape(shape))
        start += size
    return found


@contextlib.contextmanager
def held_by_first(make: Callable[[], contextlib.AbstractContextManager]) -> Iterator[None]:
    """The first process is within a context, such as a lock, before any other is in the block.

    Raises:
      InputError: in every process, what entering the context raised.
    """
    with contextlib.ExitStack() as stack:
        once(lambda: stack.enter_context(make()))
        yield


def total(values: np.ndarray, error: InputError | None = None) -> np.ndarray:
    """The sum over all processes of an int64 array, exact.

    Raises:
      InputError: in every process, the first error that one of them hands in.
    """
    parts = gathered((values.astype(np.int64), error))
    for _, mistake in parts:
        if mistake is not None:
            raise mistake
    return np.sum([part for part, _ in parts], axis=0)


def gathered(value: Value) -> list[Value]:
    """What each process hands in, by process, in every process.

    Values are pickled: the processes run the same program for the same person, and JAX's own
    connections between them ask nobody for a password either.
    """
    if place()[1] == 1:
        return [value]
    _meet()
    data = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    # The lengths of all come with the beginnings of all. Few sizes of messages, since JAX compiles
    # a program for each.
    room = _HEAD - _LENGTH
    heads = _exchanged(len(data).to_bytes(_LENGTH, "big") + data[:room], _HEAD)
    lengths = [int.from_bytes(head[:_LENGTH], "big") for head in heads]
    found = [bytearray(head[_LENGTH:]) for head in heads]
    longest, sent = max(lengths), room
    while sent < longest:
        size = min(_MOST, max(_HEAD, 1 << (longest - sent - 1).bit_length()))
        for whole, part in zip(found, _exchanged(data[sent : sent + size], size), strict=True):
            whole += part
        sent += size
    return [
        pickle.loads(memoryview(whole)[:length])
        for whole, length in zip(found, lengths, strict=True)
    ]


def _meet() -> None:
    """Wait for all processes before a message, which the devices' libraries give minutes alone."""
    moved()
    wait(f"message {moves}")


def _exchanged(data: bytes, size: int) -> list[bytes]:
    """The bytes of each process, padded to `size`."""
    from jax.experimental import multihost_utils

    mine = np.frombuffer(data.ljust(size, b"\0"), np.uint8)
    return [one.tobytes() for one in np.asarray(multihost_utils.process_allgather(mine))]
