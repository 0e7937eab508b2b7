"""A hub on this machine: huggingface_hub's own client talks to it over HTTP (`HF_ENDPOINT`)."""

import contextlib
import hashlib
import http.server
import json
import pathlib
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
# Repositories that answer whoever has no right to them, as the real hub does.
REFUSALS = {
    "owner/gated": (
        401,
        {
            "X-Error-Code": "GatedRepo",
            "X-Error-Message": "Access to model owner/gated is restricted. You must have access to "
            "it and be authenticated to access it. Please log in.",
        },
    ),
    "owner/private": (401, {"X-Error-Code": "RepoNotFound"}),
    "owner/forbidden": (403, {"X-Error-Message": "your token lacks a permission"}),
}


class Hub:
    """Repositories by "owner/name": folders of files. Keeps what it was asked for."""

    def __init__(self, root: pathlib.Path):
        self.root = root
        self.asked: list[str] = []  # "GET /owner/name/resolve/main/file bytes=5-"
        self.cuts = 0  # downloads that end in the middle from now on

    def file(self, path: str) -> pathlib.Path | None:
        """Of /owner/name/resolve/main/file."""
        owner, name, kind, _, *rest = [*path.strip("/").split("/"), "", "", ""][:5]
        file = self.root / owner / name / rest[0] if kind == "resolve" else None
        return file if file is not None and file.is_file() else None

    def listing(self, path: str) -> list[dict] | dict | None:
        """What the API says of a repository."""
        _, _, owner, name, kind, *_ = [*path.strip("/").split("/"), "", "", ""]
        folder = self.root / owner / name
        if not folder.is_dir():
            return None
        files = sorted(folder.iterdir())
        if kind == "tree":
            return [
                {"type": "file", "path": x.name, "size": x.stat().st_size, "oid": etag(x)}
                for x in files
            ]
        siblings = [{"rfilename": x.name} for x in files]
        return {"id": f"{owner}/{name}", "sha": COMMIT, "siblings": siblings, "tags": []}


def etag(file: pathlib.Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def handler_of(hub: Hub) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            path, ranged = urlsplit(self.path).path, self.headers.get("Range", "")
            hub.asked.append(" ".join(filter(None, [self.command, path, ranged])))
            if refusal := REFUSALS.get("/".join(path.strip("/").split("/")[:2])):
                status, headers = refusal
                self.send(status, b"", headers, body)
                return
            if path.startswith("/api/models/"):
                listing = hub.listing(path)
                text = json.dumps({"error": "no such repository"} if listing is None else listing)
                self.send(404 if listing is None else 200, text.encode(), {}, body)
                return
            file = hub.file(path)
            if file is None:
                missing = {"X-Error-Code": "EntryNotFound"}
                if not (hub.root / "/".join(path.strip("/").split("/")[:2])).is_dir():
                    missing = {"X-Error-Code": "RepoNotFound"}
                self.send(404, b"", missing, body)
                return
            content = file.read_bytes()
            facts = {"X-Repo-Commit": COMMIT, "ETag": f'"{etag(file)}"', "Accept-Ranges": "bytes"}
            start = int(ranged.removeprefix("bytes=").partition("-")[0] or 0)
            if start:
                facts["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.send(206 if start else 200, content[start:], facts, body)

        def send(self, status: int, content: bytes, headers: dict[str, str], body: bool) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if not body:
                return
            if hub.cuts and len(content) > 1000:
                hub.cuts -= 1
                self.wfile.write(content[: len(content) // 2])
                self.wfile.flush()
                self.close_connection = True
                self.connection.close()
                return
            self.wfile.write(content)

    return Handler


@contextlib.contextmanager
def running_hub(root: pathlib.Path) -> Iterator[tuple[Hub, str]]:
    """A hub and its address, on a free port of the loopback."""
    hub = Hub(root)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler_of(hub))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
