"""Index of finished results: tells what is finished without opening a slide, a network or a result.

An entry is written when a run has made a result, or has found it finished by the SHA-256 of the slide and all
parameters. It holds what has to be unchanged for that to be still true, as digests without any name:

- of each file of the slide: size, times of the last change of contents and status, and inode;
- the same of the result;
- every option on which the pixels depend, with the contents of the files that options name, and wsisr's version.

A file whose contents change without any of its four numbers changing is not noticed. That takes a change within the
same tick of the disk's clock, so files that were changed less than `SETTLED_S` before they were read get no entry.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

from wsisr.errors import SlideError, WsisrError
from wsisr.files import write_atomically
from wsisr.models.catalog import FILTER_MODELS, list_weights_files
from wsisr.slides.files import list_candidate_files
from wsisr.upscaling.request import UpscaleRequest
from wsisr.version import __version__
from wsisr.writing.layouts.catalog import select_layout
from wsisr.writing.workdir.folder import has_work_folder

SETTLED_S = 2.0
"""Coarsest tick of a file system's clock, that of FAT, in seconds."""

_NOT_ABOUT_PIXELS = {
    "slide", "output", "memory", "save_mask", "trust", "on_error", "overwrite", "verify",
    "work_dir", "keep_work", "dry_run",
}  # fmt: skip
"""Options that do not say what a result is. Device and precision do where they are named: a run compares them."""

_STALE_LINES = 100
"""Lines of replaced entries that a file of the index may hold before it is written anew."""


@dataclass(frozen=True, slots=True)
class SlideState:
    """What the files of a slide look like from outside."""

    digest: str
    newest_change: float
    """Latest change of the contents of any of them, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class FinishedEntry:
    """What the index knows of a finished result."""

    unreadable: str | None
    """Places of the slide that could not be decoded; None if there are none."""
    lacks_tissue: bool = False
    """Whether nothing of the area is tissue."""


class FinishedIndex:
    """Finished results, kept in a folder: a file for each folder of results, a line for each result."""

    def __init__(self, folder: Path) -> None:
        """Take the folder of the index, which is created by the first entry. It may be removed at any time."""
        self._folder = folder
        self._lines: dict[Path, dict[str, str]] = {}

    def find(self, request: UpscaleRequest) -> FinishedEntry | None:
        """Return the entry of a request whose result is certainly finished; None where only a run can tell."""
        output = request.output_path.absolute()
        if request.overwrite or _lacks_side_files(request) or has_work_folder(output, request.work_path):
            return None
        line = self._read_lines(output.parent).get(_hash_text(output.name))
        if line is None:
            return None
        try:
            state = describe_slide_state(request.slide_path)
            entry = json.loads(line)
            found = FinishedEntry(entry["unreadable"], "no_tissue" in entry)
            expected = _make_line(request, state, found)
        except (WsisrError, OSError, ValueError, KeyError, TypeError):
            return None
        if line != expected or (found.unreadable and request.on_error != "white"):
            return None
        return found

    def add(self, request: UpscaleRequest, before: SlideState | None, began: float, entry: FinishedEntry) -> None:
        """Add the finished result of a request. Nothing is added where it could not be relied on, or written.

        `before` is the state of the slide before it was read, and `began` the time then, in seconds since 1970.
        """
        try:
            state = describe_slide_state(request.slide_path)
            if state != before or state.newest_change > began - SETTLED_S:
                return
            output = request.output_path.absolute()
            line = _make_line(request, state, entry)
            self._append(output, line)
        except (WsisrError, OSError):
            return  # costs only time: the next run looks into slide and result

    def _append(self, output: Path, line: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path(output.parent), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            # One write, so that the lines of processes that append at the same time do not mix.
            os.write(descriptor, f"{_hash_text(output.name)} {line}\n".encode())
        finally:
            os.close(descriptor)
        self._lines.pop(output.parent, None)

    def _read_lines(self, folder: Path) -> dict[str, str]:
        """Return the name's hash to the last line of each result in a folder."""
        if folder not in self._lines:
            path = self._path(folder)
            text = ""
            with suppress(OSError):
                text = path.read_text(encoding="ascii", errors="replace")
            parts = [line.partition(" ") for line in text.splitlines()]
            lines = {name: rest for name, _, rest in parts}
            if len(parts) > 2 * len(lines) + _STALE_LINES:
                with suppress(WsisrError):
                    write_atomically(path, (f"{name} {rest}\n".encode() for name, rest in lines.items()))
            self._lines[folder] = lines
        return self._lines[folder]

    def _path(self, folder: Path) -> Path:
        return self._folder / f"{_hash_text(str(folder))}.lines"


def describe_slide_state(slide: Path) -> SlideState:
    """Return the state of all files that a slide may consist of. Raises `SlideError` where one cannot be looked at."""
    try:
        files = list_candidate_files(slide)
        stats = [(file, file.stat()) for file in files]
    except OSError as error:
        raise SlideError(f"{slide}: cannot be looked at ({error.strerror})") from error
    if not stats:
        raise SlideError(f"{slide}: has no files")
    root = slide.parent
    digest = _hash_lines(f"{os.path.relpath(file, root)} {_describe_stat(stat)}" for file, stat in stats)
    return SlideState(digest, max(stat.st_mtime for _, stat in stats))


def try_describe_slide(slide: Path) -> SlideState | None:
    """Return the state of a slide's files; None where they cannot be looked at, which a run will report."""
    try:
        return describe_slide_state(slide)
    except SlideError:
        return None


def _lacks_side_files(request: UpscaleRequest) -> bool:
    """Whether a mask or a trust layer that is asked for is not there, or is of another result."""
    from wsisr.upscaling.trust.belonging import is_layer_of  # noqa: PLC0415 - few runs need it, and all import this

    mask, trust = request.mask_path, request.trust_files
    lacks_trust = trust and not (trust.are_written and is_layer_of(trust.layer, request.output_path))
    return bool((mask and not mask.exists()) or lacks_trust)


def _make_line(request: UpscaleRequest, state: SlideState, entry: FinishedEntry) -> str:
    output = request.output_path
    marker = select_layout(output, request.layout_name).marker
    result = _describe_stat((output / marker if marker else output).stat())
    values = {
        "result": _hash_text(result),
        "slide": state.digest,
        "request": _hash_lines(_describe_request(request)),
        "unreadable": entry.unreadable,
    }
    return json.dumps(values | ({"no_tissue": True} if entry.lacks_tissue else {}))


def _describe_request(request: UpscaleRequest) -> Iterator[str]:
    """Yield every option on which pixels or metadata depend; files that options name count by their contents."""
    yield __version__
    for item in fields(request):
        if item.name not in _NOT_ABOUT_PIXELS:
            yield f"{item.name}={getattr(request, item.name)!r}"
    if request.model is None or str(request.model) not in FILTER_MODELS:
        for path in list_weights_files(request.model):
            yield f"{path.name}={_hash_file_once(path, _describe_stat(path.stat()))}"
    if str(request.tissue) not in ("auto", "none"):
        path = Path(request.tissue)
        yield f"tissue={_hash_file_once(path, _describe_stat(path.stat()))}"


@cache
def _hash_file_once(path: Path, _state: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _describe_stat(stat: os.stat_result) -> str:
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"


def _hash_text(text: str) -> str:
    return _hash_lines([text])


def _hash_lines(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode("utf-8", "surrogateescape") + b"\n")
    return digest.hexdigest()[:32]
