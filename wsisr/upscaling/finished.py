"""Outputs that exist already: whether they are what is requested, and whether they may be replaced."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from threading import Event

from wsisr.errors import OutputError
from wsisr.files import check_output, check_suffix, translate_disk_errors
from wsisr.slides import SlideInfo
from wsisr.slides.files import hash_slide
from wsisr.upscaling.provenance import describe_difference, digest_metadata, read_derived_metadata
from wsisr.upscaling.request import UpscaleRequest
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


def check_output_names(request: UpscaleRequest, *, overwrite: bool) -> None:
    """Raise `OutputError` if the output or the mask could not get its name."""
    output, mask = request.output_path, request.mask_path
    if mask:
        check_suffix(mask, (".png",))
        check_output(mask, overwrite=overwrite)
    select_layout(output, request.layout_name).check_output(output, overwrite=overwrite)
