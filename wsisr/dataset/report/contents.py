"""The files of a dataset as its report needs them. They may come from anywhere, so every value is checked here."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from wsisr.dataset.reader import HEADER, MANIFEST, SLIDES, PatchStore
from wsisr.dataset.records import PatchRecord
from wsisr.dataset.slide_facts import SlideFacts
from wsisr.errors import DatasetError


@dataclass(frozen=True, slots=True)
class ReportedRelation:
    """The measured relation of two levels or two captures; see `wsisr.dataset.level_relation.LevelRelation`."""

    slide: str
    fine: int
    coarse: int
    scale: int
    downsample: float
    shift_px: float
    """Length of the shift, in px of the finer level."""
    spread_px: float
    correlation: float
    closest: str
    psnr: Mapping[str, float]
    along_x: tuple[float, ...]
    along_y: tuple[float, ...]
    """Filter weights, 4 x scale of them along each axis."""
    refused: str | None

    @classmethod
    def from_row(cls, slide: str, row: Mapping[str, Any]) -> ReportedRelation:
        """Parse a row of `slides.jsonl`. Raises `ValueError`, `TypeError` or `KeyError` if it is invalid."""
        scale = int(row["scale"])
        along_x, along_y = (tuple(map(_parse_finite, row[axis])) for axis in ("kernel_x", "kernel_y"))
        if len(along_x) != 4 * scale or len(along_y) != 4 * scale:
            raise ValueError("a kernel has 4 x scale weights")
        return cls(
            slide,
            int(row["fine"]),
            int(row["coarse"]),
            scale,
            _parse_finite(row["downsample"]),
            math.hypot(*map(_parse_finite, row["shift"])),
            _parse_finite(row["spread"]),
            _parse_finite(row["correlation"]),
            str(row["closest"]),
            {str(name): _parse_finite(value) for name, value in row["psnr"].items()},
            along_x,
            along_y,
            None if row.get("refused") is None else str(row["refused"]),
        )


@dataclass(frozen=True)
class ReportContents:
    """All that the report of a dataset shows."""

    store: PatchStore
    slides: tuple[SlideFacts, ...]
    """In the order of the dataset. Without `slides.jsonl`, they hold only what the manifest says."""
    relations: tuple[ReportedRelation, ...]
    header: Mapping[str, Any] = field(default_factory=dict)

    @property
    def records(self) -> tuple[PatchRecord, ...]:
        return self.store.records

    @cached_property
    def by_slide(self) -> dict[str, list[PatchRecord]]:
        """Slide name to its records; slides without pairs are missing."""
        groups: dict[str, list[PatchRecord]] = {}
        for record in self.records:
            groups.setdefault(record.slide, []).append(record)
        return groups


def read_report_contents(folder: Path) -> ReportContents:
    """Read and check a dataset. Raises `DatasetError` naming the file that is missing or damaged."""
    store = PatchStore(folder)
    if not all(map(_is_valid, store.records)):
        raise DatasetError(f"{folder / MANIFEST}: not a manifest of this version; build the dataset again")
    slides = tuple(_parse_slide(row, folder / SLIDES) for row in _read_json_lines(folder / SLIDES))
    links = tuple(_parse_relation(facts.slide, row, folder / SLIDES) for facts in slides for row in facts.relations)
    headers = _read_json_lines(folder / HEADER, whole=True)
    header = headers[0] if headers and isinstance(headers[0], dict) else {}
    return ReportContents(store, slides or _facts_from_records(store), links, header)


def _read_json_lines(path: Path, *, whole: bool = False) -> list[Any]:
    """Parse each line as JSON, or the whole file as one value; empty if there is no such file."""
    try:
        text = path.read_text(encoding="utf-8")
        return [json.loads(document) for document in ([text] if whole else text.splitlines())]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: cannot be read; build the dataset again") from error


def _is_valid(record: PatchRecord) -> bool:
    """Check that text fields are text and numeric fields are finite numbers."""
    texts = (record.slide, record.case, record.split, record.kind)
    shift, residual = record.shift or (0.0, 0.0), record.residual or 0.0
    numbers = (
        record.mpp_hr,
        record.mpp_lr,
        record.contrast,
        record.focus,
        record.tissue,
        residual,
        *shift,
        *record.box,
        record.magnification or 0,
    )
    if not isinstance(record.parameters, Mapping) or not all(isinstance(text, str) for text in texts):
        return False
    return all(isinstance(number, int | float) and math.isfinite(number) for number in numbers)


def _parse_slide(row: Any, path: Path) -> SlideFacts:
    try:
        facts = SlideFacts.from_json(row)
        width, height = map(int, facts.size)
        facts.size, facts.mpp = (width, height), _parse_finite(facts.mpp)
        for rejected in facts.rejected.values():
            rejected.count, rejected.examples = int(rejected.count), [*map(str, rejected.examples)]
        facts.told = {str(name): str(value) for name, value in facts.told.items()}
        facts.slide, facts.thumbnail = str(facts.slide), str(facts.thumbnail)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise DatasetError(f"{path}: not the facts of this version; build the dataset again") from error
    return facts


def _parse_relation(slide: str, row: Any, path: Path) -> ReportedRelation:
    try:
        return ReportedRelation.from_row(slide, row)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise DatasetError(f"{path}: not the relations of this version; build the dataset again") from error


def _facts_from_records(store: PatchStore) -> tuple[SlideFacts, ...]:
    """Derive the slides of a dataset from its manifest alone."""
    first_records: dict[str, PatchRecord] = {}
    for record in store.records:
        first_records.setdefault(record.slide, record)
    return tuple(SlideFacts(name, first.case, first.split, first.kind) for name, first in first_records.items())


def _parse_finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is not a finite number")
    return number
