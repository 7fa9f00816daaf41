"""Job specification: all that a worker must know of a slide to compute tiles of it, and what it sends back.

A worker opens slide and network itself. No pixel and no weight travels to it; a tile is named by its number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from wsisr.cluster.packing import PackableSpec
from wsisr.errors import WsisrError
from wsisr.imaging.geometry import Size
from wsisr.imaging.tiling import TileGrid
from wsisr.models.upscaler import UpscalerInfo
from wsisr.slides.files import fingerprint_files, list_slide_files
from wsisr.tissue.map import BoolMask
from wsisr.upscaling.plan import UpscalePlan
from wsisr.upscaling.request import UpscaleRequest
from wsisr.writing import Codec
from wsisr.writing.encoding.block import EncodedBlock


class ModelRequest(NamedTuple):
    """A network that workers are to load, as `load_upscaler` takes it."""

    model: str | None
    scale: int
    """1 for no network."""
    device: str = "auto"
    precision: str = "auto"
    mpp: float | None = None
    """Pixel size of the input in um/px."""
    perception: float = 0.0


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """What decides which pixels a worker's network gives, besides its input."""

    info: UpscalerInfo
    processor: str
    """Instruction sets of the CPU that computes, or the name of the GPU."""
    versions: Mapping[str, str]
    """Versions of the programs that read, compute and encode, by name."""

    def describe_difference(self, other: ModelDescription) -> str | None:
        """Return the first thing in which another worker differs, as `its, not ours`; None if it gives the same."""
        for name, version in self.versions.items():
            if other.versions.get(name) != version:
                return f"{name} {other.versions.get(name, 'missing')}, not {version}"
        if self.info != other.info:
            return (
                f"{other.info} {other.info.hardware}, not {self.info} {self.info.hardware}{self._tell_weights(other)}"
            )
        if self.processor != other.processor:
            return f"{other.processor}, not {self.processor}"
        return None

    def is_usable_with(self, other: ModelDescription) -> bool:
        """Return whether another worker at least runs the same network for the same tiles, in whatever arithmetic."""
        same = ("name", "scale", "receptive_field", "weights", "cell_px", "is_guarded")
        return self.versions.get("wsisr") == other.versions.get("wsisr") and all(
            getattr(self.info, name) == getattr(other.info, name) for name in same
        )

    @property
    def arithmetic(self) -> str:
        """What may differ among workers that are mixed on purpose, in words for the file."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items() if name != "wsisr")
        return f"{self.info.hardware} ({self.processor}; {versions})"

    def _tell_weights(self, other: ModelDescription) -> str:
        digests = [info.weights.sha256[:12] if info.weights else "none" for info in (other.info, self.info)]
        return "" if digests[0] == digests[1] else f" (weights {digests[0]}, not {digests[1]})"


@dataclass(frozen=True, slots=True)
class JobSpec(PackableSpec):
    """One slide, as its workers compute it. `pack` makes it a few kB."""

    job: str
    """Name of the job, unique among all runs."""
    request: UpscaleRequest
    """With absolute paths."""
    fingerprint: str
    """Changes with the path, size and modification time of the slide's files."""
    model: ModelDescription
    allow_mixed: bool
    grid: TileGrid
    batch: int
    tissue: bytes
    """Packed bits of `BackgroundMask.tissue`."""
    tissue_shape: tuple[int, int]
    white_background: bool
    measures_quality: bool
    output_size: Size
    stored_tile_px: int
    codec: Codec

    @classmethod
    def from_plan(
        cls, job: str, request: UpscaleRequest, plan: UpscalePlan, model: ModelDescription, *, allow_mixed: bool
    ) -> JobSpec:
        cells = plan.background.tissue
        return cls(
            job=job,
            request=request,
            fingerprint=fingerprint_files(list_slide_files(plan.region.slide.info)),
            model=model,
            allow_mixed=allow_mixed,
            grid=plan.grid,
            batch=plan.work_unit.batch,
            tissue=np.packbits(cells).tobytes(),
            tissue_shape=(cells.shape[0], cells.shape[1]),
            white_background=plan.background.options.white,
            measures_quality=plan.quality is not None,
            output_size=plan.output.size,
            stored_tile_px=plan.output.tile_px,
            codec=plan.output.codec,
        )

    def unpack_tissue(self) -> BoolMask:
        """Return the tissue cells, (rows, columns)."""
        rows, columns = self.tissue_shape
        bits = np.unpackbits(np.frombuffer(self.tissue, np.uint8), count=rows * columns)
        return bits.reshape(rows, columns).astype(bool)


class UnfitWorkerError(WsisrError):
    """A worker cannot do a job, though another one may."""


class ComputedTile(NamedTuple):
    """A tile's block, encoded, with what was found out about it."""

    number: int
    """Row by row from the top left of the grid."""
    block: EncodedBlock
    quality: bytes | None
    """`TileQuality.to_bytes`."""
    warnings: tuple[str, ...]
    """Warnings of the network that came since the tile before."""
    unreadable: tuple[str, ...]
    """`UnreadableRegion.numbers` of what could not be decoded, so far."""


class TaskResult(NamedTuple):
    """What a task sends back."""

    tiles: tuple[ComputedTile, ...]
    seconds: float
    stage_seconds: Mapping[str, float]
    arithmetic: str | None
    """How a worker computed that differs from the others; None for the usual one."""

    @property
    def nbytes(self) -> int:
        return sum(tile.block.nbytes for tile in self.tiles)


class TaskFailure(NamedTuple):
    """Why no worker can do a task. It comes as a result, for Dask loses some exceptions on their way."""

    error: WsisrError | None
    traceback: str
    """Of a bug; empty for an error."""


class WorkerRefusal(NamedTuple):
    """Why a worker cannot do a job, though another one may."""

    worker: str
    reason: str
