"""The one exception that is meant for the person at the keyboard."""


class InputError(ValueError):
    """Something the user can mend: a file, a folder, a config value or a flag.

    The message is one line that names the file or key, the value found, and the mend.
    `arm_jax.main` prints it alone, without a traceback, and exits with status 2; in a notebook
    it is an ordinary `ValueError`.

    File names may hold line breaks, and bytes that are no UTF-8; both are shown as escapes, so
    that every message is one line that every terminal and file takes.
    """

    def __init__(self, message: str):
        text = message.encode("utf-8", "backslashreplace").decode()
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in text))


class Diverged(RuntimeError):
    """A loss or gradient was not finite; the message names the step and the last checkpoint."""


class Stopped(RuntimeError):
    """The run was asked to stop, and saved its state first."""
