"""What a report tells of: rows, slides and header of a dataset, which may come from anywhere and are checked here."""

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
from wsisr.dataset.shard_writer import SlideFacts
from wsisr.errors import DatasetError


@dataclass(frozen=True, slots=True)
class Link:
    """How two levels, or two captures, were found to lie to each other; see `wsisr.dataset.level_relation.Relation`."""

    slide: str
    fine: int
    coarse: int
    scale: int
    downsample: float
    shift_px: float
    """Length of the shift in px of the finer one."""
    spread_px: float
    correlation: float
    closest: str
    psnr: Mapping[str, float]
    along_x: tuple[float, ...]
    along_y: tuple[float, ...]
    """4 x scale weights each, or none."""
    refused: str | None

    @classmethod
    def from_row(cls, slide: str, row: Mapping[str, Any]) -> Link:
        """Raises `ValueError`, `TypeError` or `KeyError` where it is none."""
        scale = int(row["scale"])
        along_x, along_y = (tuple(map(_number, row[axis])) for axis in ("kernel_x", "kernel_y"))
        if len(along_x) != 4 * scale or len(along_y) != 4 * scale:
            raise ValueError("a kernel has 4 x scale weights")
        return cls(
            slide,
            int(row["fine"]),
            int(row["coarse"]),
            scale,
            _number(row["downsample"]),
            math.hypot(*map(_number, row["shift"])),
            _number(row["spread"]),
            _number(row["correlation"]),
            str(row["closest"]),
            {str(name): _number(value) for name, value in row["psnr"].items()},
            along_x,
            along_y,
            None if row.get("refused") is None else str(row["refused"]),
        )


@dataclass(frozen=True)
class Contents:
    """A dataset as its report sees it."""

    store: PatchStore
    slides: tuple[SlideFacts, ...]
    """In the order of the dataset; none where it keeps no facts of them."""
    links: tuple[Link, ...]
    header: Mapping[str, Any] = field(default_factory=dict)

    @property
    def records(self) -> tuple[PatchRecord, ...]:
        return self.store.records

    @cached_property
    def by_slide(self) -> dict[str, list[PatchRecord]]:
        """Name of a slide to its rows; those of a slide without pairs are missing."""
        found: dict[str, list[PatchRecord]] = {}
        for record in self.records:
            found.setdefault(record.slide, []).append(record)
        return found


def contents_of(folder: Path) -> Contents:
    """Raises `DatasetError` naming the file where the dataset is none, or damaged."""
    store = PatchStore(folder)
    if not all(map(_is_sound, store.records)):
        raise DatasetError(f"{folder / MANIFEST}: not a manifest of this version; build the dataset again")
    slides = tuple(_slide(row, folder / SLIDES) for row in _lines(folder / SLIDES))
    links = tuple(_link(facts.slide, row, folder / SLIDES) for facts in slides for row in facts.relations)
    headers = _lines(folder / HEADER, whole=True)
    header = headers[0] if headers and isinstance(headers[0], dict) else {}
    return Contents(store, slides or _without_facts(store), links, header)


def _lines(path: Path, *, whole: bool = False) -> list[Any]:
    """JSON of each line, or of the file as a whole; nothing where there is no such file."""
    try:
        text = path.read_text(encoding="utf-8")
        return [json.loads(each) for each in ([text] if whole else text.splitlines())]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: cannot be read; build the dataset again") from error


def _is_sound(record: PatchRecord) -> bool:
    """Whether words are words, and numbers numbers that can be drawn."""
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
    )
    if not isinstance(record.parameters, Mapping) or not all(isinstance(each, str) for each in texts):
        return False
    return all(isinstance(each, int | float) and math.isfinite(each) for each in (*numbers, record.magnification or 0))


def _slide(row: Any, path: Path) -> SlideFacts:
    try:
        facts = SlideFacts.from_json(row)
        width, height = map(int, facts.size)
        facts.size, facts.mpp = (width, height), _number(facts.mpp)
        for rejected in facts.rejected.values():
            rejected.count, rejected.examples = int(rejected.count), [*map(str, rejected.examples)]
        facts.told = {str(name): str(value) for name, value in facts.told.items()}
        facts.slide, facts.thumbnail = str(facts.slide), str(facts.thumbnail)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise DatasetError(f"{path}: not the facts of this version; build the dataset again") from error
    return facts


def _link(slide: str, row: Any, path: Path) -> Link:
    try:
        return Link.from_row(slide, row)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise DatasetError(f"{path}: not the relations of this version; build the dataset again") from error


def _without_facts(store: PatchStore) -> tuple[SlideFacts, ...]:
    """What rows alone tell of their slides."""
    first = {record.slide: record for record in reversed(store.records)}
    names = dict.fromkeys(record.slide for record in store.records)
    return tuple(SlideFacts(name, first[name].case, first[name].split, first[name].kind) for name in names)


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is no number")
    return number
