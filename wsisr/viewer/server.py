"""The server of the page: this machine only, behind a random word, for requests that name this machine as their host.

A page of a stranger's slide can fetch nothing but what is here (`POLICY`), and no other page can reach it: it knows
neither the word, nor can it make a browser send another host's name (DNS rebinding).
"""

from __future__ import annotations

import errno
import secrets
import socket
import sys
from collections.abc import Callable, Collection
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from wsisr.errors import OptionError, SlideError
from wsisr.viewer.view import Resource, View

LOOPBACK = "127.0.0.1"
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)

SECURITY_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_LASTING = ("image/jpeg", "image/png", "text/javascript", "text/css")
"""Media types that a browser may keep: the word changes with every start."""

_TOKEN_BYTES = 16


class ViewServer(ThreadingHTTPServer):
    """Serves one view at `url`, with a thread a connection."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        view: View,
        port: int = 0,
        *,
        hosts: Collection[str] = (),
        report_failure: Callable[[str], None] = lambda _message: None,
    ) -> None:
        """Listen on a port, 0 for any free one; `hosts` are names of this page besides loopback's, for a proxy.

        `report_failure` gets each message about an image that cannot be read any more, once.
        Raises `OptionError` where the port is taken or not allowed.
        """
        self.view, self.token = view, secrets.token_urlsafe(_TOKEN_BYTES)
        self.hosts = {name.lower() for name in (*LOOPBACK_NAMES, *hosts)}
        self.report_failure, self._reported = report_failure, set[str]()
        self._is_closing = False
        try:
            super().__init__((LOOPBACK, port), _Handler)
        except OverflowError as error:
            raise OptionError(f"{port} is no port; choose 1024 to 65535", option="--port") from error
        except OSError as error:
            raise OptionError(_explain_port(port, error), option="--port") from error

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.server_address[1]}/{self.token}/"

    def server_close(self) -> None:
        """Stop listening; the threads of open connections end with the process."""
        self._is_closing = True
        super().server_close()

    def report_once(self, message: str) -> None:
        """Report a message about an image, unless it was reported before."""
        if message not in self._reported:
            self._reported.add(message)
            self.report_failure(message)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing where a browser hangs up within an answer, or asks while this ends; a bug keeps its traceback."""
        if not self._is_closing and not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type] # as the base class gives them


def _explain_port(port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{port} is taken by another program; choose another, or leave it out"
    if error.errno == errno.EACCES:
        return f"{port} is not yours to use; choose 1024 to 65535, or leave it out"
    return f"{port} cannot be used ({error.strerror}); choose another, or leave it out"


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    server: ViewServer
    protocol_version = "HTTP/1.1"
    wbufsize = 2**16  # head and body leave in one piece: two would wait for each other's acknowledgement
    disable_nagle_algorithm = True
    timeout = 120
    server_version = "wsisr"
    sys_version = ""

    def do_GET(self) -> None:
        status, resource = self._answer()
        self._send(status, resource, with_body=True)

    def do_HEAD(self) -> None:
        status, resource = self._answer()
        self._send(status, resource, with_body=False)

    def _answer(self) -> tuple[HTTPStatus, Resource]:
        if not self._is_for_this_host():
            return HTTPStatus.FORBIDDEN, _make_text("this page is shown under the name of its own machine only")
        try:
            path = urlsplit(self.path).path
        except ValueError:
            return HTTPStatus.BAD_REQUEST, _make_text("this is no address")
        token, _, name = path.removeprefix("/").partition("/")
        if not secrets.compare_digest(token.encode(), self.server.token.encode()) or "/" not in path[1:]:
            return HTTPStatus.FORBIDDEN, _make_text("open the address that wsisr view has printed")
        try:
            resource = self.server.view.get_resource(name)
        except SlideError as error:
            self.server.report_once(str(error))
            return HTTPStatus.GONE, _make_text(str(error))
        if resource is None:
            return HTTPStatus.NOT_FOUND, _make_text("there is nothing of this name")
        return HTTPStatus.OK, resource

    def _is_for_this_host(self) -> bool:
        """Whether the request names this machine; the port may be another one, of a tunnel's other end."""
        try:
            host = urlsplit(f"//{self.headers.get('Host', '')}")
            name = host.hostname or ""
        except ValueError:
            return False
        return (f"[{name}]" if ":" in name else name) in self.server.hosts

    def _send(self, status: HTTPStatus, resource: Resource, *, with_body: bool) -> None:
        self.send_response(status)
        self.send_header("Content-Type", resource.media_type)
        self.send_header("Content-Length", str(len(resource.data)))
        is_lasting = status == HTTPStatus.OK and resource.media_type in _LASTING
        self.send_header("Cache-Control", "private, max-age=86400" if is_lasting else "no-store")
        for name, value in SECURITY_HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(resource.data)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing: the terminal shows what a person must know."""


def _make_text(message: str) -> Resource:
    return Resource(message.encode(), "text/plain; charset=utf-8")


def find_host_name() -> str:
    """Return the name of this machine, for the line that says how to reach it through ssh."""
    return socket.gethostname()
