"""A bucket for tests: gcp-storage-emulator in a thread, with what it leaves out, and with troubles.

The emulator ignores the conditions of a request (`ifGenerationMatch`), on which locks and OCDBT
rely; names no generation with what it downloads, which TensorStore calls malformed; and forgets an
upload that is complete, so that its last part, sent again since the answer was lost, is not found.
All three are added here. It answers one request after the other, so a condition holds until it is
acted on.
"""

import contextlib
import functools
import json
import os
import threading
from collections.abc import Callable, Iterator
from http import server
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

# Read when gcsfs is imported, which would ask by gRPC for the kind of a bucket.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"
emulator = pytest.importorskip(
    "gcp_storage_emulator.server", reason="gcp-storage-emulator is not installed (group dev)"
)
pytest.importorskip("gcsfs", reason="gcsfs is not installed (extra gcs)")

BUCKET = "runs-here"
# Of a request, as "POST" and its path with the query: the status to answer with, 0 to hang up
# without an answer, None to do what was asked.
Trouble = Callable[[str, str], int | None]


class Bucket:
    """The server of one bucket.

    Attributes:
      trouble: asked before each request.
      requests: what was asked for, method and path.
    """

    def __init__(self) -> None:
        from gcp_storage_emulator.handlers import buckets
        from gcp_storage_emulator.storage import Storage

        self.storage = Storage(use_memory_fs=True)
        buckets.create_bucket(BUCKET, self.storage)
        self.trouble: Trouble = lambda method, path: None
        self.requests: list[tuple[str, str]] = []
        handler = functools.partial(_Handler, self)
        self._server = server.HTTPServer(("localhost", 0), handler)
        self.url = f"http://localhost:{self._server.server_address[1]}"

    def serve(self) -> None:
        self._server.serve_forever(poll_interval=0.05)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def names(self) -> list[str]:
        """Of all objects."""
        return sorted(self.storage.objects.get(BUCKET, {}))

    def read(self, name: str) -> bytes:
        return self.storage.get_file(BUCKET, name)

    def generation(self, name: str) -> int:
        """0 where there is no such object."""
        found = self.storage.objects.get(BUCKET, {}).get(name)
        return int(found["generation"]) if found else 0


class _Handler(emulator.RequestHandler):
    def __init__(self, bucket: Bucket, *arguments: object):
        self._bucket = bucket
        self._generation = 0
        super().__init__(bucket.storage, *arguments)

    def handle_one_request(self) -> None:
        with contextlib.suppress(ConnectionError):  # who asked has gone
            super().handle_one_request()

    def _answered(self, method: str) -> None:
        self._bucket.requests.append((method, self.path))
        trouble = self._bucket.trouble(method, self.path)
        if trouble == 0:
            self.close_connection = True
            return
        if trouble is None and (uploaded := self._uploaded()):
            emulator._read_raw_data(self)
            self._answer(200, json.dumps(uploaded).encode())
            return
        status = self._refused() if trouble is None else trouble
        if status is None:
            emulator.Router(self).handle(method)
            return
        emulator._read_raw_data(self)
        self._answer(status)

    def _answer(self, status: int, content: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _uploaded(self) -> dict | None:
        """The object that an upload has made whose last part comes again."""
        query = parse_qs(urlsplit(self.path).query)
        if "upload_id" not in query or query["upload_id"][0] in self._bucket.storage.resumable:
            return None
        return self._bucket.storage.objects.get(BUCKET, {}).get(query["name"][0])

    def _refused(self) -> int | None:
        """The status for a condition that does not hold."""
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        _, _, name = parts.path.partition("/o/")
        name = unquote(name) or query.get("name", "")
        found = self._bucket.generation(name)
        self._generation = found if self.command == "GET" else 0
        if "ifGenerationMatch" in query and int(query["ifGenerationMatch"]) != found:
            return 412
        if "ifGenerationNotMatch" in query and int(query["ifGenerationNotMatch"]) == found:
            return 304 if found else 404
        return None

    def end_headers(self) -> None:
        if self._generation:
            self.send_header("x-goog-generation", str(self._generation))
        super().end_headers()

    def do_GET(self) -> None:
        self._answered("GET")

    def do_POST(self) -> None:
        self._answered("POST")

    def do_PUT(self) -> None:
        self._answered("PUT")

    def do_PATCH(self) -> None:
        self._answered("PATCH")

    def do_DELETE(self) -> None:
        self._answered("DELETE")


def one_of_five() -> Trouble:
    """Every fifth request is answered with 503."""
    number = [0]

    def trouble(method: str, path: str) -> int | None:
        number[0] += 1
        return 503 if number[0] % 5 == 0 else None

    return trouble


@contextlib.contextmanager
def running() -> Iterator[Bucket]:
    """A bucket that libraries find by the environment, see `environment`."""
    bucket = Bucket()
    thread = threading.Thread(target=bucket.serve, daemon=True)
    thread.start()
    try:
        yield bucket
    finally:
        bucket.stop()
        thread.join()


def environment(bucket: Bucket) -> dict[str, str]:
    """What gcsfs, google-cloud-storage and TensorStore look for."""
    return {"STORAGE_EMULATOR_HOST": bucket.url, "TENSORSTORE_GCS_HTTP_URL": bucket.url}
