"""A network between a test and a service: it cuts connections, loses answers, and stands still."""

import contextlib
import http.client
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from http import server
from urllib.parse import urlsplit

# What becomes of a request: it is cut off before the service has it, its answer is lost, half of
# the answer arrives, it comes late, or nothing ever comes.
CUT, LOST, HALF, LATE, STILL = "cut", "lost", "half", "late", "still"
LATE_BY = 0.5  # seconds
STILL_FOR = 60.0
OWN = {"connection", "transfer-encoding", "content-length", "date", "server"}


class Proxy(server.ThreadingHTTPServer):
    """Passes requests on to a service.

    Attributes:
      trouble: asked before each request, with method and path; None passes it on as it is.
      troubles: what became of requests, counted.
    """

    daemon_threads = True

    def __init__(self, service: str):
        super().__init__(("localhost", 0), _Handler)
        self.service = urlsplit(service).netloc
        self.url = f"http://localhost:{self.server_address[1]}"
        self.trouble: Callable[[str, str], str | None] = lambda method, path: None
        self.troubles: dict[str, int] = {}
        self.over = threading.Event()
        self._lock = threading.Lock()
        self._cut: set[int] = set()

    def asked(self, method: str, path: str) -> str | None:
        with self._lock:
            found = self.trouble(method, path)
            if found is not None:
                self.troubles[found] = self.troubles.get(found, 0) + 1
            return found

    def cut(self, connection: socket.socket) -> None:
        """Close without the usual farewell: the other side sees "connection reset by peer"."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._cut.add(id(connection))

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        if id(request) in self._cut:
            self._cut.discard(id(request))
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that have gone are no news."""


class _Handler(server.BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"

    def _passed_on(self) -> None:
        body = self._body()
        trouble = self.server.asked(self.command, self.path)
        if trouble == CUT:
            return self._cut()
        if trouble == STILL:
            self.server.over.wait(STILL_FOR)
            return self._cut()
        if trouble == LATE:
            time.sleep(LATE_BY)
        service = http.client.HTTPConnection(self.server.service, timeout=60)
        try:
            headers = {k: v for k, v in self.headers.items() if k.lower() not in OWN}
            service.request(self.command, self.path, body, headers)
            answer = service.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            return self._cut()
        finally:
            service.close()
        if trouble == LOST:
            return self._cut()
        self.send_response(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in OWN:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if trouble == HALF:
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            return self._cut()
        self.wfile.write(content)
        return None

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            found = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return found
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _cut(self) -> None:
        self.server.cut(self.connection)
        self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = _passed_on

    def log_message(self, format: str, *args: object) -> None:
        pass


def one_of_five(*kinds: str) -> Callable[[str, str], str | None]:
    """Trouble for every fifth request, of these kinds in turn."""
    number = [0]

    def trouble(method: str, path: str) -> str | None:
        number[0] += 1
        turn, place = divmod(number[0], 5)
        return kinds[turn % len(kinds)] if place == 0 else None

    return trouble


@contextlib.contextmanager
def between(service: str) -> Iterator[Proxy]:
    """A proxy in front of a service, on a port of its own."""
    proxy = Proxy(service)
    thread = threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.over.set()
        proxy.shutdown()
        proxy.server_close()
        thread.join()
