"""A web server in this process, whose answers a test may spoil."""

import contextlib
import hashlib
import http.server
import re
import socket
import threading
import urllib.parse
from collections.abc import Callable, Iterator


class Server:
    """Serves `files` by path, without the leading slash.

    Attributes:
      files: path -> contents.
      ranges: whether ranges are answered by parts.
      asked: (path, first byte) of every request, in order.
      spoil: called with path, first byte and number of the request, from 0; returns None for an
        answer as it should be, a status to answer with, or "cut" to close in the middle.
    """

    def __init__(self, port: int):
        self.address = f"http://127.0.0.1:{port}"
        self.files: dict[str, bytes] = {}
        self.ranges = True
        self.asked: list[tuple[str, int]] = []
        self.spoil: Callable[[str, int, int], int | str | None] = lambda path, first, number: None
        self.blocked: threading.Event | None = None
        self.lock = threading.Lock()

    def sums(self, folder: str) -> None:
        """Write SHA256SUMS of a folder's files."""
        lines = [
            f"{hashlib.sha256(data).hexdigest()}  ./{path.removeprefix(f'{folder}/')}\n"
            for path, data in self.files.items()
            if path.startswith(f"{folder}/")
        ]
        self.files[f"{folder}/SHA256SUMS"] = "".join(lines).encode()

    def bytes_asked(self, path: str) -> list[int]:
        """The first bytes of the requests for a file, but those that only look at it."""
        return [first for asked, first in self.asked if asked == path]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Server

    def do_GET(self) -> None:
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path).lstrip("/")
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        looks = match is not None and match[2] == "0"
        first = int(match[1]) if match and self.state.ranges else 0
        with self.state.lock:
            number = len(self.state.asked)
            self.state.asked.append((path, -1 if looks else first))
        spoiled = self.state.spoil(path, -1 if looks else first, number)
        data = self.state.files.get(path)
        if isinstance(spoiled, int) or data is None:
            self._head(spoiled if isinstance(spoiled, int) else 404, 0)
            return
        whole = len(data)
        parts = match is not None and self.state.ranges
        if parts and first >= whole:
            self._head(416, 0, {"Content-Range": f"bytes */{whole}"})
            return
        part = data[first : first + 1] if looks and parts else data[first:]
        headers = {"ETag": f'"{hashlib.md5(data).hexdigest()}"'}
        if parts:
            headers["Content-Range"] = f"bytes {first}-{first + len(part) - 1}/{whole}"
        self._head(206 if parts else 200, len(part), headers)
        with contextlib.suppress(ConnectionError):
            if spoiled == "cut":
                self.wfile.write(part[: len(part) // 2])
                self.wfile.flush()
                if self.state.blocked is not None:
                    self.state.blocked.wait(30)
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.wfile.write(part)

    def _head(self, status: int, length: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """A server on a free port of this machine, for the block."""
    handler = type("Handler", (_Handler,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    handler.state = Server(server.server_port)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield handler.state
    finally:
        server.shutdown()
        server.server_close()
