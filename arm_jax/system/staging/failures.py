"""What a server or a network refuses: tried again if it may pass, told in one line if not."""

import random
import re
import time
from collections.abc import Callable
from typing import TypeVar

from arm_jax.system.errors import InputError, first_line

PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)  # seconds before each further attempt
_DENIED = "access is denied"
_ABSENT = "there is nothing"
NO_CREDENTIALS = "there are no credentials"
FOLDER = "is a folder, and one file is wanted"
# The libraries' own errors, by the names of their classes: none is imported for this.
_BY_NAME = {
    "NoCredentialsError": NO_CREDENTIALS,
    "PartialCredentialsError": "the credentials are incomplete",
    "DefaultCredentialsError": NO_CREDENTIALS,
    "TokenRetrievalError": "the credentials have expired",
    "RefreshError": "the credentials have expired or are not valid",
    "InvalidSchema": "no such kind of address is known",
    "InvalidURL": "the address is not valid",
    "ParamValidationError": "the address is not valid",
    "TooManyRedirects": "the server leads in a circle",
}
_BY_STATUS = {
    400: "the server does not understand the request",
    401: f"{_DENIED}: there are no valid credentials",
    403: _DENIED,
    404: _ABSENT,
    410: _ABSENT,
    451: _DENIED,
}
Result = TypeVar("Result")


class Refused(Exception):
    """A store answered, and will answer the same again; the message says what, without the name."""


class Unreachable(InputError):
    """Nothing answered, or only by errors that should have passed, in all attempts."""


def lasting(error: BaseException) -> str | None:
    """Why a further attempt would fail as well, as part of a sentence; None if it may succeed."""
    if isinstance(error, Refused):
        return str(error)
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    for one in chain:
        status = _status(one)
        if status in _BY_STATUS:
            return _BY_STATUS[status]
        if type(one).__name__ in _BY_NAME:
            return _BY_NAME[type(one).__name__]
        if isinstance(one, FileNotFoundError):
            return _ABSENT
        if isinstance(one, IsADirectoryError):
            return FOLDER
        if isinstance(one, PermissionError) or str(one).startswith("Forbidden"):
            return _DENIED
    return None


def _status(error: BaseException) -> int | None:
    """The HTTP status in an error of requests, aiohttp, gcsfs or botocore."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        code = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        code = getattr(response, "status_code", None)
    for found in (code, getattr(error, "code", None), getattr(error, "status", None)):
        if isinstance(found, int) or (isinstance(found, str) and found.isdigit()):
            return int(found)
    return None


def attempt(action: Callable[[], Result], title: str) -> Result:
    """What `action` returns, tried again after each error that may pass.

    Args:
      action: raises whatever a library raises.
      title: what is asked for, for the message.

    Raises:
      InputError: it was refused; `Unreachable` if all attempts failed otherwise.
    """
    for pause in (*PAUSES, None):
        try:
            return action()
        except InputError:
            raise
        except Exception as error:
            refuse_lasting(error, title)
            if pause is None:
                raise unreachable(error, title) from error
            wait(pause)
    raise AssertionError("the last attempt returns or raises")


def refuse_lasting(error: BaseException, title: str) -> None:
    """Raise InputError for an error that will not pass."""
    reason = lasting(error)
    if reason is not None:
        told = f"{title}: {reason}"
        if reason.startswith((_ABSENT, FOLDER, "the address")):
            raise InputError(f"{told}; correct the address") from error
        if reason.startswith((_DENIED, "there are no", "the cred")):
            raise InputError(
                f"{told}; log in, or ask the owner for the right to list and read it"
            ) from error
        raise InputError(f"{told}; correct it there, or fetch it in another way") from error


def unreachable(error: BaseException, title: str) -> Unreachable:
    """The error after the last attempt."""
    status = _status(error)
    # The address in a library's message may hold a signature.
    reason = re.sub(r"\?\S*", "", first_line(error)) if status is None else f"status {status}"
    return Unreachable(
        f"{title}: cannot be read ({reason}), in {len(PAUSES) + 1} attempts; see that"
        " this machine has a network and the server is up, and run the same command again"
    )


def wait(pause: float) -> None:
    """Sleep, not to the same moment as the other machines of a run."""
    time.sleep(pause * random.uniform(0.75, 1.25))
