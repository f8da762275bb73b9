"""A stand-in for the Hugging Face Hub: one owner, one token, repositories in memory."""

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_standin"


class Hub(ThreadingHTTPServer):
    """`repositories` maps a name to its files; `commits` lists what was committed."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.commits: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextlib.contextmanager
def serving() -> Iterator[Hub]:
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_):
        pass

    def answer(self, value, status=200, headers=()):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in (("Content-Length", str(len(body))), *headers):
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, code=""):
        headers = [("X-Error-Code", code)] if code else []
        self.answer({"error": f"refused with {status}"}, status, headers)

    def allowed(self):
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self.allowed():
            return self.refuse(401)
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            if not name.startswith("owner/"):
                return self.refuse(403)
            self.server.private.setdefault(name, asked.get("visibility") == "private")
            self.server.repositories.setdefault(name, {})
            return self.answer({"url": f"{self.server.url}/{name}"})
        if self.path == "/api/validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        asked = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/main", self.path)
        name, what = asked.groups()
        if what == "preupload":
            files = [{**f, "uploadMode": "regular", "shouldIgnore": False} for f in paths(body)]
            return self.answer({"files": files})
        title = ""
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "header":
                title = line["value"]["summary"]
            elif line["key"] == "file":
                content = base64.b64decode(line["value"]["content"])
                self.server.repositories[name][line["value"]["path"]] = content
        self.server.commits.append((name, title))
        sha = self.sha(name)
        return self.answer(
            {"commitUrl": f"{self.server.url}/{name}/commit/{sha}", "commitOid": sha}
        )

    def sha(self, name):
        files = sorted(self.server.repositories[name].items())
        return hashlib.sha1(repr(files).encode()).hexdigest()

    def do_GET(self):
        if self.path == "/api/whoami-v2":
            return self.answer({"name": "owner"}) if self.allowed() else self.refuse(401)
        path = self.path.partition("?")[0]
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/revision/(.+))?", path):
            name, revision = found[1], found[3]
            if name not in self.server.repositories:
                return self.refuse(404, "RepoNotFound")
            if revision not in (None, "main", self.sha(name)):
                return self.refuse(404, "RevisionNotFound")
            files = [{"rfilename": path} for path in self.server.repositories[name]]
            return self.answer({"id": name, "sha": self.sha(name), "siblings": files})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/.+", path):
            stored = self.server.repositories[found[1]].items()
            sizes = [{"type": "file", "oid": "0", "path": p, "size": len(c)} for p, c in stored]
            return self.answer(sizes)
        found = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        content = self.server.repositories.get(found[1], {}).get(found[3]) if found else None
        if content is None:
            return self.refuse(404, "EntryNotFound")
        tag = f'"{hashlib.sha1(content).hexdigest()}"'
        return self.answer(content, headers=[("ETag", tag), ("X-Repo-Commit", found[2])])

    do_HEAD = do_GET


def paths(body):
    return [{"path": one["path"]} for one in json.loads(body)["files"]]
