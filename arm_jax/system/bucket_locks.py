"""One writer at a time in a folder of a bucket: an object that its holder writes again and again.

The lock is an object. It is created only if there is none, and every later write or removal is for
the generation that the holder wrote last; the service decides both, so two processes never hold it
by the same object. The holder writes it every `BEAT` seconds. Who finds it watches it: if it
changes, the holder lives; if it does not for `STALE` seconds, it is taken over, again for that
generation alone, so of several that want it one gets it. No clocks are compared.

What this does not exclude: a holder that stood still for longer than `STALE`, or did not reach the
bucket, goes on until it next writes the lock or is asked by `Lock.check`, which comes before every
save; what it had begun to save then arrives beside what the new holder writes.
"""

import contextlib
import datetime
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from arm_jax.system import buckets, outputs, signals
from arm_jax.system.addresses import Address
from arm_jax.system.buckets import BucketError, Changed
from arm_jax.system.errors import InputError
from arm_jax.system.locks import Busy

BEAT = 15.0  # seconds
STALE = 60.0
LOOK = 1.0  # seconds between two reads of another's lock


class Lock:
    """A lock that this process holds; made by `held`."""

    def __init__(self, address: Address):
        self._address = address
        self._text: dict[str, Any] = {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "since": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "machine": _machine(),
            "token": uuid.uuid4().hex,
        }
        self._generation = 0
        self._lost = ""
        self._reached = True  # by the last beat
        self._done = threading.Event()
        self._beats = threading.Thread(target=self._beat, name="bucket lock", daemon=True)

    @property
    def token(self) -> str:
        """What distinguishes this lock from all others."""
        return str(self._text["token"])

    def take(self) -> None:
        """Take the lock. Raises Busy and BucketError."""
        told = False
        while True:
            there = buckets.find(self._address)
            if there is None or self._is_left(there, told):
                with contextlib.suppress(Changed, FileNotFoundError):
                    self._write(0 if there is None else there.generation)
                    self._beats.start()
                    return
            told = True

    def _is_left(self, there: buckets.Object, told: bool) -> bool:
        """Whether the holder of a lock has ended without removing it. Raises Busy if it lives."""
        holder = self._read()
        process = holder.get("process")
        if holder.get("machine") == self._text["machine"] and isinstance(process, int):
            # One of this process may be left that the bucket did not let go.
            own = process == os.getpid() and holder.get("token") not in _tokens()
            if own or not outputs.is_running(process):
                return True
            raise self._busy(holder)
        if not told:
            signals.tell(
                f"{self._address.name} of {_named(holder)} is there; waiting up to"
                f" {STALE:g} s to learn whether that is still running"
            )
        end = time.monotonic() + STALE
        while time.monotonic() < end:
            time.sleep(LOOK)
            now = buckets.find(self._address)
            if now is None:
                return False
            if now.generation != there.generation:
                raise self._busy(self._read())
        return True

    def _busy(self, holder: dict[str, Any]) -> Busy:
        folder = str(self._address).rpartition("/")[0]
        return Busy(
            f"{folder} is in use by {_named(holder)}; wait for it, stop it, or choose another"
            " folder"
        )

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(buckets.read(self._address))
        except (FileNotFoundError, ValueError, RecursionError) as error:
            if isinstance(error, InputError):
                raise
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, generation: int) -> None:
        """Raises Changed where somebody else wrote it, and BucketError."""
        self._text["beat"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        try:
            text = json.dumps(self._text).encode() + b"\n"
            self._generation = buckets.write(self._address, text, generation=generation).generation
        except Changed:
            # Or this very write arrived, its answer was lost, and it was made again.
            if self._read().get("token") != self.token:
                raise
            there = buckets.find(self._address)
            if there is None:
                raise
            self._generation = there.generation

    def _beat(self) -> None:
        while not self._done.wait(BEAT):
            try:
                self._write(self._generation)
                self._reached = True
            except Changed:
                with contextlib.suppress(BucketError):
                    self._lost = _named(self._read())
                self._lost = self._lost or "another process"
                return
            except BucketError:
                self._reached = False  # saving reports it

    def check(self) -> None:
        """Raise InputError if somebody else has taken the lock over."""
        if self._lost:
            folder = str(self._address).rpartition("/")[0]
            raise InputError(
                f"{folder} was taken over by {self._lost}, since this process did not reach the"
                " bucket for too long; it ends, and the other one goes on"
            )

    def release(self) -> None:
        """Remove the lock, if the bucket answers; otherwise it grows stale."""
        self._done.set()
        self._beats.join(timeout=BEAT)
        # A request that nobody answers would be made again for minutes.
        if self._reached and not self._beats.is_alive() and not self._lost:
            with contextlib.suppress(BucketError, Changed):
                buckets.remove(self._address, generation=self._generation)


_held: dict[str, Lock] = {}


@contextlib.contextmanager
def held(folder: Address) -> Iterator[None]:
    """Hold the lock of a folder for the block.

    Raises Busy where another process holds it, and BucketError.
    """
    lock = Lock(folder.below(outputs.LOCK))
    lock.take()
    _held[str(folder)] = lock
    try:
        yield
    finally:
        del _held[str(folder)]
        lock.release()


def check(folder: Address) -> None:
    """Raise InputError if this process held the lock of a folder and has lost it."""
    lock = _held.get(str(folder))
    if lock is not None:
        lock.check()


def _tokens() -> set[str]:
    return {lock.token for lock in _held.values()}


def _named(holder: dict[str, Any]) -> str:
    try:
        return f"process {holder['process']} on {holder['host']} since {holder['since']}"
    except KeyError:
        return "another process"


def _machine() -> str:
    """What distinguishes two systems whose processes have numbers of their own; "" if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return f"{socket.gethostname()} {uuid.getnode()}"
