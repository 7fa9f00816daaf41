"""Naming: where the result of a slide goes, unless a name was given."""

from __future__ import annotations

from pathlib import Path

from wsisr.errors import OutputError
from wsisr.files import is_zarr, translate_disk_errors


def default_output_path(slide: Path, ending: str) -> Path:
    """`dir/a.svs` at x4 to `dir/a.x4.ome.tif`; beside the slide."""
    whole = slide.resolve() if slide.is_dir() else slide
    stem = whole.name if slide.is_dir() else slide.stem
    return whole.with_name(f"{stem.removesuffix('.zarr').removesuffix('.ome')}.{ending}")


def is_output_folder(output: Path) -> bool:
    """Whether an output is a folder for many, and no OME-Zarr, which is a folder itself."""
    from wsisr.writing.layouts.catalog import LAYOUTS

    return output.is_dir() and output.suffix.lower() not in LAYOUTS["ome-zarr"].suffixes and not is_zarr(output)


def output_path_for(folder: Path | None, slide: Path, ending: str) -> Path:
    """The output of one slide of many: in that folder, or beside the slide."""
    beside = default_output_path(slide, ending)
    return folder / beside.name if folder else beside


def create_output_folder(folder: Path) -> None:
    """For the results of many, unless it is there. Raises `OutputError` where the name is one for a single result."""
    from wsisr.writing.layouts.catalog import LAYOUTS

    if is_zarr(folder):
        raise OutputError(f"{folder}: is an OME-Zarr, no folder for many; choose another")
    if not folder.is_dir() and any(folder.suffix.lower() in layout.suffixes for layout in LAYOUTS.values()):
        raise OutputError(f"{folder}: several slides have a result each; give the name of a folder for them")
    with translate_disk_errors(folder):
        folder.mkdir(exist_ok=True)
