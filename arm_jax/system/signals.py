"""Being asked to stop: Ctrl-C (SIGINT), SIGTERM of schedulers, SIGHUP of a closed terminal.

The first signal stops the command with one line and the exit status 128 + its number: 130 for
SIGINT, 143 for SIGTERM, 129 for SIGHUP. It raises `Interrupted` where the command is, but within
`deferred` it is only noted, so that a training can finish its step and save. A second SIGINT ends
the process at once. So does the first, after `GRACE` seconds, if the command does not react: Python
handles a signal only between two of its own instructions, and a compiler may run for minutes.
Ending at once harms no file: each is whole or absent at every moment.
"""

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any

from arm_jax.system.errors import of_system

STOPPING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
GRACE = 5.0  # seconds in which a command may react
REPEAT = 0.02  # seconds after which a signal is raised again that Python had to drop
# A launcher may pass a Ctrl-C on that the terminal sent to all of its processes already.
APART = 0.3  # seconds from the first SIGINT to one that counts as the second


class Interrupted(KeyboardInterrupt):
    """A signal asked the command to stop; `number` says which."""

    def __init__(self, number: int):
        super().__init__(f"{name(number)}: stopped")
        self.number = number


def name(number: int) -> str:
    """Such as "SIGINT"."""
    return signal.Signals(number).name


class Listener:
    """Hears the signals for the time of its context, in the main thread of the process."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._deferred = 0
        self._previous: dict[int, object] = {}
        self._settled = False  # whether the command has reacted to the first signal
        self._repeated = 0  # signals that this process sent to itself
        self.raised = False  # whether `Interrupted` was raised for the first signal
        self.heard = False  # a signal, which the main thread may not have handled yet

    def __enter__(self) -> "Listener":
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        threading.Thread(target=self._watch, name="signals", daemon=True).start()
        self._wakeup = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in STOPPING:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        self._settled = True
        for number, handler in self._previous.items():
            # Whoever came later, as JAX with several processes, keeps its handler.
            if signal.getsignal(number) == self._handle:
                signal.signal(number, handler)  # type: ignore[arg-type]
        signal.set_wakeup_fd(self._wakeup)
        self._writer.close()
        self._reader.close()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Called between two instructions of the main thread."""
        if self.number is not None:
            return  # `_watch` sees to a second one
        self.number = number
        if self._deferred:
            tell(f"{name(number)}: saving, then stopping; a second Ctrl-C stops at once")
        else:
            self.raised = True
            raise Interrupted(number)

    def repeat(self, number: int) -> None:
        """Raise again what was raised where nothing may be: in a destructor, a callback.

        Python prints and drops it there, and the command would go on.
        """
        self.number, self.raised = None, False
        self._repeated += 1
        timer = threading.Timer(REPEAT, _send_to_main_thread, [number])
        timer.daemon = True
        timer.start()

    def _watch(self) -> None:
        """Called at once, whatever the main thread is doing, for each signal that has a handler."""
        first: float | None = None
        while True:
            try:
                numbers = self._reader.recv(64)
            except OSError:
                return
            if not numbers:
                return
            for number in numbers:
                if number not in STOPPING:
                    continue
                if self._repeated:
                    self._repeated -= 1
                elif first is None:
                    first, self.heard = time.monotonic(), True
                    if _told is not None:
                        _told(number)
                    timer = threading.Timer(GRACE, self._end_if_deaf, [number])
                    timer.daemon = True
                    timer.start()
                elif number == signal.SIGINT and time.monotonic() - first > APART:
                    end_at_once(number)

    def _end_if_deaf(self, number: int) -> None:
        if not self._settled and not self._deferred:
            end_at_once(number)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Note a signal in `number` instead of raising.

        Whoever leaves the block has reacted to it: what is closed behind it may take its time.
        """
        self._deferred += 1
        try:
            yield
        finally:
            self._deferred -= 1
            self._settled = self._settled or self.number is not None

    @contextlib.contextmanager
    def raising(self) -> Iterator[None]:
        """Within `deferred`, a part that may be left at any instruction.

        Raises `Interrupted` also for a signal that was noted before. What follows is again given
        the time it needs.
        """
        deferred, self._deferred = self._deferred, 0
        try:
            if self.number is not None:
                raise Interrupted(self.number)
            yield
        finally:
            self._deferred = deferred
            self._settled = self.number is not None


_listener: Listener | None = None


def start() -> None:
    """Listen until the process ends, and let `Interrupted` end it with one line.

    So ends an error of the system that nobody has explained; `python -X dev` shows where.
    """
    global _listener
    _open_standard_files()
    if _listener is None:
        _listener = Listener().__enter__()
    # The helper of `multiprocessing` would tell what a process left that had no time to clean up;
    # it is started with the options of this one, and removes that itself.
    sys.warnoptions.append("ignore:resource_tracker:UserWarning")
    usual, usual_drop = sys.excepthook, sys.unraisablehook

    def dropped(found: Any) -> None:
        if _listener is not None and isinstance(found.exc_value, Interrupted):
            _listener.repeat(found.exc_value.number)
        else:
            usual_drop(found)

    sys.unraisablehook = dropped

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        number = error.number if isinstance(error, Interrupted) else None
        if number is None and _listener is not None and _listener.raised:
            number = _listener.number  # a library that is half imported makes an error of its own
        if number is None:
            line = None if sys.flags.dev_mode else of_system(error)
            if line is None:
                usual(kind, error, trace)
                return
            tell(line)
            os._exit(2)
        tell(f"{name(number)}: stopped; the same command goes on from what was saved")
        # At once, since threads and children may wait for what will not come.
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(128 + number)

    sys.excepthook = hook


def _open_standard_files() -> None:
    """Those that whoever started the process has closed: bars write to them, and the next file
    that is opened would get their number, to which libraries print."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115


@contextlib.contextmanager
def listening() -> Iterator[Listener]:
    """The process's one listener, made for the block if there is none.

    Outside of the main thread (a notebook's worker, say) it hears nothing, and the signals keep
    their usual effect.
    """
    global _listener
    if _listener is not None:
        yield _listener
    elif threading.current_thread() is not threading.main_thread():
        yield Listener()
    else:
        with Listener() as _listener:
            try:
                yield _listener
            finally:
                _listener = None


_told: Callable[[int], None] | None = None


def when_heard(function: Callable[[int], None] | None) -> None:
    """Have a function called with the number of the first signal, from another thread."""
    global _told
    _told = function


def pass_on(number: int) -> None:
    """Let a signal that reached another process of the run be as if it had reached this one."""
    if _listener is not None and not _listener.heard:
        _send_to_main_thread(number)


def heed() -> None:
    """Raise `Interrupted` for a signal that was noted when its command was about to end anyway.

    A run that is asked to stop in its last step is complete, and what comes after it, as the next
    run of a grid, must not begin.
    """
    if _listener is not None and _listener.number is not None:
        _listener.raised = True
        raise Interrupted(_listener.number)


def unwrap() -> None:
    """Raise `Interrupted` anew where a library may have made an error of its own of it.

    Called where an error is about to be explained: Orbax, asked to stop while it reads, tells of an
    array that it cannot read.
    """
    if _listener is not None and _listener.raised and _listener.number is not None:
        raise Interrupted(_listener.number)


def _send_to_main_thread(number: int) -> None:
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, number)
    else:
        signal.raise_signal(number)


def tell(text: str) -> None:
    """One line on the terminal, also if nobody reads it any more."""
    with contextlib.suppress(OSError, ValueError):
        print(f"arm_jax: {text}", file=sys.stderr, flush=True)


def end_at_once(number: int) -> None:
    """End the process here and now, from any thread."""
    tell(f"{name(number)}: stopped at once; the same command goes on from what was saved")
    os._exit(128 + number)


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """Threads and processes started in the block never see Ctrl-C or SIGHUP.

    A terminal sends both to all processes of a command; the one that started the others decides.
    """
    with_mask = hasattr(signal, "pthread_sigmask")
    blocked = {number for number in STOPPING if number != signal.SIGTERM}
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, blocked) if with_mask else None
    try:
        yield
    finally:
        if previous is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, previous)
