"""The one exception that is meant for the person at the keyboard."""


class InputError(ValueError):
    """Something the user can mend: a file, a folder, a config value or a flag.

    The message is one line that names the file or key, the value found, and the mend.
    `arm_jax.main` prints it alone, without a traceback, and exits with status 2; in a notebook
    it is an ordinary `ValueError`.
    """


class Diverged(RuntimeError):
    """A loss or gradient was not finite; the message names the step and the last checkpoint."""


class Stopped(RuntimeError):
    """The run was asked to stop, and saved its state first."""
