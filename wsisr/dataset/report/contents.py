"""The files of a dataset as its report needs them. They may come from anywhere, so every value is checked here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from wsisr.dataset.level_relation import LevelRelation
from wsisr.dataset.reader import HEADER, SLIDES, PatchStore
from wsisr.dataset.records import PatchRecord
from wsisr.dataset.slide_facts import SlideFacts
from wsisr.errors import DatasetError, describe_error

_DECODER = msgspec.json.Decoder(SlideFacts)


@dataclass(frozen=True)
class ReportContents:
    """All that the report of a dataset shows."""

    store: PatchStore
    slides: tuple[SlideFacts, ...]
    """In the order of the dataset. Without `slides.jsonl`, they hold only what the manifest says."""
    header: Mapping[str, Any] = field(default_factory=dict)

    @property
    def records(self) -> tuple[PatchRecord, ...]:
        return self.store.records

    @cached_property
    def relations(self) -> list[LevelRelation]:
        """The relations of all slides."""
        return [relation for facts in self.slides for relation in facts.relations]

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
    slides = _read_slides(folder / SLIDES)
    return ReportContents(store, slides or _facts_from_records(store), _read_header(folder / HEADER))


def _read_slides(path: Path) -> tuple[SlideFacts, ...]:
    """Read the facts of all slides; none if there is no such file."""
    try:
        return tuple(_DECODER.decode_lines(_read_file(path)))
    except (msgspec.MsgspecError, RecursionError) as error:
        reason = describe_error(error)
        raise DatasetError(f"{path}: not the facts of this version; build the dataset again ({reason})") from error


def _read_header(path: Path) -> Mapping[str, Any]:
    """Read the header; an empty one if there is no such file."""
    try:
        header = json.loads(_read_file(path) or b"{}")
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path}: cannot be read; build the dataset again") from error
    return header if isinstance(header, dict) else {}


def _read_file(path: Path) -> bytes:
    """Read a file; nothing if it does not exist."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror}); build the dataset again") from error


def _facts_from_records(store: PatchStore) -> tuple[SlideFacts, ...]:
    """Derive the slides of a dataset from its manifest alone."""
    first_records: dict[str, PatchRecord] = {}
    for record in store.records:
        first_records.setdefault(record.slide, record)
    return tuple(SlideFacts(name, first.case, first.split, first.kind) for name, first in first_records.items())
