"""The end of a forked process, as that of an interpreter."""

import atexit
import os
import sys
import threading
from collections.abc import Callable
from typing import NoReturn


def finish(work: Callable[[], object]) -> NoReturn:
    """Do the work, then end this process as a Python that did it would.

    Args:
      work: returns the exit status or None; may raise SystemExit.
    """
    code: object = 1
    try:
        try:
            code = work()
        except SystemExit as error:
            code = error.code
        except BaseException:
            sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        code = 1
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    os._exit(int(code or 0) & 255)
