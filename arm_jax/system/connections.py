"""A connection from every process of a run to the first one, and messages over them.

The operating system closes a connection when a process ends, however that happens; one that is
silent for `SILENCE` has vanished with its machine.
"""

import contextlib
import queue
import socket
import struct
import threading
from typing import Protocol

import jax

from arm_jax.system import processes
from arm_jax.system.errors import InputError

# Seconds.
REACH = 20.0  # to reach the first process
SILENCE = 75.0  # without a message; JAX waits for 100

_FAREWELL = ord("b")  # a kind of message of this module, the last one of a process
_HEAD = struct.Struct("!BI")  # kind, bytes that follow


class Listener(Protocol):
    """Who is told of messages and ends, by threads; `index` is that of the other process."""

    def take(self, index: int, kind: int, data: bytes) -> None:
        """A message."""

    def lost(self, index: int) -> None:
        """The connection was closed without a farewell."""

    def failed(self, what: str) -> None:
        """A process has not connected, or is silent: the sentence names it and its host."""


class Connections:
    """Those of this process: to all others in the first one, else to the first.

    Args:
      coordinator: "host:port" of the first process, or None where JAX finds it by itself.
    """

    def __init__(self, coordinator: str | None):
        self.index, self.number = jax.process_index(), jax.process_count()
        self.hosts: list[str] = []  # of every process
        self.gone: set[int] = set()  # those whose connection is closed
        self._coordinator = coordinator
        self._others: dict[int, socket.socket] = {}
        self._out: dict[int, queue.SimpleQueue[bytes | None]] = {}
        self._writers: list[threading.Thread] = []

    def open(self, listener: Listener) -> None:
        """Connect. Every process must; raises InputError if the first one cannot be reached."""
        self._listener = listener
        server = None
        address = ""
        if self.index == 0:
            server = socket.create_server(("", 0), backlog=self.number)
            host = (self._coordinator or "").rpartition(":")[0] or socket.gethostname()
            address = f"{host}:{server.getsockname()[1]}"
        found = processes.gathered((address, socket.gethostname()))
        self.hosts = [host for _, host in found]
        if server is not None:
            start(self._welcome, server)
            return
        host, _, port = found[0][0].rpartition(":")
        try:
            first = socket.create_connection((host.strip("[]"), int(port)), timeout=REACH)
            first.sendall(self.index.to_bytes(4, "big"))
        except OSError as error:
            raise InputError(
                f"{self.name(self.index)} cannot connect to the first one at"
                f" {found[0][0]} ({error.strerror or error}); open the ports between the hosts"
            ) from error
        self._add(0, first)

    def name(self, index: int) -> str:
        """A process with its host, as messages call it."""
        return f"process {index} of {self.number} on {self.hosts[index]}"

    def send(self, kind: int, data: bytes = b"") -> None:
        """A message to all that are connected; threads send it, so nobody waits."""
        for waiting in list(self._out.values()):
            waiting.put(_HEAD.pack(kind, len(data)) + data)

    def farewell(self, patience: float) -> None:
        """Say that this process ends as it should, and wait until all is sent, for some seconds."""
        self.send(_FAREWELL)
        for waiting in self._out.values():
            waiting.put(None)
        for writer in self._writers:
            writer.join(patience)

    def hang_up(self) -> None:
        """Close them without a farewell."""
        for other in self._others.values():
            with contextlib.suppress(OSError):
                other.shutdown(socket.SHUT_RDWR)

    def _welcome(self, server: socket.socket) -> None:
        with server, contextlib.suppress(OSError):
            server.settimeout(2 * REACH)
            for _ in range(self.number - 1):
                other, _ = server.accept()
                other.settimeout(REACH)
                self._add(int.from_bytes(_exactly(other, 4), "big"), other)
        absent = [index for index in range(1, self.number) if index not in self._others]
        if absent:
            what = f"{self.name(absent[0])} has not connected in {2 * REACH:.0f} s"
            self._listener.failed(what)

    def _add(self, index: int, other: socket.socket) -> None:
        other.settimeout(SILENCE)
        self._out[index] = queue.SimpleQueue()
        self._others[index] = other
        self._writers.append(start(self._write, index, other))
        start(self._listen, index, other)

    def _write(self, index: int, other: socket.socket) -> None:
        """Send what waits for a process; nobody else writes."""
        with contextlib.suppress(OSError):
            while (data := self._out[index].get()) is not None:
                other.sendall(data)

    def _listen(self, index: int, other: socket.socket) -> None:
        try:
            while True:
                kind, length = _HEAD.unpack(_exactly(other, _HEAD.size))
                data = _exactly(other, length)
                if kind == _FAREWELL:
                    self.gone.add(index)
                    return
                self._listener.take(index, kind, data)
        except TimeoutError:
            self._listener.failed(f"{self.name(index)} has been silent for {SILENCE:.0f} s")
        except OSError:
            self.gone.add(index)
            self._listener.lost(index)


def start(function, *arguments) -> threading.Thread:
    """Run a function in a thread that does not keep the process alive."""
    thread = threading.Thread(target=function, args=arguments, name="peers", daemon=True)
    thread.start()
    return thread


def _exactly(other: socket.socket, number: int) -> bytes:
    """This number of bytes. Raises ConnectionError at the end of the connection."""
    data = b""
    while len(data) < number:
        part = other.recv(number - len(data))
        if not part:
            raise ConnectionError("closed")
        data += part
    return data
