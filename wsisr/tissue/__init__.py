"""Where there is something worth a network's time: found on a low level, or marked by a person."""

from __future__ import annotations

from pathlib import Path

from wsisr.slides import Slide
from wsisr.tissue.map import TissueMap, everywhere

__all__ = ["TissueMap", "everywhere", "tissue_of"]


def tissue_of(slide: Slide, choice: str | Path = "auto") -> TissueMap:
    """`auto` finds it, `none` takes everything for tissue; else a GeoJSON of annotations, or a mask picture.

    Raises `ConfigError` where the file cannot be used, `SlideError` where the slide cannot be read.
    """
    if choice == "none":
        return everywhere()
    # OpenCV takes a moment to import, and not every run needs it.
    from wsisr.tissue.annotation import from_geojson, from_picture  # noqa: PLC0415
    from wsisr.tissue.detection import detect  # noqa: PLC0415

    if choice == "auto":
        return detect(slide)
    path = Path(choice)
    read = from_geojson if path.suffix.lower() in (".geojson", ".json") else from_picture
    return read(path, slide.info.size)
