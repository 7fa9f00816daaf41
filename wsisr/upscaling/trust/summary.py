"""What a trust layer says of a result in a line, and where it goes. Nothing heavy is imported: requests use it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from wsisr.tissue.map import BoolMask

SHOWN_BOUNDS = (5, 10, 20)
"""Grey levels within which the summary tells the share of tissue."""

NOT_CALIBRATED, LARGEST_BOUND = 255, 254
"""Values of the layer: a cell of which nothing is known, and the largest bound in grey levels."""

BoundPlane: TypeAlias = npt.NDArray[np.uint8]
"""(rows, columns): the bound of each cell's error in grey levels, 255 where nothing is known."""


@dataclass(frozen=True, slots=True)
class CellMaps:
    """The cells of a region, (rows, columns) each; filled block by block."""

    bounds: BoundPlane
    is_glass: BoolMask
    """Which cells are as light as glass: no tissue, wherever a coarser map of tissue has its edges."""

    @classmethod
    def allocate(cls, columns: int, rows: int) -> CellMaps:
        return cls(np.full((rows, columns), NOT_CALIBRATED, np.uint8), np.ones((rows, columns), bool))


@dataclass(frozen=True, slots=True)
class TrustSummary:
    """What share of a result's tissue is how far from the truth at most, with a probability of 90 %."""

    cells: int
    """Cells of 8 x 8 px of the slide with tissue."""
    within: Mapping[int, float]
    """Grey levels to the share of tissue, 0 to 1, whose error is bounded by them."""
    unknown: float
    """Share of tissue that is unlike what the bound was calibrated on."""
    knows_scanner: bool
    """Whether the slide's scanner is among those of the calibration."""

    @classmethod
    def from_bounds(cls, bounds: BoundPlane, tissue: BoolMask, *, knows_scanner: bool) -> TrustSummary:
        values = bounds[tissue]
        shares = {level: float(np.mean(values <= level)) if values.size else 0.0 for level in SHOWN_BOUNDS}
        unknown = float(np.mean(values == NOT_CALIBRATED)) if values.size else 0.0
        return cls(int(values.size), shares, unknown, knows_scanner)

    def to_json(self) -> dict[str, Any]:
        """Return the entry of a JSON report; its keys are stable, shares are 0 to 1."""
        within = {str(level): round(share, 4) for level, share in self.within.items()}
        return {"cells": self.cells, "within": within, "unknown": round(self.unknown, 4), "scanner": self.knows_scanner}

    def __str__(self) -> str:
        """Return the shares in words."""
        if not self.cells:
            return "no tissue"
        shares = ", ".join(f"{_format_share(share)} within {level}" for level, share in self.within.items())
        unknown = f"; not calibrated for {_format_share(self.unknown)}" if self.unknown >= 0.005 else ""
        hold = "9 of 10 such bounds hold" if self.knows_scanner else "not calibrated for its scanner"
        return f"of the tissue, {shares} grey levels of the truth ({hold}){unknown}"


def _format_share(share: float) -> str:
    return f"{100 * share:.0f} %"


@dataclass(frozen=True, slots=True)
class TrustFiles:
    """Where the layer and the doubtful areas of a result go."""

    layer: Path
    areas: Path

    @classmethod
    def from_output(cls, output: Path, suffix: str) -> TrustFiles:
        """Return the paths beside an output; `suffix` is that of its layout."""
        stem = output.name.removesuffix(suffix) if output.name.endswith(suffix) else output.stem
        return cls(output.with_name(f"{stem}.trust.ome.tif"), output.with_name(f"{stem}.doubtful.geojson"))

    @property
    def are_written(self) -> bool:
        return self.layer.exists() and self.areas.exists()


@dataclass(frozen=True, slots=True)
class TrustSaved:
    """The trust layer and the doubtful areas are written."""

    path: Path
    areas_path: Path
    areas: int
    summary: TrustSummary
