"""Options of a run of `wsisr upscale`: how it is carried out, whatever is requested of each slide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsisr.cluster.place import ClusterPlace


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run is carried out, whatever is requested of each slide."""

    several: bool
    """Whether slides are run as a batch, which one slide may be, too."""
    folder: Path | None
    """Folder of the results of a batch; None puts each beside its slide."""
    jobs: str
    shard: str | None
    report: Path | None
    quiet: bool
    log: Path | None = None
    stage: Path | None = None
    """Folder for copies of the next slides; None reads slides where they lie."""
    stage_limit: float = 50.0
    """GB that such copies may take together."""
    cluster: ClusterPlace | None = None
    """Where the workers are that compute the tiles; None computes them here."""
    allow_mixed_workers: bool = False
    """Whether workers may give other pixels than the others."""
    configuration: Mapping[str, Any] = field(default_factory=dict)
    """All options of the run by their names, for the report."""
