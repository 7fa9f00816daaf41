"""Output paths: where the result of a slide goes if its name is not given."""

from __future__ import annotations

from pathlib import Path

from wsisr.errors import OutputError
from wsisr.files import is_zarr, translate_disk_errors


def is_output_folder(output: Path) -> bool:
    """Return whether an output is a folder for several results, not an OME-Zarr, which is a folder itself."""
    from wsisr.writing.layouts.catalog import LAYOUTS

    return output.is_dir() and output.suffix.lower() not in LAYOUTS["ome-zarr"].suffixes and not is_zarr(output)


def output_path_for(folder: Path | None, slide: Path, ending: str) -> Path:
    """Return the output path of one slide of several: in the folder, or without one beside the slide."""
    from wsisr.upscaling.request import default_output_path

    path = default_output_path(slide, ending)
    return folder / path.name if folder else path


def create_output_folder(folder: Path) -> None:
    """Create a folder for several results if it is missing. Raises `OutputError` if the name is that of one result."""
    from wsisr.writing.layouts.catalog import LAYOUTS

    if is_zarr(folder):
        raise OutputError(f"{folder}: is an OME-Zarr, not a folder for several results; choose another name")
    if not folder.is_dir() and any(folder.suffix.lower() in layout.suffixes for layout in LAYOUTS.values()):
        raise OutputError(f"{folder}: is a name for one result, not for several slides; give a folder")
    with translate_disk_errors(folder):
        folder.mkdir(exist_ok=True)
