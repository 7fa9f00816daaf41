"""Verdicts: what the figures of a result mean to the person who made it, and where to look."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from wsisr.upscaling.background import advise_on_missing_tissue

if TYPE_CHECKING:
    from wsisr.upscaling.plan import UpscalePlan
    from wsisr.upscaling.report import ConsistencyFigures, QualityFigures, SeamFigures

SEAM_MEAN, SEAM_WORST = 1.2, 2.5
"""Roughness across the borders of tiles, on average and at the worst border, up to which no seam is told of.

Bicubic cannot leave seams. On the demo slide and nine of the DEV slides its mean was at most 1.08, its worst border
2.03: structures of the tissue lie there. A network whose tiles did not overlap had a mean of 1.46 (`python -m
tests.bench seams`).
"""

WRONG_EVERYWHERE, WRONG_TILE, WRONG_TILE_RATIO = 25.0, 10.0, 3.0
"""Consistency error in grey levels from which on a result departs from its input: on average, or in one tile, if that
is also so many times the average.

Bicubic's was at most 2.9 on average and 3.8 in a tile of the same slides; of nothing but noise it is 17, everywhere.
"""

FEW = 0.01
"""Share of the area below which a mask is more likely misplaced than meant."""


class Verdict(NamedTuple):
    """A sentence, and whether all is well."""

    text: str
    is_good: bool


def judge_seams(seams: SeamFigures | None) -> Verdict:
    """Judge the roughness across the borders of tiles; None is a result without borders."""
    if seams is None:
        return Verdict("none, for the result is one tile", True)
    if seams.mean <= SEAM_MEAN and seams.worst <= SEAM_WORST:
        return Verdict("none found", True)
    return Verdict("perhaps between tiles: look at {}, {} in the output".format(*seams.worst_at), False)


def judge_consistency(errors: ConsistencyFigures) -> Verdict:
    """Judge how far the result, shrunk again, is from its input."""
    is_tile_wrong = errors.worst > max(WRONG_TILE, WRONG_TILE_RATIO * errors.mean)
    if errors.mean <= WRONG_EVERYWHERE and not is_tile_wrong:
        return Verdict(f"shrunk again, it is its input within {errors.mean:.1f} grey levels on average", True)
    place = "{}, {}".format(*errors.worst_at)
    return Verdict(f"it departs from its input by {errors.worst:.0f} grey levels: look at {place} in the output", False)


def judge_tissue(plan: UpscalePlan, choice: str) -> Verdict:
    """Judge on how much of the area the network was used; `choice` is the option `--tissue`."""
    mask = plan.background
    used, origin = 1 - mask.skipped_share, mask.options.tissue.origin
    elsewhere = "white" if mask.options.white else "bicubic"
    share = f"on {100 * used:.3g} % of the area" if mask.skipped_share else "everywhere"
    if used >= FEW:
        rest = f"; {elsewhere} elsewhere" if mask.skipped_share else "; nothing is made white" * mask.options.white
        return Verdict(f"{share}, {origin}{rest}", True)
    return Verdict(f"{share}: {advise_on_missing_tissue(choice)}", False)


def list_doubts(quality: QualityFigures) -> Iterator[str]:
    """Yield what should be looked at, to be told where there is no summary."""
    verdicts = {"seams": judge_seams(quality.seams), "consistency": judge_consistency(quality.consistency)}
    yield from (f"{subject}: {verdict.text}" for subject, verdict in verdicts.items() if not verdict.is_good)
