"""The inputs on which upscalers are scored: made of a truth, which may be faded or between levels, or a real level."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from wsisr.imaging.jpeg import SLIDE_QUALITY, recompress_jpeg
from wsisr.imaging.pixels import FilterName, Rgb, shrink_image

DENSITIES = (1.5, 0.5, 0.3, 0.15)
"""Factors of the optical density beside 1: a dark slide, and slides that have faded."""

COARSENINGS = tuple(2 ** (quarter / 4) for quarter in (1, 2, 3))
"""Factors by which a truth is shrunk first: pixel sizes in steps of 2^(1/4) between levels that are twice as coarse."""


@dataclass(frozen=True, slots=True)
class EvaluationInput:
    """How truth and input of a row are made of a level."""

    kernel: FilterName | None = "area"
    """Filter that shrinks the truth to the input; None if the input is a stored level."""
    quality: int | None = None
    """JPEG quality to which the input is compressed then (4:2:0); None if it is not."""
    density: float = 1.0
    """Factor of the optical density of the truth, before the input is made of it."""
    coarsening: float = 1.0
    """Factor by which the level is shrunk by area mean before it is the truth."""
    stored_level: int | None = None
    """Level of the slide that is the input; the truth is level 0, shrunk by area mean where levels lie between."""

    @property
    def label(self) -> str:
        """What it is in a table: `as stored`, `area`, `bicubic, JPEG 50`, `as stored, density 0.3`, `stored level`."""
        if self.stored_level is not None:
            return "stored level"
        compressed = "" if self.quality is None else f", JPEG {self.quality}"
        made = (
            "as stored" if self == replace(self, kernel="area", quality=SLIDE_QUALITY) else f"{self.kernel}{compressed}"
        )
        faded = "" if self.density == 1 else f", density {self.density:g}"
        return f"{made}{faded}" if self.coarsening == 1 else f"{made}{faded}, {self.coarsening:.3g} coarser"

    def make_low(self, high: Rgb, scale: int) -> Rgb:
        """Make the input (h, w, 3) of its truth (h*scale, w*scale, 3). Not for a stored level, which is read."""
        if self.kernel is None:
            raise ValueError("a stored level is not made of its truth")
        low = shrink_image(high, scale, self.kernel)
        return low if self.quality is None else recompress_jpeg(low, self.quality)


AS_STORED = EvaluationInput(quality=SLIDE_QUALITY)
"""Area mean, then JPEG of quality 75 with 4:2:0: what stands for a slide as an archive holds it."""


def list_inputs(
    kernels: Sequence[FilterName],
    quality: int | None = None,
    *,
    as_stored: bool = True,
    densities: bool = False,
    pixel_sizes: bool = False,
) -> list[EvaluationInput]:
    """List the inputs of a table: as stored first, then each kernel, then the variations of the first of them."""
    plain = [*([AS_STORED] if as_stored else []), *(EvaluationInput(kernel, quality) for kernel in kernels)]
    varied = _list_variations(plain[0], densities=densities, pixel_sizes=pixel_sizes)
    return list(dict.fromkeys([*plain, *varied]))


def _list_variations(first: EvaluationInput, *, densities: bool, pixel_sizes: bool) -> Iterator[EvaluationInput]:
    if densities:
        yield from (replace(first, density=factor) for factor in DENSITIES)
    if pixel_sizes:
        yield from (replace(first, coarsening=factor) for factor in COARSENINGS)
