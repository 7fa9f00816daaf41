"""Tissue on a slide: detected on a low level, or marked by a person or another program."""

from __future__ import annotations

from pathlib import Path

from wsisr.slides import Slide
from wsisr.tissue.map import TissueMap, make_full_map

__all__ = ["ORIGINS", "TissueMap", "find_tissue", "make_full_map"]


ORIGINS = ("auto", "canvas", "bounds")
"""What coordinates and masks may refer to: the whole canvas, or the scanned bounds; `auto` is what hits the scan."""

_GEOJSON_SUFFIXES = (".geojson", ".json", ".geojson.gz", ".json.gz")


def find_tissue(slide: Slide, choice: str | Path = "auto", origin: str = "auto") -> TissueMap:
    """Return the tissue map of a slide: `auto` detects it, `none` takes everything as tissue, and a path is read as
    GeoJSON annotations or as a mask picture.

    Marks refer to the slide's canvas or to its scanned bounds, as `origin` says; `auto` finds out, where it can.
    Raises `AnnotationError` if the file cannot be used, `SlideError` if the slide cannot be read.
    """
    if choice == "none":
        return make_full_map()
    # Importing OpenCV takes time, and not every run needs it.
    from wsisr.tissue.annotation import Canvas, read_geojson, read_mask_picture  # noqa: PLC0415
    from wsisr.tissue.detection import detect_tissue  # noqa: PLC0415

    if choice == "auto":
        return detect_tissue(slide)
    path, canvas = Path(choice), Canvas(slide.info.size, slide.info.bounds, origin)
    return (read_geojson if path.name.lower().endswith(_GEOJSON_SUFFIXES) else read_mask_picture)(path, canvas)
