"""Outputs that exist already: whether they are what is requested, and whether they may be replaced."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Event

from wsisr.errors import OutputError, OutputNameError, WsisrError
from wsisr.files import check_output, check_suffix, is_zarr, refuse_source, translate_disk_errors
from wsisr.remote.path import is_url
from wsisr.slides import SlideInfo, open_slide
from wsisr.slides.files import hash_slide
from wsisr.upscaling.provenance import describe_difference, digest_metadata, read_derived_metadata
from wsisr.upscaling.request import UpscaleRequest
from wsisr.writing import WorkFolder, read_metadata
from wsisr.writing.layouts.catalog import select_layout


def find_finished_metadata(
    output: Path, requested: Mapping[str, str], info: SlideInfo, *, compares_hardware: bool = False
) -> Mapping[str, str]:
    """Return the metadata of an output that was made of the same slide with the same options; empty if there is none.

    Device and precision are compared where the request names one; by default any will do.

    Raises `OutputError` for a file that wsisr made otherwise. A file of another program is not finished; that it may
    not be replaced is checked elsewhere.
    """
    finished = read_derived_metadata(output) if output.exists() else {}
    difference = describe_difference(finished, requested, compares_hardware=compares_hardware) if finished else None
    if finished and not difference:  # only now, because it reads all of the slide
        digest = digest_metadata(hash_slide(info, Event()))
        difference = describe_difference(finished, {**requested, **digest}, compares_hardware=compares_hardware)
    if difference:
        advice = "choose another name, or replace it with --overwrite"
        raise OutputError(f"{output}: exists already, from another slide or other options ({difference}); {advice}")
    return finished


def is_written_by_wsisr(output: Path) -> bool:
    """Return whether there is an output already and wsisr wrote it."""
    with translate_disk_errors(output):
        return (output.is_file() or output.is_dir()) and bool(read_derived_metadata(output))


def refuse_foreign_slide(output: Path) -> None:
    """Raise `OutputError` if there is a slide of another program at an output: it may be somebody's only scan."""
    with translate_disk_errors(output):
        is_there = is_zarr(output) or output.is_file() if is_url(output) else os.path.lexists(output)
    if is_there and not is_written_by_wsisr(output) and _is_slide(output):
        advice = "wsisr never replaces such a slide; choose another name, or remove it by hand"
        raise OutputError(f"{output}: exists already, and wsisr did not write it; {advice}")


def _is_slide(path: Path) -> bool:
    """Return whether a path can be opened as a slide, is at least a TIFF, OME-Zarr or DICOM, or may not be read."""
    if path.exists() and not os.access(path, os.R_OK):
        return True
    with suppress(WsisrError):
        read_metadata(path)
        return True
    with suppress(WsisrError), open_slide(path, estimate=True):
        return True
    return False


def check_url_output_place(request: UpscaleRequest) -> None:
    """Raise `OutputError` if an output by URL could not be written, whatever there is; any other is none of its."""
    output = request.output_path
    if is_url(output):
        if request.trust_files:
            raise OutputNameError(
                f"{output}: --trust cannot go with a result in a bucket; leave it out, or give a path"
            )
        select_layout(output, request.layout_name).check_output(output, overwrite=True)
        if request.work_path is None:
            raise OutputNameError(f"{output}: finished tiles are kept on this machine; give a folder with --work-dir")


def check_output_names(request: UpscaleRequest, *, overwrite: bool) -> None:
    """Raise `OutputError` if the output or the mask could not get its name, or the folder for work is missing."""
    output, mask = request.output_path, request.mask_path
    WorkFolder(parent=request.work_path)  # which looks for the folder
    if mask:
        refuse_source(mask, request.slide_path)
        given = Path(request.tissue)
        if mask.exists() and given.exists() and mask.samefile(given):
            raise OutputError(f"{mask}: is the mask that tissue is taken from; give the new one another name")
        check_suffix(mask, (".png",))
        check_output(mask, overwrite=overwrite)
    if request.trust_files:
        for path in (request.trust_files.layer, request.trust_files.areas):
            refuse_source(path, request.slide_path)
            check_output(path, overwrite=overwrite)
    select_layout(output, request.layout_name).check_output(output, overwrite=overwrite)
