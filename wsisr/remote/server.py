"""What servers say of files: sizes, versions, and errors in one line. All contact with fsspec begins here."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from threading import Lock
from typing import Any, TypeAlias

from wsisr.errors import describe_error
from wsisr.remote.path import ZARR_METADATA_NAMES, RemotePath, hide_secrets

_MOST_REMEMBERED = 4096
"""Files whose last answer is remembered."""

_CONNECT_S, _READ_S = 15.0, 60.0
"""Longest waits of https for a connection and for the next bytes."""

_CREDENTIALS = ("AWS_", "AZURE_", "GOOGLE_")
"""Beginnings of the variables that tell libraries of servers who asks."""

_ETAG_KEYS = ("ETag", "etag", "version_id", "md5Hash", "Content-MD5")
_TIME_KEYS = ("LastModified", "last_modified", "Last-Modified", "mtime", "updated", "created")

_ADVICE_ON_CREDENTIALS = "give credentials in the environment, as docs/inputs.md tells"

_STATUS_WORDS = {
    401: (errno.EACCES, f"the server wants credentials; {_ADVICE_ON_CREDENTIALS}"),
    403: (errno.EACCES, f"the server refuses it; {_ADVICE_ON_CREDENTIALS}, or a URL that has not expired"),
    404: (errno.ENOENT, "the server has no such file; check the URL"),
    412: (errno.ESTALE, "it has changed on the server since it was opened; repeat the command when it is complete"),
}
"""Status of HTTP to the error number and the words."""


NO_RANGES = "the server does not send parts of files (HTTP ranges); copy the slide to this machine"

_CAUSES: tuple[tuple[type[BaseException], str, int, str], ...] = (
    (
        ImportError,
        "",
        errno.ENOPKG,
        "this URL needs other packages; install wsisr[remote], or fsspec's for this protocol",
    ),
    (
        Exception,
        "^[A-Za-z]*(Credential|Token)",
        errno.EACCES,
        f"there are no credentials for this server; {_ADVICE_ON_CREDENTIALS}",
    ),
    (
        ValueError,
        "Protocol not known",
        errno.EPROTONOSUPPORT,
        "its protocol is unknown; give an s3:// or https:// URL, or one of fsspec's",
    ),
    (
        Exception,
        "^ParamValidationError|Parameter validation failed",
        errno.EINVAL,
        "the URL is wrong; check it, and the name of its bucket",
    ),
    (ValueError, "range requests", errno.ENOTSUP, NO_RANGES),
)
"""Class of an error, what its name and words hold, and the error number and words for it."""


@dataclass(frozen=True, slots=True)
class RemoteStatus:
    """What a server says of a file."""

    size: int
    """Bytes; 0 for a folder."""
    version: str
    """Changes with the content, as ETags do; empty where the server names none."""
    modified: datetime | None
    is_folder: bool = False

    def to_stat_result(self) -> os.stat_result:
        """Return the same as `os.stat` would; the time of the last change stands for the version."""
        mode = stat.S_IFDIR | 0o555 if self.is_folder else stat.S_IFREG | 0o444
        seconds = int(self.modified.timestamp()) if self.modified else 0
        digest = int.from_bytes(hashlib.sha256(self.version.encode()).digest()[:7])
        times = {"st_atime_ns": seconds * 10**9, "st_mtime_ns": seconds * 10**9, "st_ctime_ns": digest}
        return os.stat_result((mode, digest, 0, 1, 0, 0, self.size, seconds, seconds, seconds), times)

    @property
    def conditions(self) -> Mapping[str, str]:
        """Headers of HTTP by which a server refuses to send bytes of any other version."""
        if self.version.startswith('"'):
            return {"If-Match": self.version}
        if self.modified is not None:
            return {"If-Unmodified-Since": self.modified.astimezone(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")}
        return {}


Access: TypeAlias = tuple[str, tuple[tuple[str, str], ...]]
"""A URL with all its secrets, and what the environment says of credentials. It must not be printed or stored."""

_statuses: OrderedDict[Access, RemoteStatus | None] = OrderedDict()
_lock = Lock()

_environments: dict[str, tuple[tuple[str, str], ...]] = {}
"""Protocol to the credentials with which fsspec was asked for it last."""


def find_access(path: RemotePath) -> Access:
    """Return by what a server is asked for a file: what it said to one is nothing to another."""
    return path.secret_url, _read_environment()


def _read_environment() -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith(_CREDENTIALS)))


def fetch_status(path: RemotePath) -> RemoteStatus:
    """Ask the server for a file. Raises `OSError`; `FileNotFoundError` where there is none."""
    try:
        status = _ask_server(path)
    except FileNotFoundError:
        _remember(path, None)
        raise
    _remember(path, status)
    return status


def _ask_server(path: RemotePath) -> RemoteStatus:
    if path.is_http and _may_be_zarr_group(path):
        # A folder is nothing to HTTP, and servers answer for one with a page.
        if any(recall_status(path / name) is not None for name in ZARR_METADATA_NAMES):
            return RemoteStatus(0, "", None, is_folder=True)
        raise FileNotFoundError(*_STATUS_WORDS[404], str(path))
    with translate_server_errors(path):
        system, name = connect(path)
        system.invalidate_cache()
        return _parse_status(system.info(name))


def _may_be_zarr_group(path: RemotePath) -> bool:
    """Whether a name is one of a zarr or of a group in it."""
    is_inside = any(part.endswith(".zarr") for part in path.parts[:-1])
    return path.name.endswith(".zarr") or (is_inside and "." not in path.name and "c" not in path.parts)


def recall_status(path: RemotePath) -> RemoteStatus | None:
    """Return the last answer for a file, which is asked for if there is none; None where there is no such file."""
    known = [_statuses.get(find_access(parent)) for parent in path.parents]
    if len(known) < 3 or any(status is not None and not status.is_folder for status in known):
        return None  # a server or its protocol alone, or inside a file
    access = find_access(path)
    if access in _statuses:
        return _statuses[access]
    try:
        return fetch_status(path)
    except FileNotFoundError:
        return None


def connect(path: RemotePath, secret_url: str | None = None) -> tuple[Any, str]:
    """Return fsspec's file system, which it keeps for the next call, and the name of a file there.

    By the URL with the secrets that were given last, or by those of an open file.
    """
    import fsspec  # noqa: PLC0415 - only slides by URL need it

    options: dict[str, Any] = {}
    if path.is_http:
        import aiohttp  # noqa: PLC0415 - as above

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_READ_S)
        options = {"client_kwargs": {"timeout": timeout, "trust_env": True}}
    protocol, environment = path.parts[0], _read_environment()
    if _environments.setdefault(protocol, environment) != environment:
        # fsspec would go on with the connection of whoever asked before.
        fsspec.get_filesystem_class(protocol.rstrip(":")).clear_instance_cache()
        _environments[protocol] = environment
    system, name = fsspec.url_to_fs(secret_url or path.secret_url, **options)
    return system, str(name)


@contextmanager
def translate_server_errors(path: RemotePath) -> Iterator[None]:
    """Context: whatever a library raises becomes an `OSError` whose `strerror` is one line without secrets."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - each protocol has a library of its own, with errors of its own
        number, words = _describe_server_error(error)
        raise OSError(number, words, str(path)) from None  # a chain would print the URL as it was given


def _describe_server_error(error: BaseException) -> tuple[int, str]:
    """Return an error number and words; fsspec takes every failure of HTTP for a missing file."""
    cause = error
    while isinstance(cause, FileNotFoundError) and cause.__cause__ is not None:
        cause = cause.__cause__
    status = _find_http_status(cause)
    if status in _STATUS_WORDS:
        return _STATUS_WORDS[status]
    if status is not None:
        return errno.EIO, f"the server answers with error {status}; repeat the command later"
    for kind, sign, number, words in _CAUSES:
        if isinstance(cause, kind) and re.search(sign, f"{type(cause).__name__}: {cause}"):
            return number, words
    reason = hide_secrets(describe_error(cause)) if isinstance(cause, OSError) else type(cause).__name__
    return errno.EIO, f"the connection failed ({reason}); repeat the command"


def _find_http_status(error: BaseException) -> int | None:
    """Return the status of HTTP that an error of aiohttp or botocore has, or that it stands for."""
    response = getattr(error, "response", None)
    metadata = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
    status = getattr(error, "status", None) or metadata.get("HTTPStatusCode")
    if isinstance(status, int):
        return status
    if isinstance(error, FileNotFoundError):
        return 404
    return 403 if isinstance(error, PermissionError) else None


def _parse_status(info: Mapping[str, Any]) -> RemoteStatus:
    if info.get("type") == "directory":
        return RemoteStatus(0, "", None, is_folder=True)
    if info.get("size") is None:
        raise ValueError("range requests")  # a server that does not know how large a file is has no parts of it
    version = next((str(info[key]) for key in _ETAG_KEYS if info.get(key)), "")
    modified = next((info[key] for key in _TIME_KEYS if info.get(key)), None)
    return RemoteStatus(int(info["size"]), version, _parse_time(modified))


def _parse_time(value: object) -> datetime | None:
    if isinstance(value, datetime):
        return value
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    try:
        return parsedate_to_datetime(str(value)) if value else None
    except ValueError:
        return None


def forget_statuses(folder: RemotePath) -> None:
    """Forget what was said of a file, and of all that a folder holds, so that the server is asked again."""
    with _lock:
        inside = folder.secret_url.partition("?")[0]
        for access in [access for access in _statuses if f"{access[0]}/".startswith(f"{inside}/")]:
            del _statuses[access]


def _remember(path: RemotePath, status: RemoteStatus | None) -> None:
    with _lock:
        access = find_access(path)
        _statuses[access] = status
        _statuses.move_to_end(access)
        while len(_statuses) > _MOST_REMEMBERED:
            _statuses.popitem(last=False)
