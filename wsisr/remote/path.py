"""A URL as a path, so that what opens, measures and names slides need not know where they lie.

The text of a `RemotePath` is its public URL: without user, password and query. These are kept in this process only, and
go nowhere but to the server and to worker processes of the same run.
"""

from __future__ import annotations

import errno
import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, NoReturn, Self, cast

_URL = re.compile(r"([a-z][a-z0-9+.-]+):/{1,2}(?=[^/])", re.IGNORECASE)
"""Beginning of a URL; `Path` folds the two slashes into one. A single letter would be a drive of Windows."""

_SLASHED_PASSWORD = r"[^\s/?#@'\":]*:(?!\d+/)[^\s/?#@'\"]*/[^\s?#'\"]*@"
"""User and password of which the latter holds a slash, as keys of AWS may: what stands behind the colon is no port."""

_URL_IN_TEXT = re.compile(
    rf"\b([a-z][a-z0-9+.-]+:/{{1,2}})([^\s/?#@'\"]*@|{_SLASHED_PASSWORD})?([^\s?#'\"]*)(\?[^\s'\"]*)?", re.IGNORECASE
)

_SIGNATURE = re.compile(
    r"x-amz-.*|x-goog-.*|awsaccesskeyid|googleaccessid|signature|expires|key-pair-id|policy"
    r"|sv|ss|srt|sr|sp|se|st|spr|sip|si|sdd|sig|skoid|sktid|skt|ske|sks|skv|saoid|suoid|scid"
    r"|.*(token|password|secret|credential|api-?key|access-?key|auth).*",
    re.IGNORECASE,
)
"""Names of parameters that sign a URL: another signature of the same file must not make it another file."""

_DIGEST = re.compile(r"query=[0-9a-f]{8}")

ZARR_METADATA_NAMES = ("zarr.json", ".zgroup", ".zattrs", ".zarray")
"""Files of which a group or an array of zarr has at least one: what a folder of HTTP is known by."""

_secret_urls: dict[str, str] = {}
"""Public URL to the one that the user gave, where these differ."""


def make_path(word: Path | str) -> Path:
    """Return the path that a person means: a `RemotePath` for a URL, also for one that `Path` has folded.

    A URL as text is as a person gives it, with its secrets or without; a path keeps those that it had as text.
    """
    if isinstance(word, RemotePath):
        return word
    match = _URL.match(str(word))
    if match is None:
        return Path(word)
    url = f"{match[1].lower()}://{str(word)[match.end() :]}"
    public = _remove_secrets(url)
    if url != public:
        _secret_urls[public] = url
    elif isinstance(word, str) and not _is_with_digest(public):
        _secret_urls.pop(public, None)  # whoever gives it without a password now does not want that of before
    return RemotePath(public)


def is_url(word: Path | str) -> bool:
    """Return whether a word or a path is a URL."""
    return isinstance(word, RemotePath) or _URL.match(str(word)) is not None


def hide_secrets(text: str) -> str:
    """Return a text in which no URL has a user, a password or a query."""
    return _URL_IN_TEXT.sub(lambda match: match[1] + match[3], text)


def _remove_secrets(url: str) -> str:
    scheme, _, rest = url.partition("://")
    place, _, query = rest.partition("#")[0].partition("?")
    slashed = re.match(_SLASHED_PASSWORD, place)
    authority, slash, name = place[slashed.end() if slashed else 0 :].partition("/")
    public = f"{scheme}://{authority.rpartition('@')[2]}{slash}{name}"
    if _is_with_digest(f"{public}?{query}"):
        return f"{public}?{query}"
    telling = sorted(part for part in query.split("&") if part and not _SIGNATURE.fullmatch(part.partition("=")[0]))
    # Two files may differ in their query alone; what it says may be a secret of an unknown kind.
    if not telling:
        return public
    import hashlib  # noqa: PLC0415 - every command imports this module, and few meet such a URL

    digest = hashlib.sha256("&".join(telling).encode()).hexdigest()[:8]
    return f"{public}?query={digest}"


def _is_with_digest(url: str) -> bool:
    """Return whether a URL is a public one that stands for another query."""
    return _DIGEST.fullmatch(url.partition("?")[2]) is not None and url in _secret_urls


class RemotePath(type(Path())):  # type: ignore[misc] # the class of this system's paths, as `Path` itself is abstract
    """The public URL of a file on a server. `stat` asks the server; all else goes by its last answer.

    Every method raises `OSError` with a `strerror` that says in one line what is wrong and what to do.
    """

    def __str__(self) -> str:
        return _URL.sub(lambda match: f"{match[1]}://", super().__str__(), count=1)

    def __reduce__(self) -> tuple[Callable[[str], Path], tuple[str]]:
        return make_path, (self.secret_url,)

    @property
    def secret_url(self) -> str:
        """The URL as the server needs it. It must not be printed, stored or put into an error."""
        for parent in (self, *self.parents):
            url = _secret_urls.get(str(parent))
            if url is not None:
                place, mark, query = url.partition("?")
                return f"{place}{str(self).removeprefix(str(parent))}{mark}{query}"
        return str(self)

    @property
    def is_http(self) -> bool:
        """Whether it is reached by HTTP, which has no folders."""
        return self.parts[0] in ("http:", "https:")

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:  # noqa: ARG002 - as `Path` has it
        from wsisr.remote.server import fetch_status  # noqa: PLC0415 - only slides by URL need fsspec

        return fetch_status(self).to_stat_result()

    def exists(self, *, follow_symlinks: bool = True) -> bool:  # noqa: ARG002 - as `Path` has it
        from wsisr.remote.server import recall_status  # noqa: PLC0415 - as above

        try:
            return recall_status(self) is not None
        except OSError:
            return False  # opening it tells what is wrong

    def is_file(self, *, follow_symlinks: bool = True) -> bool:  # noqa: ARG002 - as `Path` has it
        from wsisr.remote.server import recall_status  # noqa: PLC0415 - as above

        status = recall_status(self)
        return status is not None and not status.is_folder

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:  # noqa: ARG002 - as `Path` has it
        from wsisr.remote.server import recall_status  # noqa: PLC0415 - as above

        status = recall_status(self)
        return status is not None and status.is_folder

    def is_symlink(self) -> bool:
        return False

    def open(self, mode: str = "r", buffering: int = -1, *text: Any, **more_text: Any) -> IO[Any]:
        from wsisr.remote.file import RawRemoteFile, find_remote_file  # noqa: PLC0415 - as above

        if mode not in ("r", "rb"):
            raise PermissionError(f"{self} is on a server, and only read")
        raw = RawRemoteFile(find_remote_file(self), str(self))
        if mode == "rb":
            return cast("IO[Any]", raw if buffering == 0 else io.BufferedReader(raw))
        return io.TextIOWrapper(io.BufferedReader(raw), *text, **more_text)

    def iterdir(self) -> NoReturn:
        """Refuse to list a folder, which HTTP cannot."""
        raise OSError(errno.ENOTSUP, "folders on a server are not looked into; give the URL of a slide", str(self))

    def absolute(self) -> Self:
        return self

    def resolve(self, strict: bool = False) -> Self:  # noqa: ARG002 - as `Path` has it
        return self

    def samefile(self, other_path: str | os.PathLike[str]) -> bool:
        return str(self) == str(other_path)
