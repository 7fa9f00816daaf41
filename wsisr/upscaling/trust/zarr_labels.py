"""The trust layer as a labelled image in an OME-Zarr result, for viewers that know nothing of the file beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from wsisr.errors import OutputError
from wsisr.upscaling.trust.colours import list_bound_colours
from wsisr.upscaling.trust.layer import halve_bounds
from wsisr.upscaling.trust.summary import NOT_CALIBRATED, BoundPlane
from wsisr.writing.layouts.ome_zarr_labels import LabelImage, count_zarr_levels, list_labels, write_label_image

LABEL_NAME = "trust"


def write_zarr_labels(result: Path, bounds: BoundPlane, px_per_cell: int, metadata: Mapping[str, str]) -> None:
    """Write bounds into a finished result; a cell is `px_per_cell` px of it wide. An older layer is replaced.

    Raises `OutputError` if the result holds labels of others, and if the disk refuses.
    """
    others = [name for name in list_labels(result) if name != LABEL_NAME]
    if others:
        raise OutputError(f"{result}: holds other labels ({others[0]}), which stay; remove them for a layer of trust")
    planes = [bounds]
    while len(planes) < count_zarr_levels(result):
        planes.append(halve_bounds(planes[-1]))
    colours = {
        value: (red, green, blue, alpha)
        for value, (red, green, blue, alpha) in enumerate(list_bound_colours().tolist())
    }
    label = LabelImage(LABEL_NAME, planes, px_per_cell, colours, NOT_CALIBRATED, metadata)
    write_label_image(result, label, overwrite=True)
