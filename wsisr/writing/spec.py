"""What a pyramid to be written is: its size, its pixel pitch, its coding, and what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from wsisr.errors import OutputError
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb
from wsisr.writing.encoding.codec import Codec


@dataclass(frozen=True, slots=True)
class PyramidSpec:
    """A tiled pyramid, decided before its first pixel."""

    size: Size
    """Level 0, in px."""
    mpp: float | None
    """Pixel pitch of level 0 in um/px; None where it is not known, and then the file does not state any."""
    tile_px: int = 256
    """Side of a tile on every level; a multiple of 16."""
    offset: tuple[float, float] = (0.0, 0.0)
    """Where the centre of the first pixel lies, x and y in um from that of the first pixel of the whole slide."""
    codec: Codec = field(default_factory=Codec)
    """How tiles are coded."""
    magnification: float | None = None
    """Of an objective that would show level 0 so; None where it is not known."""
    title: str = ""
    """What the label image says."""
    layout: str | None = None
    """A name in `LAYOUTS`; None is what the output's suffix stands for."""
    icc: bytes | None = field(default=None, repr=False)
    """ICC profile of the pixels; stored with level 0 only."""
    pictures: Mapping[str, Rgb] = field(default_factory=dict, repr=False, compare=False)
    """What is to be kept of the slide's `label` and `macro`: (h, w, 3) sRGB by name."""
    note: Mapping[str, str] = field(default_factory=dict)
    """Where the image comes from, in words, for people and programs; `read_note` gives it back."""
    software: str = "wsisr"
    """Program and version, in ASCII."""
    bigtiff: bool | None = None
    """64-bit offsets, which some old readers lack; None takes them only where the file may pass 4 GB."""

    def __post_init__(self) -> None:
        if self.size.width < 1 or self.size.height < 1:
            raise OutputError(f"an image of {self.size} px cannot be written; both sides must be at least 1 px")
        if self.tile_px % 16 or not 16 <= self.tile_px <= 4096:
            raise OutputError(f"tile size {self.tile_px} px cannot be written; choose a multiple of 16 up to 4096")
        # TIFF keeps px/cm as a ratio of 32-bit numbers: outside this range it would overflow or round.
        if self.mpp is not None and not 1e-4 <= self.mpp <= 1e4:
            raise OutputError(f"pixel pitch {self.mpp} um/px cannot be written; it must lie between 0.0001 and 10000")
