"""The processes of one run end together, and are asked to stop together.

JAX notices a process that is gone by missing heartbeats, after minutes, or by a collective that
fails in the others with a long text. Here every process holds a connection to the first one, which
the operating system closes when a process ends, however that happens, and on which each says every
other second that it lives. Whoever ends without a farewell, is silent, or stays behind while the
others wait, is named with its host in one line, and all end.

The same connections carry what must not wait for the devices: a signal to one process, the step
after which all stop, and how each process keeps up (see `run.stragglers`).
"""

import contextlib
import json
import os
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax

from arm_jax.system import alike, connections, processes, signals
from arm_jax.system.errors import Diverged, InputError, Stopped
from arm_jax.system.signals import tell

STATUS = 1
# Seconds. A process gets `PATIENCE` to end with a line of its own.
PATIENCE = 2.0
BEAT = 2.0  # from one sign of life to the next; see `connections.SILENCE`
BEHIND = 1800.0  # at one place while others wait; one program compiles for minutes

# Kinds of messages; `connections` has one more.
_BEAT, _STOP, _AT, _UNTIL, _NOTE, _END = b".saune"
_NUMBER = struct.Struct("!q")


@contextlib.contextmanager
def together(coordinator: str | None, facts: Mapping[str, Any] | None = None) -> Iterator[None]:
    """For the block, this process ends and stops with the others of its run.

    Every process must enter it, after `sharding.initialize`.

    Args:
      coordinator: "host:port" of the first process, or None where JAX finds it by itself.
      facts: what all processes must have in common, beside the program.

    Raises:
      InputError: the first process cannot be reached; in every process, where one differs, see
        `alike.compare`.
    """
    global _line
    if jax.process_count() == 1:
        yield
        return
    _line = _Line(coordinator)
    try:
        alike.compare({**alike.of_program(), **(facts or {})})
        yield
    except Stopped:
        _line.farewell()
        raise
    except BaseException as error:
        if isinstance(error, Exception) and not isinstance(error, InputError | Diverged):
            # It may be the echo of what failed elsewhere, and that is then told instead.
            time.sleep(2 * PATIENCE)
        # Now, since the end of this process would wait for the others.
        _line.hang_up()
        raise
    else:
        _line.farewell()
    finally:
        signals.when_heard(None)
        _line = None


_line: "_Line | None" = None


def are_together() -> bool:
    """Whether this process is in the block of `together` with others."""
    return _line is not None


def until(step: int) -> int | None:
    """The step after which all processes stop, once one of them was asked to; None before.

    Called by every process after each of its steps. Waits only while they agree.
    """
    return None if _line is None else _line.until(step)


def note(values: Mapping[str, Any]) -> None:
    """Tell the first process something of this one; the latest of each is in `notes`."""
    if _line is not None:
        _line.note(dict(values))


def notes() -> dict[int, dict[str, Any]]:
    """By process, what it noted last, in the first process; its host is there as "host"."""
    return {} if _line is None else dict(sorted(_line.notes.items()))


class _Line:
    """What the processes tell each other over their connections."""

    def __init__(self, coordinator: str | None):
        self._done = threading.Event()
        self.notes: dict[int, dict[str, Any]] = {}
        # How far each process is, and since when.
        self._moves: dict[int, tuple[int, float]] = {}
        self._lock = threading.Condition()
        self._step = -1  # the last one that this process asked about
        self._stopping = self._asked = False
        self._answers: dict[int, int] = {}
        self._until: int | None = None
        self._all = connections.Connections(coordinator)
        self._index = self._all.index
        self._all.open(self)
        signals.when_heard(self._heard)
        connections.start(self._beat)

    def take(self, index: int, kind: int, data: bytes) -> None:
        """A message."""
        number = _NUMBER.unpack(data)[0] if len(data) == _NUMBER.size else 0
        if kind == _BEAT:
            self._follow(index, number)
        elif kind == _STOP:
            self._stop(number)
        elif kind == _AT:
            self._answered(index, number)
        elif kind == _UNTIL:
            self._agreed(number)
        elif kind == _NOTE:
            self.notes[index] = {"host": self._all.hosts[index], **json.loads(data)}
        elif kind == _END:
            self.failed(data.decode())

    # Ends

    def lost(self, index: int) -> None:
        """A connection was closed without a farewell."""
        if self._done.is_set():
            return
        # Without the first one, JAX would not wait either. After a signal each ends by itself.
        patience = 2 * signals.GRACE if self._stopping else PATIENCE
        if index > 0 or self._stopping:
            time.sleep(patience)
        self.failed(f"{self._all.name(index)} has ended")

    def failed(self, what: str) -> None:
        """End this process and, from the first one, all others, with one line."""
        if self._done.is_set():
            return
        self._done.set()
        # First of all, since JAX ends this process by a long text when the first one is gone.
        tell(
            f"{what}, so process {self._index} on {self._all.hosts[self._index]} ends too; the same"
            " commands go on from the last checkpoint"
        )
        if self._index == 0:
            self._all.send(_END, what.encode())
            time.sleep(BEAT / 4)  # the other threads send it
        os._exit(STATUS)

    def hang_up(self) -> None:
        """This process ends in an error, which it tells by itself."""
        self._done.set()
        if self._index == 0:
            # The others may be about to raise the same, and none outlives the first for long.
            until = time.monotonic() + PATIENCE
            while len(self._all.gone) < self._all.number - 1 and time.monotonic() < until:
                time.sleep(PATIENCE / 100)
        self._all.hang_up()

    def farewell(self) -> None:
        """This process ends as it should."""
        self._done.set()
        self._all.farewell(PATIENCE)

    # Signs of life

    def _beat(self) -> None:
        while not self._done.wait(BEAT):
            self._all.send(_BEAT, _NUMBER.pack(processes.moves))
            self._follow(self._index, processes.moves)
            now = time.monotonic()
            farthest = max(moves for moves, _ in self._moves.values())
            for index, (moves, since) in list(self._moves.items()):
                late = moves < farthest and now - since > BEHIND
                # The others name this process themselves.
                if late and index not in (self._index, *self._all.gone):
                    self.failed(
                        f"{self._all.name(index)} has been at one place for {BEHIND / 60:.0f}"
                        " minutes, where others are ahead of it"
                    )

    def _follow(self, index: int, moves: int) -> None:
        before = self._moves.get(index)
        if before is None or before[0] != moves:
            self._moves[index] = moves, time.monotonic()

    # Stops

    def _heard(self, number: int) -> None:
        """A signal reached this process."""
        if self._index == 0:
            self._stop(number)
        else:
            self._all.send(_STOP, _NUMBER.pack(number))

    def _stop(self, number: int) -> None:
        """A signal reached some process: the first one tells all, and asks where each is."""
        with self._lock:
            if self._stopping:
                return
            self._stopping = self._asked = True
            step = self._step
        if self._index == 0:
            self._all.send(_STOP, _NUMBER.pack(number))
            self._answered(0, step)
        else:
            self._all.send(_AT, _NUMBER.pack(step))
        signals.pass_on(number)

    def _answered(self, index: int, step: int) -> None:
        with self._lock:
            self._answers[index] = step
            complete = len(self._answers) == self._all.number
        if complete:
            # All are on their way to the step after the one that they asked about.
            step = max(self._answers.values()) + 1
            self._all.send(_UNTIL, _NUMBER.pack(step))
            self._agreed(step)

    def _agreed(self, step: int) -> None:
        with self._lock:
            self._until = step
            self._lock.notify_all()

    def until(self, step: int) -> int | None:
        with self._lock:
            processes.moved()
            # Between the answer and the agreement no step may begin.
            self._lock.wait_for(lambda: not self._asked or self._until is not None)
            self._step = step
            return self._until

    def note(self, values: dict[str, Any]) -> None:
        if self._index == 0:
            self.notes[0] = {"host": self._all.hosts[0], **values}
        else:
            self._all.send(_NOTE, json.dumps(values).encode())
