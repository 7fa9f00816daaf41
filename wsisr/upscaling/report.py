"""The report of one slide: what was done, how long it took, and how good the result is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from wsisr.imaging.geometry import Size
from wsisr.upscaling.consistency import TileError
from wsisr.upscaling.estimate import RunEstimate
from wsisr.upscaling.plan import UpscalePlan
from wsisr.upscaling.provenance import FINDING_KEYS, UNREADABLE_KEY
from wsisr.upscaling.quality import QualityMonitor
from wsisr.upscaling.request import UpscaleRequest
from wsisr.upscaling.trust.summary import TrustSummary

JobState: TypeAlias = Literal["done", "planned", "finished before"]
"""`planned` is a dry run; `finished before` found an output of the same slide and options, and left it alone."""


@dataclass(frozen=True, slots=True)
class SeamFigures:
    """Roughness across the borders of tiles, as a ratio to elsewhere; 1 is no seam."""

    borders: int
    mean: float
    worst: float
    worst_at: tuple[int, int]
    """Where the roughest border begins, x and y in px of the result."""


@dataclass(frozen=True, slots=True)
class ConsistencyFigures:
    """Consistency error: how far the result, averaged back, is from its input. In grey levels."""

    mean: float
    percentile_99_9: int
    """The error that 99.9 % of the values do not exceed."""
    worst: float
    """Mean error of the tile where it is largest."""
    worst_at: tuple[int, int]
    """Where that tile begins, x and y in px of the result."""
    worst_tiles: tuple[TileError, ...] = ()
    """The tiles of the largest mean error, the worst first."""


@dataclass(frozen=True, slots=True)
class QualityFigures:
    """The quality of a result before it was stored, measured while it was made."""

    measured_share: float
    """Share of the tiles that were measured; below 1 where an earlier run cut the region into other tiles."""
    seams: SeamFigures | None
    """None where no border could be compared, as in a result of one tile."""
    consistency: ConsistencyFigures

    @classmethod
    def from_monitor(cls, monitor: QualityMonitor, tiles: int) -> QualityFigures:
        seams, errors = monitor.seams, monitor.consistency
        seam_figures = SeamFigures(seams.borders, seams.mean, seams.worst, seams.worst_at) if seams.borders else None
        consistency = ConsistencyFigures(
            errors.mean, errors.percentile_99_9, errors.worst, errors.worst_at, tuple(errors.worst_tiles)
        )
        return cls(monitor.measured_tiles / tiles, seam_figures, consistency)


@dataclass(frozen=True, slots=True)
class UpscaleReport:
    """What became of one slide."""

    slide: Path
    output: Path
    state: JobState
    model: str
    hardware: str
    """Device and precision of the computation, in words."""
    size: Size
    """Size of the result's level 0, in px."""
    mpp: float | None
    """Pixel size of the result, in um/px."""
    skipped_share: float
    """Share of the area without tissue, 0 to 1, for which no network was used."""
    tile_px: int
    """Input px that a tile completed, along one axis."""
    overlap_overhead: float
    """Pixels computed over pixels stored, minus 1."""
    seconds: float = 0.0
    finished_before: float = 0.0
    """Share of the result's pixels, 0 to 1, that an earlier run had finished."""
    output_bytes: int | None = None
    """Size of the finished output; None unless this run made it."""
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    """Working time of each stage; stages run in parallel, so their sum may exceed `seconds`."""
    quality: QualityFigures | None = None
    """None unless this run made the result."""
    estimate: RunEstimate | None = None
    """What the run would take, after a dry run."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What the finished file records about its origin."""
    warnings: tuple[str, ...] = ()
    trust: TrustSummary | None = None
    """How far the result may be off; None unless this run wrote a trust layer."""

    @classmethod
    def from_plan(cls, request: UpscaleRequest, plan: UpscalePlan, state: JobState, **figures: Any) -> UpscaleReport:
        """Return a report with what request and plan tell, and any other fields."""
        info = plan.upscaler.info
        return cls(
            slide=request.slide_path,
            output=request.output_path,
            state=state,
            model=info.name,
            hardware=info.hardware,
            size=plan.output.size,
            mpp=plan.output.mpp,
            skipped_share=plan.background.skipped_share,
            tile_px=plan.grid.tiling.core_px,
            overlap_overhead=plan.overlap_overhead,
            **figures,
        )

    @property
    def unreadable(self) -> str | None:
        """The places of the slide that could not be decoded and are white; None if there are none."""
        return self.metadata.get(UNREADABLE_KEY)

    @property
    def lacks_tissue(self) -> bool:
        """Whether there was no tissue in all of the area, so that nothing of the result is a network's work."""
        return self.skipped_share == 1

    @property
    def findings(self) -> dict[str, str]:
        """What was found out during the run, as the file records it."""
        return {key: text for key, text in self.metadata.items() if key in FINDING_KEYS}

    @property
    def rate(self) -> float:
        """Output that this run made, in Mpx/s."""
        return self.size.pixel_count / 1e6 * (1 - self.finished_before) / max(self.seconds, 1e-9)

    def to_json(self) -> dict[str, Any]:
        """Return the slide's entry in a JSON report; its keys are stable."""
        entry: dict[str, Any] = {"slide": str(self.slide), "output": str(self.output), "state": self.state}
        if self.state == "planned":
            return entry | self._describe_plan_json()
        if self.state == "finished before":
            return entry | ({UNREADABLE_KEY: self.unreadable} if self.unreadable else {}) | self._side_json()
        figures = {
            "seconds": round(self.seconds, 1),
            "finished_before": round(self.finished_before, 4),
            "model": self.model,
            "hardware": self.hardware,
            "width": self.size.width,
            "height": self.size.height,
            "mpp": self.mpp,
            "bytes": self.output_bytes,
            "skipped": round(self.skipped_share, 4),
            "tile_px": self.tile_px,
            "waste": round(self.overlap_overhead, 4),
            "stages": {stage: round(seconds, 1) for stage, seconds in self.stage_seconds.items()},
        }
        quality = _quality_json(self.quality) if self.quality else {}
        found = self.findings | self._side_json() | {"warnings": list(self.warnings)}
        return entry | figures | quality | found | {"note": dict(self.metadata)}

    def _side_json(self) -> dict[str, Any]:
        """Return what only some results have: no tissue, a trust layer."""
        trust = {"trust": self.trust.to_json()} if self.trust else {}
        return ({"no_tissue": True} if self.lacks_tissue else {}) | trust

    def _describe_plan_json(self) -> dict[str, Any]:
        planned = {"width": self.size.width, "height": self.size.height, "mpp": self.mpp, "skipped": self.skipped_share}
        if self.estimate is None:
            return planned
        estimate = {"seconds": self.estimate.seconds, "bytes": self.estimate.output_bytes}
        part = self.estimate.trust
        trust = {"trust_seconds": part.seconds, "trust_bytes": part.layer_bytes} if part else {}
        return planned | {"estimate": estimate | {"disk": self.estimate.disk_bytes} | trust}


def _quality_json(quality: QualityFigures) -> dict[str, Any]:
    seams, errors = quality.seams, quality.consistency
    return {
        "measured": round(quality.measured_share, 4),
        "seams": None
        if seams is None
        else {
            "borders": seams.borders,
            "mean": round(seams.mean, 4),
            "worst": round(seams.worst, 4),
            "at": seams.worst_at,
        },
        "residual": {
            "mean": round(errors.mean, 4),
            "p99.9": errors.percentile_99_9,
            "worst": round(errors.worst, 4),
            "at": errors.worst_at,
            "tiles": [{"error": round(tile.error, 4), "at": tile.at} for tile in errors.worst_tiles],
        },
    }
