"""Naming: where the result of a slide goes, unless a name was given."""

from __future__ import annotations

from pathlib import Path

from wsisr.errors import OutputError
from wsisr.files import disk_errors, is_zarr


def default_output(slide: Path, ending: str) -> Path:
    """`dir/a.svs` at x4 to `dir/a.x4.ome.tif`; beside the slide."""
    whole = slide.resolve() if slide.is_dir() else slide
    stem = whole.name if slide.is_dir() else slide.stem
    return whole.with_name(f"{stem.removesuffix('.zarr').removesuffix('.ome')}.{ending}")


def takes_many(output: Path) -> bool:
    """Whether an output is a folder for many, and no OME-Zarr, which is a folder itself."""
    from wsisr.writing.layouts import LAYOUTS

    return output.is_dir() and output.suffix.lower() not in LAYOUTS["ome-zarr"].suffixes and not is_zarr(output)


def output_in(folder: Path | None, slide: Path, ending: str) -> Path:
    """The output of one slide of many: in that folder, which is made, or beside the slide."""
    beside = default_output(slide, ending)
    if folder is None:
        return beside
    if is_zarr(folder):
        raise OutputError(f"{folder}: is an OME-Zarr, no folder for many; choose another")
    with disk_errors(folder):
        folder.mkdir(exist_ok=True)
    return folder / beside.name
