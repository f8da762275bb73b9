"""What lies at an address: its files, and their bytes from any position on.

Buckets go through fsspec, whose drivers are extras of this package; https:// goes through requests,
since a server may ignore ranges, which then must not be taken for another part of the file.
"""

import datetime
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Protocol
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from arm_jax.system import addresses, buckets, names
from arm_jax.system.errors import InputError
from arm_jax.system.staging.failures import NO_CREDENTIALS, Refused, attempt, lasting

BUCKETS = ("gs", "s3")
WEB = ("https", "http")
SCHEMES = (*BUCKETS, *WEB)
SUMS = "SHA256SUMS"  # lists the files of a folder behind https, as `sha256sum` writes it
CHUNK = 8 << 20  # bytes asked for at a time
_CONNECT, _READ = 15.0, 60.0  # seconds without a connection, and without a byte
_SUMS_BYTES = 64 << 20
_LINE = re.compile(r"\\?([0-9a-fA-F]{64}) [ *](.+)")


@dataclass(frozen=True)
class Remote:
    """A file of a store.

    Attributes:
      name: below the address, with forward slashes; of a single file its own name.
      address: of the file, as its store reads it.
      size: in bytes; None where only `Store.sized` finds it.
      identity: other content has another one.
      digest: kind and digits of a checksum of the content, such as ("sha256", "9f86..."); or ().
      ranges: whether the store can begin anywhere.
    """

    name: str
    address: str = field(repr=False)
    size: int | None
    identity: str
    digest: tuple[str, ...] = ()
    ranges: bool = True

    @property
    def stamp(self) -> int:
        """A time of change, in ns, equal on every machine: it stands for the identity."""
        number = int.from_bytes(hashlib.blake2b(self.identity.encode(), digest_size=6).digest())
        return (946_684_800 + number % 630_720_000) * 10**9  # between 2000 and 2020


class Store(Protocol):
    def find(self, single: bool) -> tuple[bool, list[Remote]]:
        """Whether the address is a single file, and its files, hidden ones left out.

        If only a single file is wanted, the files of a folder need not be looked for.

        Raises what `failures` sorts.
        """
        ...

    def sized(self, file: Remote) -> Remote:
        """The file with its size."""
        ...

    def pieces(self, file: Remote, start: int) -> Iterator[bytes]:
        """The bytes of a file from `start` on. Raises Refused if it has changed."""
        ...


def open_store(address: str, title: str = "") -> Store:
    """The store of an address.

    Raises InputError for an address that is not valid or of another kind, and where the package for
    it is not installed.
    """
    parsed = addresses.parse(address, SCHEMES, title)
    if parsed.scheme in WEB:
        return Web(address)
    return Bucket(parsed)


def shown(address: str) -> str:
    """An address as messages show it: without the secrets that it may hold."""
    if not address.lower().startswith(WEB):
        return address
    parts = urlsplit(address)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _s3(anonymous: bool) -> Any:
    """The file system of s3://, of a public bucket if `anonymous`.

    Raises InputError where s3fs is not installed.
    """
    try:
        import s3fs
    except ImportError as error:
        raise InputError(
            f"s3:// needs the package {error.name or 's3fs'}, which is not installed;"
            " pip install 'arm_jax[s3]'"
        ) from error
    return s3fs.S3FileSystem(
        anon=anonymous,
        use_listings_cache=False,
        skip_instance_cache=True,
        config_kwargs={"connect_timeout": _CONNECT, "read_timeout": _READ},
    )


class Bucket:
    """Objects of a bucket below a key, or one object."""

    def __init__(self, address: addresses.Address, *, anonymous: bool = False):
        self._address, self._anonymous = address, anonymous
        self._fs = buckets.filesystem() if address.scheme == "gs" else _s3(anonymous)

    def find(self, single: bool) -> tuple[bool, list[Remote]]:
        try:
            return self._find(single)
        except Exception as error:
            # A public bucket needs none; the driver for gs:// finds that out by itself.
            if self._anonymous or lasting(error) != NO_CREDENTIALS:
                raise
            self._fs, self._anonymous = _s3(True), True
            return self._find(single)

    def _find(self, single: bool) -> tuple[bool, list[Remote]]:
        key, where = self._address.key, f"{self._address.host}/{self._address.key}".rstrip("/")
        if single:
            return True, [self._remote(self._address.name, where, self._fs.info(where))]
        found = self._fs.find(where, detail=True)
        if not found:
            raise FileNotFoundError(where)
        if list(found) == [where] and found[where].get("type") == "file" and key:
            return True, [self._remote(self._address.name, where, found[where])]
        files = []
        for path, info in sorted(found.items()):
            name = path.removeprefix(f"{where}/")
            # A folder that a web page made is an object of no bytes whose name ends in a slash.
            if info.get("type") == "directory" or name.endswith("/") or not name or name == path:
                continue
            if not _is_hidden(name):
                files.append(self._remote(name, path, info))
        return False, files

    def _remote(self, name: str, path: str, info: Mapping[str, Any]) -> Remote:
        names.inside(name, str(self._address))
        if info.get("type") == "directory":
            raise IsADirectoryError(self._address.key)
        etag = str(info.get("generation") or info.get("etag") or info.get("ETag") or "")
        changed = info.get("mtime") or info.get("updated") or info.get("LastModified") or ""
        if isinstance(changed, datetime.datetime):
            changed = changed.isoformat()
        digest: tuple[str, ...] = ()
        if md5 := info.get("md5Hash"):
            import base64

            digest = ("md5", base64.b64decode(md5).hex())
        size = int(info["size"])
        return Remote(name, path, size, f"{size} {etag or changed}", digest)

    def sized(self, file: Remote) -> Remote:
        return file

    def pieces(self, file: Remote, start: int) -> Iterator[bytes]:
        assert file.size is not None
        for begin in range(start, file.size, CHUNK):
            end = min(begin + CHUNK, file.size)
            piece = self._fs.cat_file(file.address, start=begin, end=end)
            if len(piece) != end - begin:
                raise OSError(f"{len(piece):,} bytes came of {end - begin:,}")
            yield piece
        if file.size > CHUNK:  # the pieces of two versions would make a third file
            now = self._remote(file.name, file.address, self._fs.info(file.address))
            if now.identity != file.identity:
                raise Refused("it was changed while it was read")


class Web:
    """A file of a web server, or a folder of one that lists its files in SHA256SUMS."""

    def __init__(self, address: str):
        import requests

        self._address = address
        self._session = requests.Session()
        self._session.headers["Accept-Encoding"] = "identity"  # else ranges are of other bytes
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=32)
        for scheme in WEB:
            self._session.mount(f"{scheme}://", adapter)

    def _get(self, address: str, **headers: str) -> Any:
        answer = self._session.get(address, stream=True, timeout=(_CONNECT, _READ), headers=headers)
        if answer.status_code != 416:
            try:
                answer.raise_for_status()
            except Exception:
                answer.close()
                raise
        return answer

    def _below(self, name: str) -> str:
        parts = urlsplit(self._address)
        path = f"{parts.path.rstrip('/')}/{quote(name)}"
        return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))

    def find(self, single: bool) -> tuple[bool, list[Remote]]:
        path = unquote(urlsplit(self._address).path)
        name = PurePosixPath(path).name
        if single or (not path.endswith("/") and PurePosixPath(name).suffix):
            names.inside(name, shown(self._address))
            return True, [self._look(Remote(name, self._address, None, ""))]
        return False, self._listed()

    def _listed(self) -> list[Remote]:
        """The files that SHA256SUMS lists."""
        address = self._below(SUMS)
        try:
            with self._get(address) as answer:
                data = answer.raw.read(_SUMS_BYTES + 1)
                length = answer.headers.get("Content-Length", "")
        except Exception as error:
            if getattr(getattr(error, "response", None), "status_code", None) in (404, 410):
                raise InputError(
                    f"{shown(self._address)}: a web server lists no folder; put a file {SUMS} there"
                    " (find . -type f ! -name SHA256SUMS -exec sha256sum {} + > SHA256SUMS), or"
                    " give the address of a zip"
                ) from None
            raise
        if length.isdigit() and len(data) < int(length) <= _SUMS_BYTES:
            raise OSError(f"{len(data):,} bytes came of {length}")
        files = {}
        for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
            match = _LINE.fullmatch(line)
            if match is None or line.startswith("\\") or len(data) > _SUMS_BYTES:
                raise InputError(
                    f"{shown(address)}, line {number}: is no line of sha256sum; make it again by"
                    " sha256sum, of files whose names have no line breaks"
                )
            name = names.inside(match[2].removeprefix("./"), shown(address))
            sha = match[1].lower()
            if not _is_hidden(name) and name != SUMS:
                files[name] = Remote(name, self._below(name), None, sha, ("sha256", sha))
        return [files[name] for name in sorted(files)]

    def sized(self, file: Remote) -> Remote:
        return file if file.size is not None else self._look(file)

    def _look(self, file: Remote) -> Remote:
        """Size, identity and whether ranges work, from the first byte alone."""
        with self._get(file.address, Range="bytes=0-0") as answer:
            total = answer.headers.get("Content-Range", "").rpartition("/")[2]
            if answer.status_code == 206:
                size = total
            elif answer.status_code == 416:  # of an empty file
                size = total or "0"
            else:
                size = answer.headers.get("Content-Length", "")
            if not size.isdigit() or answer.headers.get("Content-Encoding", "identity") not in (
                "identity",
                "",
            ):
                raise Refused("the server does not tell how large the file is")
            identity = file.identity or f"{size} {_version(answer.headers)}"
            ranges = answer.status_code != 200
        return Remote(file.name, file.address, int(size), identity, file.digest, ranges)

    def pieces(self, file: Remote, start: int) -> Iterator[bytes]:
        if start == file.size:
            return
        headers = {"Range": f"bytes={start}-"} if start else {}
        with self._get(file.address, **headers) as answer:
            if start and answer.status_code != 206:
                raise Refused("the server no longer sends parts of it")
            version = f"{file.size} {_version(answer.headers)}"
            if not file.digest and version != file.identity:
                raise Refused("it was changed while it was read")
            yield from answer.iter_content(1 << 20)


def _version(headers: Mapping[str, str]) -> str:
    """The ETag, or else the time of change."""
    return headers.get("ETag") or headers.get("Last-Modified") or ""


def find(
    address: str, title: str = "", *, single: bool = False
) -> tuple[Store, bool, list[Remote]]:
    """The store of an address, whether this is a single file (it must be, if `single`), its files.

    Raises InputError for what is denied, absent, unreachable or empty, and for two names of which
    one would have to be a file and a folder.
    """
    store = open_store(address, title)
    start = f"{title} {shown(address)}".strip()
    is_single, files = attempt(lambda: store.find(single), start)
    if not files:
        raise InputError(f"{start}: holds no files; correct the address")
    folders = {os.path.dirname(file.name) for file in files}
    folders |= {str(above) for one in folders for above in PurePosixPath(one).parents}
    for file in files:
        if file.name in folders:
            raise InputError(
                f"{start}: {file.name} is a file and a folder there, which no disk can hold; rename"
                " one of them"
            )
    return store, is_single, files
