"""Repositories of the Hugging Face Hub: names, whether one may write there, and their files.

No JAX, so that `scripts/push.py` refuses within a second.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from arm_jax.system.errors import InputError, first_line
from arm_jax.weights import weight_files
from arm_jax.weights.weight_files import HUB

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.\-]*")


def check(repository: str, license: str) -> None:
    """Raise InputError for a name of a repository or a license that cannot be one."""
    if not _REPOSITORY.fullmatch(repository):
        raise InputError(f"--to {repository}: give the repository as OWNER/NAME")
    if not _LICENSE.fullmatch(license):
        raise InputError(
            f"--license {license}: give an identifier of the Hub, such as apache-2.0 or"
            " cc-by-nc-4.0, or other"
        )


def reached(repository: str) -> Any:
    """The Hub's client, once it has answered. Raises InputError as `push`, within seconds."""
    from huggingface_hub import HfApi, get_token

    if not get_token():
        raise InputError(
            f"--to {repository}: there is no token of the Hub; make one that may write, then set"
            " HF_TOKEN or run `hf auth login`"
        )
    api = HfApi(endpoint=_endpoint())
    with answered(repository):
        api.whoami()
    return api


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT")


def downloaded(address: str, names: Sequence[str]) -> Path:
    """The folder of a repository's files, from the Hub or, without a network, from its cache."""
    from huggingface_hub import snapshot_download

    repository, _, revision = address.removeprefix(HUB).partition("@")
    if not _REPOSITORY.fullmatch(repository):
        raise InputError(f"{address}: write {HUB}OWNER/NAME or {HUB}OWNER/NAME@REVISION")
    with answered(address):
        return Path(
            snapshot_download(
                repository,
                revision=revision or None,
                allow_patterns=list(names),
                endpoint=_endpoint(),
            )
        )


@contextlib.contextmanager
def answered(what: str) -> Iterator[None]:
    """Raise InputError for what the Hub refuses, or where it does not answer."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        with weight_files.quiet_client():
            yield
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        reasons = {
            401: "the Hub knows no such repository, or not the token; check both",
            403: "the token may not do that; make one that may, and set HF_TOKEN",
            404: "the Hub knows no such repository or revision, or it is private",
        }
        raise InputError(f"{what}: {reasons.get(status or 0, first_line(error))}") from None
    # The client raises its own errors, its HTTP library's and the system's.
    except Exception as error:
        raise InputError(f"{what}: the Hub cannot be reached ({first_line(error)})") from None
