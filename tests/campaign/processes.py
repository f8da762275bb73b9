"""Starting a command and hearing how it ended.

Importing JAX and the rest takes seconds. The campaign's own process has imported all of it, but
never uses JAX, so that it has one thread and may fork: a "warm" command is such a fork, in which
the module or script then runs as `__main__`. A "cold" one is a new Python, as users start it.
"""

import atexit
import ctypes
import importlib
import os
import resource
import runpy
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import forks

from arm_jax.system import signals

CHECKOUT = Path(__file__).resolve().parents[2]
# What commands import, as far as it may be there before they start. `arm_jax.main` is no part of
# it, since it defines its flags when it runs.
IMPORTED = (
    "arm_jax.experiment",
    "arm_jax.modes",
    "arm_jax.run.loop",
    "arm_jax.run.refusals",
    "arm_jax.reporting.report",
    "arm_jax.reporting.scores",
    "arm_jax.data.prepare",
    "arm_jax.data.survey",
    "arm_jax.system.coordinator",
    "arm_jax.system.peers",
    "arm_jax.weights.export",
    "tensorflow_datasets",
    "array_record.python.array_record_module",
)
IDLE = 90.0  # seconds without any work, after which a command waits for ever
MOST_ADDRESSES = 64 << 30  # bytes; JAX reserves many that it never uses
GROWTH = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate")


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit status (negative for a signal), what it printed, what it took."""

    status: int
    out: str
    err: str
    seconds: float
    cpu_seconds: float
    megabytes: float
    left: tuple[int, ...] = ()

    def brief(self) -> str:
        lines = [*self.out.splitlines()[-3:], *self.err.splitlines()[-12:]]
        return f"status {self.status}: " + " | ".join(line[:300] for line in lines)


def prepare(compiled: Path) -> None:
    """Import what commands need, once; compiled programs are kept in the folder `compiled`."""
    # JAX reads these when it is imported.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(compiled)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    assert "jax" not in sys.modules
    for name in IMPORTED:
        importlib.import_module(name)
    assert len(os.listdir("/proc/self/task")) == 1, "a process of several threads may not fork"


class Process:
    """A command that was started.

    Args:
      arguments: `-m`, a module and its arguments, or a script and its arguments.
      place: the folder that it may write to; it is its working directory, too.
      warm: in a fork.
      environment: added to that of the campaign.
      file_bytes: the largest file that it may write (RLIMIT_FSIZE).
      end_at: the number of the change of a file at which the process kills itself; warm only.
      prelude: called in the fork before the command.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        place: Path,
        *,
        warm: bool = True,
        environment: Mapping[str, str] | None = None,
        file_bytes: int | None = None,
        end_at: int | None = None,
        prelude=None,
    ):
        self.arguments = [*map(str, arguments)]
        base = place.parent / f"{place.name}.printed"
        base.mkdir(parents=True, exist_ok=True)
        self._printed = [base / "out", base / "err"]
        self.changes_file = base / "changes"
        (base / "tmp").mkdir(exist_ok=True)
        (base / "home").mkdir(exist_ok=True)
        around = {"TMPDIR": base / "tmp", "HOME": base / "home", "MPLCONFIGDIR": base / "home"}
        self._environment = {**map_strings(around), **(environment or {})}
        self._began = time.monotonic()
        self._ended: tuple[int, resource.struct_rusage, float] | None = None
        ready, tell = os.pipe()
        files = [os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for path in self._printed]
        sys.stdout.flush()
        sys.stderr.flush()
        campaign = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(ready)
                os.setsid()
                _end_with(campaign)
                os.chdir(place)
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(files[0], 1)
                os.dup2(files[1], 2)
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    signal.signal(number, signal.SIG_DFL)
                signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # as at the start of any Python
                signal.signal(signal.SIGINT, signal.default_int_handler)
                resource.setrlimit(resource.RLIMIT_AS, (MOST_ADDRESSES, MOST_ADDRESSES))
                if file_bytes is not None:
                    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
                os.environ.update(self._environment)
                if warm:
                    self._run_here(tell, end_at, prelude)
                else:
                    os.environ["PYTHONPATH"] = str(CHECKOUT)
                    os.execv(sys.executable, [sys.executable, *self.arguments])
            finally:
                os._exit(99)
        os.close(tell)
        for file in files:
            os.close(file)
        os.read(ready, 1)  # its signals are heard from here on, or it is another program
        os.close(ready)

    def _run_here(self, tell: int, end_at: int | None, prelude) -> None:
        out, err = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", 1, closefd=False)
        err.reconfigure(errors="backslashreplace")
        sys.stdout, sys.stderr = out, err
        tempfile.tempdir = None
        signals.start()
        os.write(tell, b"x")
        os.close(tell)
        if end_at is not None:
            _count_changes(self.changes_file, end_at)

        def work() -> None:
            if prelude is not None:
                prelude()
            if self.arguments[0] == "-m":
                sys.argv = [self.arguments[1], *self.arguments[2:]]
                runpy.run_module(self.arguments[1], run_name="__main__", alter_sys=True)
            else:
                sys.argv = list(self.arguments)
                sys.path.insert(0, str(Path(self.arguments[0]).parent))
                runpy.run_path(self.arguments[0], run_name="__main__")

        forks.finish(work)

    def lines(self) -> int:
        """How many lines it has printed."""
        return sum(path.read_bytes().count(b"\n") for path in self._printed[:1])

    def since(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._began

    def running(self) -> bool:
        if self._ended is None:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                seconds = time.monotonic() - self._began
                self._ended = (os.waitstatus_to_exitcode(status), usage, seconds)
        return self._ended is None

    def send(self, number: int) -> None:
        if self.running():
            os.kill(self.pid, number)

    def sleep(self, seconds: float) -> None:
        """Wait, but no longer than the command runs."""
        until = time.monotonic() + seconds
        while self.running() and (rest := until - time.monotonic()) > 0:
            time.sleep(min(rest, 0.005))

    def end(self, most: float = 240.0) -> Ended:
        """Wait for its end.

        It is killed, and its status is -9, when it has used `most` seconds of processor time, or
        none at all for `IDLE` seconds: a busy machine may be slow, but gives each process some.
        """
        used, since = -1.0, time.monotonic()
        while self.running():
            self.sleep(1.0)
            now = _processor_time(self.pid)
            if now != used:
                used, since = now, time.monotonic()
            if used > most or time.monotonic() - since > IDLE:
                self.send(signal.SIGKILL)
                self.sleep(60)
        assert self._ended is not None
        status, usage, seconds = self._ended
        out, err = (path.read_text(errors="backslashreplace") for path in self._printed)
        left = self._left()
        return Ended(
            status,
            out,
            err,
            seconds,
            usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss / 1024,
            left,
        )

    def _left(self) -> tuple[int, ...]:
        """Processes of the command that are still there some seconds after it; they are ended."""
        deadline = time.monotonic() + 60
        while (found := _session(self.pid)) and time.monotonic() < deadline:
            time.sleep(0.02)
        for number in found:
            os.kill(number, signal.SIGKILL)
        return found


def _processor_time(number: int) -> float:
    """Seconds that a process has used so far; -1 when it has ended."""
    try:
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return -1.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def map_strings(values: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}


def _end_with(parent: int) -> None:
    """Have this process killed when the campaign ends, however that ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(99)


def _session(number: int) -> tuple[int, ...]:
    """The living processes of a session."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdecimal():
            try:
                state, _, _, session = (
                    Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[:4]
                )
            except OSError:
                continue
            if int(session) == number and state not in "ZX":
                found.append(int(entry))
    return tuple(found)


def _count_changes(file: Path, end_at: int) -> None:
    """Kill this process at its change number `end_at` of a file; 0 only counts them."""
    count = 0
    me = os.getpid()

    def hook(event: str, arguments: tuple) -> None:
        nonlocal count
        if event not in GROWTH or os.getpid() != me:
            return
        if event == "open" and not (
            isinstance(arguments[2], int)
            and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            and arguments[0] not in (os.devnull, str(file))
        ):
            return
        count += 1
        if count == end_at:
            os.kill(me, signal.SIGKILL)

    sys.addaudithook(hook)
    atexit.register(lambda: file.write_text(str(count)))
