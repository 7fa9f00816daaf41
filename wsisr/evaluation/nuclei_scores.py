"""How well the nuclei of enlarged images agree with those of the truth: scores of a level, and over cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from wsisr.evaluation.confidence import mean_interval


@dataclass(frozen=True, slots=True)
class NucleiScores:
    """Nuclei found in an enlarged image, beside those of the truth."""

    count: int
    count_error: float
    """Nuclei more than in the truth, as a share of those; 0 if neither has any."""
    f1: float
    """2 x pairs over nuclei of both; pairs are one to one, centroids at most 3 um apart. 1 if neither has any."""
    dice: float
    """2 x common area over area of both; 1 if neither has any."""
    area_error: float | None
    """Mean absolute difference of area in pairs, as a share of the truth's; None without pairs."""


@dataclass(frozen=True, slots=True)
class NucleiComparison:
    """Nuclei of a row of the table."""

    truth_count: int
    mean_area_um2: float | None
    """Of the truth's nuclei; None if there are none."""
    model: NucleiScores
    bicubic: NucleiScores


@dataclass(frozen=True, slots=True)
class NucleiSummary:
    """Nuclei on one input: means over cases of means over each case's rows. Rows where no image has a nucleus, as of
    glass, tell nothing and are left out."""

    rows: int
    cases: int
    model_f1: float
    bicubic_f1: float
    interval: tuple[float, float] | None
    """The 95 % interval over cases of the model's F1 minus bicubic's; None for one case."""
    rows_below: int
    """Rows in which the model's F1 is below bicubic's."""
    model_count_error: float
    """Mean of absolute values."""
    bicubic_count_error: float
    model_dice: float
    bicubic_dice: float
    model_area_error: float | None
    bicubic_area_error: float | None

    @property
    def gap_closed(self) -> float | None:
        """Share of bicubic's gap to the truth, whose F1 with itself is 1, that the model closes; None without a gap."""
        return None if self.bicubic_f1 == 1 else (self.model_f1 - self.bicubic_f1) / (1 - self.bicubic_f1)


def summarise_nuclei(cases: Sequence[Sequence[NucleiComparison]]) -> NucleiSummary | None:
    """Summarise the rows of each case on one input; None if no case has a row with a nucleus."""
    cases = [shown for rows in cases if (shown := [row for row in rows if _has_nuclei(row)])]
    if not cases:
        return None
    rows = [row for of_case in cases for row in of_case]

    def average(value: Callable[[NucleiComparison], float]) -> list[float]:
        return [fmean(map(value, of_case)) for of_case in cases]

    def average_area(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return fmean(known) if known else None

    return NucleiSummary(
        rows=len(rows),
        cases=len(cases),
        model_f1=fmean(average(lambda row: row.model.f1)),
        bicubic_f1=fmean(average(lambda row: row.bicubic.f1)),
        interval=mean_interval(average(lambda row: row.model.f1 - row.bicubic.f1)),
        rows_below=sum(row.model.f1 < row.bicubic.f1 for row in rows),
        model_count_error=fmean(average(lambda row: abs(row.model.count_error))),
        bicubic_count_error=fmean(average(lambda row: abs(row.bicubic.count_error))),
        model_dice=fmean(average(lambda row: row.model.dice)),
        bicubic_dice=fmean(average(lambda row: row.bicubic.dice)),
        model_area_error=average_area([row.model.area_error for row in rows]),
        bicubic_area_error=average_area([row.bicubic.area_error for row in rows]),
    )


def _has_nuclei(row: NucleiComparison) -> bool:
    return bool(row.truth_count or row.model.count or row.bicubic.count)
