"""Paths of a run: nothing that it writes may be, replace or lie inside anything that it reads."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from wsisr.errors import OptionError, OutputNameError
from wsisr.files import find_outermost_zarr, find_scan_folder, translate_disk_errors

if TYPE_CHECKING:
    from wsisr.cli.batch import BatchItem
    from wsisr.upscaling.request import UpscaleRequest


class InputPaths:
    """The slides and files that a run reads, each with words for it, found again under any name or link."""

    def __init__(self) -> None:
        self._paths: dict[Path, str] = {}
        self._files: dict[tuple[int, int], str] = {}
        """Words by disk and inode."""
        self._folders: dict[Path, str] = {}
        """Words by folder whose whole content is read."""
        self._parents: dict[Path, str] = {}
        self._find_zarr = cache(find_outermost_zarr)

    def add(self, path: Path, words: str) -> None:
        """Add a slide or a file, which need not exist. Raises `OSError`."""
        real = _resolve_path(path)
        self._paths.setdefault(real, words)
        for parent in real.parents:
            self._parents.setdefault(parent, words)
        identity = _identify_file(path)
        if identity:
            self._files.setdefault(identity, words)
        zarr = self._find_zarr(real if real.is_dir() else real.parent)
        if zarr:
            self._folders.setdefault(zarr, words)
        scan_folder = find_scan_folder(real)
        if scan_folder:
            self._folders.setdefault(scan_folder, words)

    def find(self, path: Path) -> str | None:
        """Return the words for the input that a path is or lies inside; None if it is apart. Raises `OSError`."""
        real, identity = _resolve_path(path), _identify_file(path)
        inside = next((self._folders[folder] for folder in (real, *real.parents) if folder in self._folders), None)
        return self._paths.get(real) or inside or (self._files.get(identity) if identity else None)

    def find_in(self, folder: Path) -> str | None:
        """Return the words for an input that lies inside a folder; None if there is none."""
        return self._parents.get(_resolve_path(folder))


def check_run_paths(items: Sequence[BatchItem], request: UpscaleRequest, files: Mapping[str, Path | None]) -> None:
    """Raise `OptionError` if a run would write over what it reads, or two files of a run have one name.

    `items` are all slides of the run with their results, also those of other shards; `files` are the other files that
    it writes, by option. It is cheap: call it before any work, in a dry run, too.
    """
    inputs = InputPaths()
    for path, words in _list_inputs(items, request):
        with translate_disk_errors(path):
            inputs.add(path, words)
    for item in items:
        with translate_disk_errors(item.output):
            replaced = inputs.find(item.output) or inputs.find_in(item.output)
        if replaced and not _is_refused_as_derived(item.output, request):
            is_own = replaced == _describe_slide(item.slide)
            what = "belongs to the slide" if is_own else f"the result of {item.slide} would replace {replaced}"
            raise OptionError(f"{item.output}: {what}; give the result another name or folder")
    written = {_resolve_path(item.output): "is to be a result of this run too" for item in items}
    for option, file in files.items():
        if file is not None:
            _check_file_of_run(option, file, inputs, written)


def check_run_folders(folders: Mapping[str, Path | None]) -> None:
    """Raise `OutputError` if one of the folders does not exist; they come by words for what they will hold."""
    for words, folder in folders.items():
        if folder is None:
            continue
        with translate_disk_errors(folder):
            if not folder.is_dir():
                raise OutputNameError(f"{folder}: no folder for {words}; create it first")


def _check_file_of_run(option: str, file: Path, inputs: InputPaths, written: dict[Path, str]) -> None:
    """Raise `OptionError` if a file is read or written otherwise, and add it to what is written."""
    real = _resolve_path(file)
    with translate_disk_errors(file):
        words = inputs.find(file)
    taken = next((written[path] for path in (real, *real.parents) if path in written), None)
    if words or taken:
        what = f"belongs to {words}, which this run reads" if words else taken
        raise OptionError(f"{file}: {what}; choose another name", option=option)
    written[real] = f"is the file of {option} too"


def _is_refused_as_derived(output: Path, request: UpscaleRequest) -> bool:
    """Return whether an output is a result of an earlier run, which shells give as a slide for `*.svs`.

    It is then refused as a slide by itself, and stops no other.
    """
    from wsisr.upscaling.finished import is_written_by_wsisr

    return not request.allow_derived and output.is_file() and is_written_by_wsisr(output)


def _list_inputs(items: Sequence[BatchItem], request: UpscaleRequest) -> Iterator[tuple[Path, str]]:
    for item in items:
        yield item.slide, _describe_slide(item.slide)
    if request.tissue not in ("auto", "none"):
        yield Path(request.tissue), f"the file of --tissue, {request.tissue}"
    if request.model is not None and Path(request.model).is_file():
        yield Path(request.model), f"the file of --model, {request.model}"


def _describe_slide(slide: Path) -> str:
    return f"the slide {slide}"


def _resolve_path(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _identify_file(path: Path) -> tuple[int, int] | None:
    """Return disk and inode of what a path leads to; None where nothing is."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
