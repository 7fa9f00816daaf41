"""Output paths: where the result of a slide goes if its name is not given."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wsisr.errors import ConfigError, OutputError, OutputNameError
from wsisr.files import LOCAL_OUTPUT_ADVICE, is_zarr, translate_disk_errors
from wsisr.remote.path import is_url, make_path

if TYPE_CHECKING:
    from wsisr.slides.listing import SlideEntry


def is_output_folder(output: str, layout: str | None = None) -> bool:
    """Return whether an output is a folder for results, however many: it ends in a slash, exists, or has no suffix.

    An OME-Zarr or a DICOM slide, which is a folder itself, is one result. With a layout, a name without a suffix is
    one result.
    """
    path = Path(output)
    if is_url(output) and path.suffix.lower() == ".zarr":
        return False
    if output.endswith(("/", os.sep)):
        return True
    if path.is_dir():
        return _describe_result(path) is None
    return not path.suffix and layout is None and not path.exists()


def _describe_result(folder: Path) -> str | None:
    """Return what a folder is that is one result by its name or its content; None for any other folder."""
    from wsisr.writing.layouts.catalog import LAYOUTS

    if is_zarr(folder) or LAYOUTS["ome-zarr"].is_output(folder):
        return "an OME-Zarr"
    return "a DICOM slide" if LAYOUTS["dicom"].is_output(folder) else None


def output_path_for(folder: Path | None, entry: SlideEntry, ending: str) -> Path:
    """Return the output path of one slide of several: in the folder, or without one beside the slide.

    A table may name it; a name without a suffix gets the ending. Raises `ConfigError`, with the line of the table, for
    a relative name that leads out of the folder.
    """
    from wsisr.upscaling.request import default_output_path, result_name

    if entry.output is None:
        return folder / result_name(entry.path, ending) if folder else default_output_path(entry.path, ending)
    if is_url(entry.output):
        raise ConfigError(f"{entry.origin}: output is a URL; {LOCAL_OUTPUT_ADVICE}")
    if entry.output.name in ("", ".."):
        raise ConfigError(f"{entry.origin}: output {entry.output} is a folder; give the name of a result")
    if folder and not entry.output.is_absolute() and Path(os.path.normpath(entry.output)).parts[0] == "..":
        raise ConfigError(
            f"{entry.origin}: output {entry.output} is outside {folder}, where the results go; give a name in it, or a "
            "path from the root"
        )
    if folder is None and is_url(entry.path) and not entry.output.is_absolute():
        raise ConfigError(f"{entry.origin}: output {entry.output} would lie beside a URL; give a folder with -o")
    name = entry.output if entry.output.suffix else entry.output.with_name(f"{entry.output.name}.{ending}")
    return (folder or entry.path.parent) / name


def refuse_rows_of_one_output(entries: Sequence[SlideEntry], outputs: Sequence[Path]) -> None:
    """Raise `ConfigError` if one slide is listed twice with one output, under whatever names."""
    first: dict[tuple[str, str], SlideEntry] = {}
    for entry, output in zip(entries, outputs, strict=True):
        key = os.path.abspath(entry.path), os.path.abspath(output)  # noqa: PTH100 - follows no links
        other = first.setdefault(key, entry)
        if other is not entry:
            origins = " and ".join(each.origin or "a slide outside the table" for each in (other, entry))
            raise ConfigError(f"{output}: is the output of {entry.path} in {origins}; leave one out")


def create_output_folder(folder: Path) -> None:
    """Create a folder for several results if it is missing. Raises `OutputError` if the name is that of one result."""
    check_output_folder(folder)
    with translate_disk_errors(folder):
        folder.mkdir(exist_ok=True)


def check_output_folder(folder: Path) -> None:
    """Raise `OutputError` if a folder for several results could not be created, or the name is that of one result."""
    from wsisr.writing.layouts.catalog import LAYOUTS

    if is_url(folder):
        raise OutputNameError(f"{make_path(folder)}: {LOCAL_OUTPUT_ADVICE}")
    result = _describe_result(folder) if folder.is_dir() else None
    if result:
        raise OutputError(f"{folder}: is {result}, not a folder for several results; choose another name")
    if not folder.is_dir() and any(folder.suffix.lower() in layout.suffixes for layout in LAYOUTS.values()):
        raise OutputNameError(f"{folder}: is a name for one result, not for several slides; give a folder")
    if not folder.parent.is_dir():
        raise OutputNameError(f"{folder}: there is no folder {folder.parent}; create it first")
