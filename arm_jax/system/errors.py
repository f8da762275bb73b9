"""The exceptions that are meant for the person at the keyboard."""

import errno
import os
import select
import signal

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


# Folders of this machine that stand for an address, see `run.mirror`: a person reads the address.
STAND_INS: dict[str, str] = {}


def named(text: str) -> str:
    """The text with the addresses that folders stand for in their place."""
    for folder, address in STAND_INS.items():
        text = text.replace(folder, address)
    return text


def printable(text: str) -> str:
    """The text with line breaks, and bytes of a file name that are no UTF-8, as escapes.

    A folder that stands for an address appears as the address.
    """
    text = named(text)
    text = text.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


LONGEST = 950  # characters of a message, which a value may have thousands of


def shortened(text: str) -> str:
    """The text, of more than `LONGEST` without its middle: key and remedy are at the ends."""
    if len(text) <= LONGEST:
        return text
    half = (LONGEST - 5) // 2
    return f"{text[:half]} ... {text[-half:]}"


class InputError(ValueError):
    """Something the user can fix: a file, a folder, a config value or a flag.

    The message is one line that names the file or key, the value found, and the remedy.
    `arm_jax.main` prints it alone, without a traceback, and exits with status 2; in a notebook
    it is an ordinary `ValueError`.

    File names may hold line breaks, and bytes that are no UTF-8; both are shown as escapes, so
    that every message is one line that every terminal and file takes. A message of thousands of
    characters, as a long value makes it, loses its middle.
    """

    def __init__(self, message: str):
        super().__init__(shortened(printable(message)))


def of_system(error: BaseException) -> str | None:
    """One line for what the system refused, a path or room on a disk, or what JAX refuses of the
    environment; None for other errors.

    The last resort: whoever opens a file knows better what it is and what to do.
    """
    if not isinstance(error, OSError):
        return _of_jax(error)
    if not error.strerror:
        return None
    if error.filename is not None:
        name = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else error.filename
        return shortened(printable(f"{name}: {error.strerror}; correct the path or what is there"))
    if error.errno in _DISK:
        return f"{error.strerror}: a file cannot be written; free some space or choose another disk"
    if isinstance(error, FileNotFoundError):  # of os.getcwd(), which names none
        return "the current folder is not there any more; change to another one"
    if isinstance(error, BrokenPipeError) and _nobody_reads():
        return f"{error.strerror}: nobody reads the output any more; write it to a file"
    return None


def _of_jax(error: BaseException) -> str | None:
    """What JAX refuses of its environment: JAX_... variables while it is imported, and devices that
    are not there when they are first asked for."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = "" if trace is None else trace.tb_frame.f_globals.get("__name__")
    if where == "jax._src.config":
        return shortened(printable(f"{error}; correct or unset this environment variable"))
    if where != "jax._src.xla_bridge":
        return None
    asked = os.environ.get("JAX_PLATFORMS")
    reason = str(error).partition(" (set JAX_PLATFORMS")[0] or "JAX finds no such device"
    remedy = (
        f"JAX_PLATFORMS={asked} asks for it: unset that for the devices that there are"
        if asked
        else "correct JAX's environment variables"
    )
    return shortened(printable(f"{reason}; {remedy}"))


def _nobody_reads() -> bool:
    """Whether standard output is a pipe that has lost its reader."""
    if not hasattr(select, "poll"):
        return False
    found = select.poll()
    found.register(1, select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in found.poll(0))


class Diverged(RuntimeError):
    """A loss or gradient was not finite; the message names the step and the last checkpoint."""


class Stopped(RuntimeError):
    """The run was asked to stop, and saved its state first.

    Args:
      message: where it stopped.
      number: of the signal.
    """

    def __init__(self, message: str, number: int = signal.SIGTERM):
        super().__init__(named(message))
        self.number = number

    @property
    def status(self) -> int:
        """The exit status, as a shell gives it."""
        return 128 + self.number


def first_line(error: BaseException, longest: int = 200) -> str:
    """The message of another library's error, in one line: the system's own reason if it has one.

    Libraries wrap an `OSError` in others, or quote what the system said in the middle of a text of
    many lines; that reason is what a person can act on.
    """
    seen: list[BaseException] = []
    waiting = [error]
    while waiting:
        one = waiting.pop(0)
        if one in seen:
            continue
        seen.append(one)
        waiting += [e for e in (one.__cause__, one.__context__) if e is not None]
        waiting += getattr(one, "exceptions", ())
    for one in seen:
        if isinstance(one, OSError) and one.strerror:
            return one.strerror
    text = " ".join(str(one) for one in seen)
    for code in (*_DISK, errno.EACCES):
        if os.strerror(code) in text:
            return os.strerror(code)
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    line = line or type(error).__name__
    return line if len(line) <= longest else f"{line[:longest]}..."
