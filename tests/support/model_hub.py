"""A local model hub over HTTP: what huggingface_hub asks for, and the faults that a network has."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c" * 40


@dataclass
class ModelHub:
    """Serves `files` by `OWNER/REPO/FILE`. The faults are set by tests and hold until they are changed."""

    files: dict[str, bytes]
    url: str = ""
    status: int | None = None
    """Answer everything with this status."""
    error_code: str | None = None
    """The hub's own word for an error, in its header."""
    cuts: list[int] = field(default_factory=list)
    """For each of the next downloads: after how many bytes the connection breaks."""
    hold_after: int | None = None
    """Downloads stand still after so many bytes until `released`."""
    announced_sha256: str | None = None
    """What the hub says the file's digest is; the truth when None."""
    held: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    """Method, path and range of every request."""

    @contextmanager
    def running(self) -> Generator[ModelHub, None, None]:
        """Serve on a free port until the block ends."""
        hub = self

        class Handler(_Handler):
            pass

        Handler.hub = hub
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self.released.set()
            server.shutdown()
            server.server_close()
            thread.join()

    @property
    def downloads(self) -> list[str | None]:
        """The ranges of the downloads so far."""
        return [asked for method, _, asked in self.requests if method == "GET"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: ModelHub

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, *, with_body: bool) -> None:
        hub = self.hub
        hub.requests.append((self.command, self.path, self.headers.get("Range")))
        content = hub.files.get(self.path.lstrip("/").replace("/resolve/main/", "/"))
        if hub.status is not None or content is None:
            self._refuse(hub.status or 404, hub.error_code if hub.status else "EntryNotFound")
            return
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        digest = hub.announced_sha256 or hashlib.sha256(content).hexdigest()
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{digest}"')
        self.send_header("X-Linked-Etag", f'"{digest}"')
        self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if with_body:
            self._send(content[start:])

    def _refuse(self, status: int, code: str | None) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, body: bytes) -> None:
        hub = self.hub
        if hub.cuts:
            self.wfile.write(body[: hub.cuts.pop(0)])
            self.close_connection = True
            return
        if hub.hold_after is not None:
            self.wfile.write(body[: hub.hold_after])
            self.wfile.flush()
            hub.held.set()
            hub.released.wait(30)
            body = body[hub.hold_after :]
        try:
            self.wfile.write(body)
        except ConnectionError:
            self.close_connection = True
