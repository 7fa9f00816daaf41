"""A server of files for tests: ranges, ETags and conditions as real servers have them, faults on demand, and counts."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


@dataclass
class RangeServer:
    """A folder by HTTP on this machine."""

    folder: Path
    password: str = ""
    """What the user `lab` has to give; empty lets everybody in."""
    sends_ranges: bool = True
    latency_s: float = 0.0
    fails_after: int | None = None
    """Requests for content that are answered; each later one is cut off in the middle."""
    url: str = ""
    ranges: list[tuple[str, int, int]] = field(default_factory=list)
    """Name, offset and bytes of each piece that was sent."""
    requests: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def sent_bytes(self) -> int:
        return sum(count for _, _, count in self.ranges)

    def forget(self) -> None:
        """Begin to count anew."""
        self.ranges.clear()
        self.requests = 0


@contextmanager
def serve_folder(folder: Path, **options: object) -> Iterator[RangeServer]:
    """Context: a folder by HTTP, on a free port of this machine."""
    server = RangeServer(folder, **options)  # type: ignore[arg-type] # its own fields
    handler = type("Handler", (_Handler,), {"files": server})
    with _QuietServer(("127.0.0.1", 0), handler) as http:
        http.daemon_threads = True
        server.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    files: RangeServer

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def _answer(self, *, with_content: bool) -> None:
        if self.files.latency_s:
            time.sleep(self.files.latency_s)
        path = self.files.folder / self.path.partition("?")[0].lstrip("/")
        with self.files.lock:
            self.files.requests += 1
        if self.files.password and self.headers.get("Authorization") != _authorise(self.files.password):
            self._refuse(401)
        elif not path.is_file():
            self._refuse(404)
        elif not self._is_same_version(path):
            self._refuse(412)
        else:
            self._send(path, with_content=with_content)

    def _is_same_version(self, path: Path) -> bool:
        tag, date = self.headers.get("If-Match"), self.headers.get("If-Unmodified-Since")
        is_old = date is not None and int(path.stat().st_mtime) > parsedate_to_datetime(date).timestamp()
        return tag in (None, _make_etag(path)) and not is_old

    def _refuse(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, path: Path, *, with_content: bool) -> None:
        size = path.stat().st_size
        match = _RANGE.fullmatch(self.headers.get("Range", "")) if self.files.sends_ranges else None
        start, end = (int(match[1]), min(int(match[2]) + 1, size)) if match else (0, size)
        self.send_response(206 if match else 200)
        self.send_header("Content-Length", str(end - start))
        self.send_header("ETag", _make_etag(path))
        self.send_header("Last-Modified", formatdate(path.stat().st_mtime, usegmt=True))
        if match:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.end_headers()
        if not with_content:
            return
        with self.files.lock:
            self.files.ranges.append((path.relative_to(self.files.folder).as_posix(), start, end - start))
            is_cut = self.files.fails_after is not None and len(self.files.ranges) > self.files.fails_after
        with path.open("rb") as file:
            file.seek(start)
            data = file.read(end - start)
        try:
            self.wfile.write(data[: len(data) // 2] if is_cut else data)
        except OSError:
            self.close_connection = True
        if is_cut:
            self.close_connection = True


def _make_etag(path: Path) -> str:
    stat = path.stat()
    return f'"{hashlib.sha256(f"{stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:16]}"'


def _authorise(password: str) -> str:
    from base64 import b64encode

    return "Basic " + b64encode(f"lab:{password}".encode()).decode()
