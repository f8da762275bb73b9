"""The exceptions that are meant for the person at the keyboard."""

import errno
import os
import signal


def printable(text: str) -> str:
    """The text with line breaks, and bytes of a file name that are no UTF-8, as escapes."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class InputError(ValueError):
    """Something the user can fix: a file, a folder, a config value or a flag.

    The message is one line that names the file or key, the value found, and the remedy.
    `arm_jax.main` prints it alone, without a traceback, and exits with status 2; in a notebook
    it is an ordinary `ValueError`.

    File names may hold line breaks, and bytes that are no UTF-8; both are shown as escapes, so
    that every message is one line that every terminal and file takes.
    """

    def __init__(self, message: str):
        super().__init__(printable(message))


class Diverged(RuntimeError):
    """A loss or gradient was not finite; the message names the step and the last checkpoint."""


class Stopped(RuntimeError):
    """The run was asked to stop, and saved its state first.

    Args:
      message: where it stopped.
      number: of the signal.
    """

    def __init__(self, message: str, number: int = signal.SIGTERM):
        super().__init__(message)
        self.number = number

    @property
    def status(self) -> int:
        """The exit status, as a shell gives it."""
        return 128 + self.number


def first_line(error: BaseException, longest: int = 200) -> str:
    """What an error of another library says, in one line: the system's own reason if it has one.

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
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EACCES):
        if os.strerror(code) in text:
            return os.strerror(code)
    line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    line = line or type(error).__name__
    return line if len(line) <= longest else f"{line[:longest]}..."
