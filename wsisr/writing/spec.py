"""The specification of a pyramid to be written: size, pixel size, compression and metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wsisr.errors import OutputError
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb
from wsisr.writing.encoding.codec import Codec

if TYPE_CHECKING:  # pydicom takes 0.2 s to import
    from wsisr.slides.dicom_context import DicomContext


@dataclass(frozen=True, slots=True)
class PyramidSpec:
    """All decisions about a tiled pyramid that are made before its first pixel is written."""

    size: Size
    """Size of level 0 in px."""
    mpp: float | None
    """Pixel size of level 0 in um/px; None if it is not known, and then the file does not state any."""
    tile_px: int = 256
    """Side of a tile on every level; a multiple of 16."""
    origin_um: tuple[float, float] = (0.0, 0.0)
    """Centre of this image's first pixel, x and y in um, relative to the centre of the whole slide's first pixel."""
    codec: Codec = field(default_factory=Codec)
    """Compression of the tiles."""
    magnification: float | None = None
    """Objective magnification that corresponds to level 0; None if it is not known."""
    title: str = ""
    """Text on the label image, and name of the image in OME metadata."""
    layout: str | None = None
    """A name in `LAYOUTS`; None selects the layout by the output's suffix."""
    icc: bytes | None = field(default=None, repr=False)
    """ICC profile of the pixels; stored with level 0 only."""
    associated_images: Mapping[str, Rgb] = field(default_factory=dict, repr=False, compare=False)
    """The slide's `label` and `macro` images to copy, if any: (h, w, 3) sRGB by name."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Provenance of the image as text entries, for people and programs; `read_metadata` reads them back."""
    dicom: DicomContext | None = field(default=None, repr=False, compare=False)
    """What a DICOM output states beside its pixels; None for what holds of any slide."""
    software: str = "wsisr"
    """Program and version, in ASCII."""
    bigtiff: bool | None = None
    """Whether to use 64-bit offsets, which some old readers lack; None uses them only if the file may exceed 4 GB."""

    def __post_init__(self) -> None:
        if self.size.width < 1 or self.size.height < 1:
            raise OutputError(f"an image of {self.size} px cannot be written; both sides must be at least 1 px")
        # TIFF 6.0 requires tile sides that are multiples of 16.
        if self.tile_px % 16 or not 16 <= self.tile_px <= 4096:
            raise OutputError(f"tile size {self.tile_px} px cannot be written; choose a multiple of 16 up to 4096")
        # TIFF keeps px/cm as a ratio of 32-bit numbers: outside this range it would overflow or round.
        if self.mpp is not None and not 1e-4 <= self.mpp <= 1e4:
            raise OutputError(f"pixel size {self.mpp} um/px cannot be written; it must lie between 0.0001 and 10000")
