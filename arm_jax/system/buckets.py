"""Objects of a Google Cloud Storage bucket, by gcsfs, which the extra `arm_jax[gcs]` installs.

An object is written whole or not at all, by one request; it cannot be appended to or renamed. A
request that fails for a reason that may pass, as a 503 or a lost connection, is made again by
gcsfs, six times within a minute. What fails for good raises `BucketError`, whose message names the
address.

Everything goes through one file system object, which Orbax (by `etils.epath`) uses too: it keeps no
listings, since TensorStore writes beside it.
"""

import base64
import binascii
import contextlib
import dataclasses
import functools
import logging
import os
from collections.abc import Iterator
from typing import Any

from arm_jax.system.addresses import Address
from arm_jax.system.errors import InputError, first_line

EXTRA = "gcs"
# Seconds to reach the service, and between two parts of its answer.
CONNECT, ANSWER = 10.0, 30.0


class BucketError(InputError):
    """The bucket denied or did not answer a request, however often it was made."""


class Changed(Exception):
    """The object is of another generation than the request was for."""


@dataclasses.dataclass(frozen=True)
class Object:
    """An object as a listing has it.

    Attributes:
      size: in bytes.
      md5: of its content, in hexadecimal; "" where the service has none, as of composed objects.
      generation: a number that every write of the object changes.
    """

    size: int
    md5: str
    generation: int


@functools.cache
def filesystem() -> Any:
    """gcsfs's file system, the same that `etils.epath` uses.

    With `STORAGE_EMULATOR_HOST` set, that server is used, without credentials.

    Raises InputError where gcsfs is not installed or no credentials can be used.
    """
    emulated = bool(os.environ.get("STORAGE_EMULATOR_HOST"))
    if emulated:  # which has no gRPC, by which gcsfs would ask for the kind of the bucket
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    try:
        import aiohttp
        import fsspec
        import gcsfs  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"gs:// needs the package {error.name or 'gcsfs'}, which is not installed;"
            f" pip install 'arm_jax[{EXTRA}]'"
        ) from error
    # Its own tracebacks would come before the one line that is raised here.
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
    settings: dict[str, Any] = {
        "use_listings_cache": False,
        "requests_timeout": aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT, sock_read=ANSWER
        ),
    }
    if emulated:
        settings["token"] = "anon"
    for name in ("gs", "gcs"):
        fsspec.config.conf.setdefault(name, {}).update(settings)
    with explained("gs://"):
        return fsspec.filesystem("gcs", finalize_on_close=True)


@contextlib.contextmanager
def explained(what: object) -> Iterator[None]:
    """Raise BucketError for what gcsfs and its libraries raise, naming `what`.

    FileNotFoundError and `Changed` go through.
    """
    try:
        yield
    except (InputError, FileNotFoundError, Changed):
        raise
    except FileExistsError as error:
        raise Changed(str(what)) from error
    except Exception as error:
        raise BucketError(f"{what}: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """Why a request failed and what helps, in a few words."""
    text = f"{error} {error.__cause__ or ''}"
    code = str(getattr(error, "code", ""))
    if "Forbidden" in text or code == "403" or "PERMISSION_DENIED" in text:
        return (
            "the bucket denies access (403); give the account the role Storage Object User and"
            " the permission storage.buckets.get"
        )
    if code == "401" or "Anonymous caller" in text or "UNAUTHENTICATED" in text:
        return "no credentials that the bucket accepts (401); gcloud auth application-default login"
    if isinstance(error, FileNotFoundError) or code == "404" or "NOT_FOUND" in text:
        return (
            "there is no such bucket any more, or what was written there is gone (404); make it"
            " again, or choose another"
        )
    return f"the bucket does not answer ({first_line(error)}); check the network"


def check(address: Address) -> None:
    """Raise InputError where the bucket of an address is not there, or denies to be listed."""
    try:
        _list(address, recursive=False, most=1)
    except FileNotFoundError:
        raise InputError(
            f"{address}: there is no bucket {address.host}; make it, or correct its name"
        ) from None


def listing(folder: Address, *, recursive: bool = False, most: int = 0) -> dict[str, Object]:
    """The objects in a folder, or also below it, by their names relative to it.

    `most` limits their number; 0 for all. Raises BucketError.
    """
    try:
        return _list(folder, recursive=recursive, most=most)
    except FileNotFoundError:
        raise BucketError(f"{folder}: there is no bucket {folder.host} any more") from None


def _list(folder: Address, *, recursive: bool, most: int = 0) -> dict[str, Object]:
    prefix = f"{folder.key}/" if folder.key else ""
    query: dict[str, Any] = {"prefix": prefix}
    if not recursive:
        query["delimiter"] = "/"
    if most:
        query["maxResults"] = most
    found = {}
    while True:
        with explained(folder):
            page = filesystem().call("GET", "b/{}/o", folder.host, json_out=True, **query)
        for item in page.get("items", ()):
            name = item["name"][len(prefix) :]
            if name and not name.endswith("/"):  # a folder that a browser made
                found[name] = _object(item)
        query["pageToken"] = page.get("nextPageToken")
        if most or not query["pageToken"]:
            return found


def find(address: Address) -> Object | None:
    """One object; None where there is none. Raises BucketError."""
    try:
        with explained(address):
            call = filesystem().call
            return _object(call("GET", "b/{}/o/{}", address.host, address.key, json_out=True))
    except FileNotFoundError:
        return None


def read(address: Address) -> bytes:
    """All of an object. Raises FileNotFoundError and BucketError."""
    with explained(address):
        call = filesystem().call
        _, content = call("GET", "b/{}/o/{}", address.host, address.key, alt="media")
    return content


def write(address: Address, content: bytes, *, generation: int | None = None) -> Object:
    """Write an object whole.

    Args:
      address: of the object.
      content: all of it.
      generation: that the object must have now, 0 for none at all; None replaces any.

    Raises:
      Changed: the object has another generation.
      BucketError: it cannot be written.
    """
    query: dict[str, Any] = {"uploadType": "media", "name": address.key}
    if generation is not None:
        query["ifGenerationMatch"] = str(generation)
    fs = filesystem()
    path = f"{fs.base.replace('/storage/v1/', '/upload/storage/v1/')}b/{address.host}/o"
    try:
        with explained(address):
            return _object(fs.call("POST", path, data=content, json_out=True, **query))
    except FileNotFoundError:
        raise BucketError(f"{address}: there is no bucket {address.host}") from None


def remove(address: Address, *, generation: int | None = None) -> None:
    """Remove an object, if it is there.

    Raises Changed where it is not of the `generation` given, and BucketError.
    """
    query = {} if generation is None else {"ifGenerationMatch": str(generation)}
    with contextlib.suppress(FileNotFoundError), explained(address):
        filesystem().call("DELETE", "b/{}/o/{}", address.host, address.key, **query)


def copy(source: Address, target: Address) -> None:
    """Copy an object within the service; the content does not come here.

    Raises FileNotFoundError and BucketError.
    """
    query: dict[str, Any] = {}
    while True:  # a large object takes several requests
        with explained(source):
            answer = filesystem().call(
                "POST",
                "b/{}/o/{}/rewriteTo/b/{}/o/{}",
                source.host,
                source.key,
                target.host,
                target.key,
                json_out=True,
                **query,
            )
        if answer.get("done", True):
            return
        query["rewriteToken"] = answer["rewriteToken"]


def _object(item: dict[str, Any]) -> Object:
    """Of the service's description of an object."""
    try:
        md5 = base64.b64decode(item.get("md5Hash", "")).hex()
    except (binascii.Error, ValueError):
        md5 = ""
    return Object(int(item.get("size", 0)), md5, int(item.get("generation") or 0))


@dataclasses.dataclass(frozen=True)
class Place:
    """What `pathlib.Path` is on this machine, as far as the folder of checkpoints needs it."""

    address: Address

    def __str__(self) -> str:
        return str(self.address)

    def __truediv__(self, name: str) -> "Place":
        return Place(self.address.below(name))

    @property
    def name(self) -> str:
        return self.address.name

    @property
    def parent(self) -> "Place":
        return Place(dataclasses.replace(self.address, key=self.address.key.rpartition("/")[0]))

    def exists(self) -> bool:
        """Whether there is an object of this name. Raises BucketError, as all that follow."""
        return find(self.address) is not None

    def is_dir(self) -> bool:
        """Whether anything lies below."""
        return bool(listing(self.address, recursive=True, most=1))

    def read_bytes(self) -> bytes:
        """Raises FileNotFoundError where there is none."""
        return read(self.address)

    def files(self) -> dict[str, Object]:
        """All objects below, by their names from here on."""
        return listing(self.address, recursive=True)
