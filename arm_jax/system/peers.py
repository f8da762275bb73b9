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
import queue
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax

from arm_jax.system import alike, processes, signals
from arm_jax.system.errors import Diverged, InputError, Stopped
from arm_jax.system.signals import tell

STATUS = 1
# Seconds. A process gets `PATIENCE` to end with a line of its own.
PATIENCE = 2.0
REACH = 20.0  # to reach the first process
BEAT = 2.0  # from one sign of life to the next
SILENCE = 75.0  # without one; JAX waits for 100
BEHIND = 1800.0  # at one place while others wait; one program compiles for minutes

_FAREWELL, _BEAT, _STOP, _AT, _UNTIL, _NOTE, _END = b".bsaune"
_HEAD = struct.Struct("!BI")  # kind, bytes that follow
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
    """The connections of this process: to all others in the first one, else to the first."""

    def __init__(self, coordinator: str | None):
        self._index, self._number = jax.process_index(), jax.process_count()
        self._others: dict[int, socket.socket] = {}
        self._out: dict[int, queue.SimpleQueue[bytes | None]] = {}
        self._writers: list[threading.Thread] = []
        self._done = threading.Event()
        self._gone: set[int] = set()  # those whose connection is closed
        self.notes: dict[int, dict[str, Any]] = {}
        # How far each process is, and since when.
        self._moves: dict[int, tuple[int, float]] = {}
        self._lock = threading.Condition()
        self._step = -1  # the last one that this process asked about
        self._stopping = self._asked = False
        self._answers: dict[int, int] = {}
        self._until: int | None = None
        server = None
        address = ""
        if self._index == 0:
            server = socket.create_server(("", 0), backlog=self._number)
            host = (coordinator or "").rpartition(":")[0] or socket.gethostname()
            address = f"{host}:{server.getsockname()[1]}"
        found = processes.gathered((address, socket.gethostname()))
        self._hosts = [host for _, host in found]
        if server is not None:
            self._start(self._welcome, server)
        else:
            host, _, port = found[0][0].rpartition(":")
            try:
                first = socket.create_connection((host.strip("[]"), int(port)), timeout=REACH)
                first.sendall(self._index.to_bytes(4, "big"))
            except OSError as error:
                raise InputError(
                    f"{self._name(self._index)} cannot connect to the first one at"
                    f" {found[0][0]} ({error.strerror or error}); open the ports between the hosts"
                ) from error
            self._add(0, first)
        signals.when_heard(self._heard)
        self._start(self._beat)

    def _name(self, index: int) -> str:
        return f"process {index} of {self._number} on {self._hosts[index]}"

    def _start(self, function, *arguments) -> threading.Thread:
        thread = threading.Thread(target=function, args=arguments, name="peers", daemon=True)
        thread.start()
        return thread

    # Connections

    def _welcome(self, server: socket.socket) -> None:
        with server, contextlib.suppress(OSError):
            server.settimeout(2 * REACH)
            for _ in range(self._number - 1):
                other, _ = server.accept()
                other.settimeout(REACH)
                self._add(int.from_bytes(_exactly(other, 4), "big"), other)
        absent = [index for index in range(1, self._number) if index not in self._others]
        if absent:
            self._end(f"{self._name(absent[0])} has not connected in {2 * REACH:.0f} s")

    def _add(self, index: int, other: socket.socket) -> None:
        # A machine that vanished closes nothing.
        other.settimeout(SILENCE)
        self._out[index] = queue.SimpleQueue()
        self._others[index] = other
        self._writers.append(self._start(self._write, index, other))
        self._start(self._listen, index, other)

    def _write(self, index: int, other: socket.socket) -> None:
        """Send what waits for a process; nobody else writes, and nobody waits for it."""
        with contextlib.suppress(OSError):
            while (data := self._out[index].get()) is not None:
                other.sendall(data)

    def _send(self, kind: int, data: bytes = b"", to: int | None = None) -> None:
        for index in list(self._out) if to is None else [to]:
            if index in self._out:
                self._out[index].put(_HEAD.pack(kind, len(data)) + data)

    def _listen(self, index: int, other: socket.socket) -> None:
        try:
            while True:
                kind, length = _HEAD.unpack(_exactly(other, _HEAD.size))
                data = _exactly(other, length)
                if kind == _FAREWELL:
                    self._gone.add(index)
                    return
                self._take(index, kind, data)
        except TimeoutError:
            self._end(f"{self._name(index)} has been silent for {SILENCE:.0f} s")
        except OSError:
            self._lost(index)

    def _take(self, index: int, kind: int, data: bytes) -> None:
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
            self.notes[index] = {"host": self._hosts[index], **json.loads(data)}
        elif kind == _END:
            self._end(data.decode())

    # Ends

    def _lost(self, index: int) -> None:
        """A connection was closed without a farewell."""
        self._gone.add(index)
        if self._done.is_set():
            return
        # Without the first one, JAX would not wait either. After a signal each ends by itself.
        patience = 2 * signals.GRACE if self._stopping else PATIENCE
        if index > 0 or self._stopping:
            time.sleep(patience)
        self._end(f"{self._name(index)} has ended")

    def _end(self, what: str) -> None:
        """End this process and, from the first one, all others, with one line."""
        if self._done.is_set():
            return
        self._done.set()
        # First of all, since JAX ends this process by a long text when the first one is gone.
        tell(
            f"{what}, so process {self._index} on {self._hosts[self._index]} ends too; the same"
            " commands go on from the last checkpoint"
        )
        if self._index == 0:
            self._send(_END, what.encode())
            time.sleep(BEAT / 4)  # the other threads send it
        os._exit(STATUS)

    def hang_up(self) -> None:
        """This process ends in an error, which it tells by itself."""
        self._done.set()
        if self._index == 0:
            # The others may be about to raise the same, and none outlives the first for long.
            until = time.monotonic() + PATIENCE
            while len(self._gone) < self._number - 1 and time.monotonic() < until:
                time.sleep(PATIENCE / 100)
        for other in self._others.values():
            with contextlib.suppress(OSError):
                other.shutdown(socket.SHUT_RDWR)

    def farewell(self) -> None:
        """This process ends as it should."""
        self._done.set()
        self._send(_FAREWELL)
        for waiting in self._out.values():
            waiting.put(None)
        for writer in self._writers:
            writer.join(PATIENCE)

    # Signs of life

    def _beat(self) -> None:
        while not self._done.wait(BEAT):
            self._send(_BEAT, _NUMBER.pack(processes.moves))
            self._follow(self._index, processes.moves)
            now = time.monotonic()
            farthest = max(moves for moves, _ in self._moves.values())
            for index, (moves, since) in list(self._moves.items()):
                late = moves < farthest and now - since > BEHIND
                # The others name this process themselves.
                if late and index not in (self._index, *self._gone):
                    self._end(
                        f"{self._name(index)} has been at one place for {BEHIND / 60:.0f} minutes,"
                        " where others are ahead of it"
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
            self._send(_STOP, _NUMBER.pack(number))

    def _stop(self, number: int) -> None:
        """A signal reached some process: the first one tells all, and asks where each is."""
        with self._lock:
            if self._stopping:
                return
            self._stopping = self._asked = True
            step = self._step
        if self._index == 0:
            self._send(_STOP, _NUMBER.pack(number))
            self._answered(0, step)
        else:
            self._send(_AT, _NUMBER.pack(step))
        signals.pass_on(number)

    def _answered(self, index: int, step: int) -> None:
        with self._lock:
            self._answers[index] = step
            complete = len(self._answers) == self._number
        if complete:
            # All are on their way to the step after the one that they asked about.
            step = max(self._answers.values()) + 1
            self._send(_UNTIL, _NUMBER.pack(step))
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
            self.notes[0] = {"host": self._hosts[0], **values}
        else:
            self._send(_NOTE, json.dumps(values).encode())


def _exactly(other: socket.socket, number: int) -> bytes:
    """This number of bytes. Raises ConnectionError at the end of the connection."""
    data = b""
    while len(data) < number:
        part = other.recv(number - len(data))
        if not part:
            raise ConnectionError("closed")
        data += part
    return data
