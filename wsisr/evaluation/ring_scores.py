"""Resolution by Fourier ring correlation with the truth, of a level and over cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from wsisr.evaluation.confidence import mean_interval
from wsisr.imaging.ring_correlation import CORRELATION_THRESHOLD, RING_WINDOW_PX, RingCorrelation


@dataclass(frozen=True, slots=True)
class RingScores:
    """Ring correlation of a row's images with their truth, never of an image with itself."""

    model: RingCorrelation
    bicubic: RingCorrelation
    back_projection: RingCorrelation
    mpp: float | None
    """Pixel size of the truth in um/px."""

    def resolutions_um(self) -> tuple[float, float, float] | None:
        """Return the resolution in um of bicubic, back-projection and model; None if the pixel size is not known."""
        if self.mpp is None:
            return None
        bicubic, back_projection, model = (
            each.resolution_um(self.mpp) for each in (self.bicubic, self.back_projection, self.model)
        )
        return bicubic, back_projection, model

    def to_json(self) -> dict[str, Any]:
        """Return cutoffs in cycles per px, resolutions in um, and curves by ring."""
        resolutions = self.resolutions_um() or (None, None, None)
        images = {"bicubic": self.bicubic, "back_projection": self.back_projection, "model": self.model}
        return {
            "threshold": CORRELATION_THRESHOLD,
            "window_px": RING_WINDOW_PX,
            **{
                name: {
                    "cutoff": image.cutoff,
                    "resolution_um": resolution,
                    "curve": [round(value, 4) for value in image.values],
                }
                for (name, image), resolution in zip(images.items(), resolutions, strict=True)
            },
        }


@dataclass(frozen=True, slots=True)
class ResolutionSummary:
    """Resolution in um on one input: means over cases of means over each case's rows."""

    cases: int
    bicubic: float
    back_projection: float
    model: float
    interval: tuple[float, float] | None
    """The 95 % interval over cases of the model's resolution less bicubic's; None for one case. Below 0 is finer."""


def summarise_resolutions(cases: Sequence[Sequence[RingScores]]) -> ResolutionSummary | None:
    """Summarise the rows of each case on one input; None if no row has a resolution."""
    of_cases = [[found for row in rows if (found := row.resolutions_um())] for rows in cases]
    of_cases = [rows for rows in of_cases if rows]
    if not of_cases:
        return None

    def average(value: Callable[[tuple[float, float, float]], float]) -> list[float]:
        return [fmean(map(value, rows)) for rows in of_cases]

    return ResolutionSummary(
        cases=len(of_cases),
        bicubic=fmean(average(lambda row: row[0])),
        back_projection=fmean(average(lambda row: row[1])),
        model=fmean(average(lambda row: row[2])),
        interval=mean_interval(average(lambda row: row[2] - row[0])),
    )
