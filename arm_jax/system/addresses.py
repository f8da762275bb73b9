"""Addresses such as gs://bucket/run, told apart from paths of this machine, and taken apart.

Whoever accepts an address names the schemes that work there; everything else, paths included, is
answered by `names.local` or here, in one line and before anything is imported that takes long.
"""

import dataclasses
import re
from collections.abc import Sequence

from arm_jax.system.errors import InputError

# One letter would be a drive. With a single slash it is what pathlib leaves of an address.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(/?)(.*)", re.DOTALL)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_IN_BUCKETS = ("gs", "s3")
LONGEST = 900  # bytes of a key: the services take 1024, and a run adds its own names
_PATTERN = "*?[]#\\"  # which the libraries for buckets take for patterns


@dataclasses.dataclass(frozen=True)
class Address:
    """An address, taken apart.

    Attributes:
      scheme: in lower case, such as "gs".
      host: the bucket; for https, the machine.
      key: what stands behind it, without a slash at either end; "" for nothing.
    """

    scheme: str
    host: str
    key: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}" + (f"/{self.key}" if self.key else "")

    @property
    def name(self) -> str:
        """The last part: the name of the folder or file."""
        return self.key.rpartition("/")[2] or self.host

    def below(self, name: str) -> "Address":
        """The address of `name`, with forward slashes, below this one."""
        return dataclasses.replace(self, key=f"{self.key}/{name}" if self.key else name)


def is_address(text: object) -> bool:
    """Whether a person means an address by `text`, and no path: gs://b/r, also gs:/b/r.

    >>> is_address("gs://bucket/run"), is_address("runs/mine"), is_address("C:/runs")
    (True, False, False)
    """
    return _SCHEME.match(str(text)) is not None


def parse(text: object, schemes: Sequence[str], title: str = "") -> Address:
    """Take an address apart.

    Args:
      text: for which `is_address` holds.
      schemes: that work here, such as ("gs",); none where only folders of this machine do.
      title: what holds the address, such as "--workdir", for the message.

    Raises:
      InputError: the scheme is another one, or the address names no bucket, no valid one, or a key
        that not every service and library takes.
    """
    start = f"{title} {text}".strip()
    match = _SCHEME.match(str(text))
    if match is None:
        raise InputError(f"{start} is no address; write {_listed(schemes)}")
    scheme, slash, rest = match[1].lower(), match[2], match[3]
    if not schemes:
        raise InputError(
            f"{start} is an address, and only folders of this machine can be used; mount it, and"
            " give its folder"
        )
    if scheme not in schemes:
        raise InputError(
            f"{start} has the scheme {scheme}://, which does not work here; give"
            f" {_listed(schemes)}, or a folder of this machine, where other storage can be mounted"
        )
    if not slash:
        raise InputError(f"{start} has one slash where an address has two; write {scheme}://")
    host, _, key = rest.partition("/")
    key = key.rstrip("/")
    if scheme in _IN_BUCKETS and not _BUCKET.fullmatch(host):
        raise InputError(
            f"{start} names the bucket {host!r}, but a bucket's name has 3 letters or more, all of"
            " them small letters, digits, '-', '_' or '.'; correct it"
        )
    reason = _wrong(key) if scheme in _IN_BUCKETS else None if host else "names no machine"
    if reason:
        raise InputError(f"{start} {reason}; correct it")
    return Address(scheme, host, key)


def _wrong(key: str) -> str | None:
    """What keeps a key from working everywhere, None for nothing."""
    if len(key.encode("utf-8", "surrogatepass")) > LONGEST:
        return f"is longer than {LONGEST} bytes"
    if any(c in _PATTERN or not c.isprintable() for c in key):
        return f"holds one of {' '.join(_PATTERN)} or a character that cannot be printed"
    if key and any(part in ("", ".", "..") for part in key.split("/")):
        return "has an empty part, '.' or '..' between its slashes"
    return None


def _listed(schemes: Sequence[str]) -> str:
    return " or ".join(f"{scheme}://..." for scheme in schemes)
