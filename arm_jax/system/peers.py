"""The processes of one run end together.

JAX notices a process that is gone by missing heartbeats, after minutes, or by a collective that
fails in the others with a long text. Here every process holds a connection to the first one, which
the operating system closes when a process ends, however that happens. Whoever sees one close
without a farewell says so in one line, and ends; so all do within seconds.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils

from arm_jax.system.errors import Diverged, InputError, Stopped
from arm_jax.system.signals import tell

STATUS = 1
_FAREWELL = b"."
_ADDRESS_BYTES = 256
_PATIENCE = 2.0  # seconds that a process gets to end with a line of its own
_REACH = 20.0  # seconds to reach the first process


@contextlib.contextmanager
def together(coordinator: str | None) -> Iterator[None]:
    """For the block, end this process when another one of the run ends in an error or is killed.

    Every process must enter it, after `sharding.initialize`. A network that lets nobody connect
    leaves the matter to JAX's heartbeats.

    Args:
      coordinator: "host:port" of the first process, or None where JAX finds it by itself.
    """
    if jax.process_count() == 1:
        yield
        return
    line = _Line(coordinator)
    try:
        yield
    except Stopped:
        line.farewell()
        raise
    except BaseException as error:
        if isinstance(error, Exception) and not isinstance(error, InputError | Diverged):
            # It may be the echo of what failed elsewhere, and that is then told instead.
            time.sleep(2 * _PATIENCE)
        # Now, since the end of this process would wait for the others.
        line.hang_up()
        raise
    else:
        line.farewell()


class _Line:
    """The connections of this process: to all others in the first one, else to the first."""

    def __init__(self, coordinator: str | None):
        self._others: dict[int, socket.socket] = {}
        self._done = threading.Event()
        index, number = jax.process_index(), jax.process_count()
        server = None
        address = ""
        if index == 0:
            server = socket.create_server(("", 0), backlog=number)
            host = (coordinator or "").rpartition(":")[0] or socket.gethostname()
            address = f"{host}:{server.getsockname()[1]}"
        sent = np.frombuffer(address.encode().ljust(_ADDRESS_BYTES, b"\0"), np.uint8)
        got = np.asarray(multihost_utils.broadcast_one_to_all(sent)).tobytes()
        address = got.rstrip(b"\0").decode()
        if server is not None:
            self._start(self._welcome, server, number - 1)
        else:
            host, _, port = address.rpartition(":")
            with contextlib.suppress(OSError):
                first = socket.create_connection((host.strip("[]"), int(port)), timeout=_REACH)
                first.sendall(index.to_bytes(4, "big"))
                first.settimeout(None)
                self._add(0, first)

    def _start(self, function, *arguments) -> None:
        threading.Thread(target=function, args=arguments, name="peers", daemon=True).start()

    def _welcome(self, server: socket.socket, number: int) -> None:
        with server, contextlib.suppress(OSError):
            server.settimeout(2 * _REACH)
            for _ in range(number):
                other, _ = server.accept()
                other.settimeout(_REACH)
                index = int.from_bytes(other.recv(4), "big")
                other.settimeout(None)
                self._add(index, other)

    def _add(self, index: int, other: socket.socket) -> None:
        # A machine that vanished closes nothing.
        other.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, seconds in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, option):
                other.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)
        self._others[index] = other
        self._start(self._listen, index, other)

    def _listen(self, index: int, other: socket.socket) -> None:
        try:
            data = other.recv(1)
        except OSError:
            data = b""
        if data == _FAREWELL or self._done.is_set():
            return
        if index > 0:  # without the first one, JAX would not wait either
            time.sleep(_PATIENCE)
        if not self._done.is_set():
            tell(
                f"process {index} of {jax.process_count()} has ended, so this one"
                f" ({jax.process_index()}) ends too; the same commands go on from the last"
                " checkpoint"
            )
            os._exit(STATUS)

    def hang_up(self) -> None:
        """This process ends in an error, which it tells by itself."""
        self._done.set()
        for other in self._others.values():
            with contextlib.suppress(OSError):
                other.shutdown(socket.SHUT_RDWR)

    def farewell(self) -> None:
        """This process ends as it should."""
        self._done.set()
        for other in self._others.values():
            with contextlib.suppress(OSError):
                other.sendall(_FAREWELL)
