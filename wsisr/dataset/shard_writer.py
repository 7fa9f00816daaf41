"""What one slide adds to a dataset in the making: a shard of pixels, and the rows and facts that go with it.

How a kind of pair is built, whichever it is: a `Job` (see `wsisr.dataset.builder`) is handed a `Part`, and then

    part.add(PatchRecord(..., shard=part.shard, images={"hr": part.keep(high), "lr": part.keep(low)}))

for each pair (rows that share a high resolution share its span), and returns `SlideFacts`. It may run in any process,
and what it adds must follow from its slide and the recipe alone.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image

from wsisr.dataset.reader import SHARDS
from wsisr.dataset.records import ByteSpan, PatchRecord
from wsisr.files import translate_disk_errors, write_atomically
from wsisr.imaging.pixels import Rgb

PARTS_FOLDER = "parts"

EXAMPLES_PER_REASON = 3
"""Rejected patches of a slide that are kept for each reason, to be looked at."""

JsonObject = dict[str, Any]


@dataclass(slots=True)
class Rejected:
    """What was left out for one reason."""

    count: int = 0
    examples: list[str] = field(default_factory=list)
    """A few of them, as `picture` makes them."""


@dataclass(slots=True)
class SlideFacts:
    """What is known of a slide of a dataset besides its pairs. All values are those of JSON."""

    slide: str
    case: str
    split: str
    kind: str
    size: tuple[int, int] = (0, 0)
    """Width and height of level 0 in px."""
    mpp: float = 0.0
    """Of level 0, in um/px."""
    thumbnail: str = ""
    """The whole slide, as `picture` makes it."""
    rejected: dict[str, Rejected] = field(default_factory=dict)
    """By reason, in words."""
    relations: list[JsonObject] = field(default_factory=list)
    """How two levels, or two captures, lie to each other: `wsisr.dataset.level_relation.Relation` as a dict."""
    told: dict[str, str] = field(default_factory=dict)
    """Whatever else a reader of the report should see: name to words."""

    def reject(self, reason: str, patch: Rgb | None = None, count: int = 1) -> None:
        """Counts what is left out; the first few are kept to be looked at."""
        found = self.rejected.setdefault(reason, Rejected())
        found.count += count
        if patch is not None and len(found.examples) < EXAMPLES_PER_REASON:
            found.examples.append(encode_picture(patch, 96))

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> SlideFacts:
        rejected = {reason: Rejected(**found) for reason, found in row["rejected"].items()}
        return cls(**{**row, "size": tuple(row["size"]), "rejected": rejected})


class ShardWriter:
    """One slide's share of a dataset, on the disk as it grows."""

    def __init__(self, name: str, file: BinaryIO) -> None:
        self.shard = f"{name}.bin"
        """What a record says of where its pixels are."""
        self.records: list[PatchRecord] = []
        self._file, self._end = file, 0

    def write_image(self, image: Rgb) -> ByteSpan:
        """Puts pixels away. Raises `OutputError` where the disk refuses."""
        content = image.tobytes()
        with translate_disk_errors(Path(self._file.name)):
            self._file.write(content)
        span = (self._end, len(content))
        self._end += len(content)
        return span

    def add_record(self, record: PatchRecord) -> None:
        self.records.append(record)


@contextmanager
def open_shard_writer(folder: Path, name: str) -> Iterator[ShardWriter]:
    """A part that gets its shard's name when the block is done; where something goes wrong, nothing stays of it.

    Raises `OutputError` where the disk refuses.
    """
    path = folder / SHARDS / f"{name}.bin"
    partial = path.with_name(f"{path.name}.partial")
    with translate_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                yield ShardWriter(name, file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            with suppress(OSError):
                partial.unlink()  # gone already where it was renamed


def write_part(path: Path, identity: Mapping[str, str], facts: SlideFacts, records: Sequence[PatchRecord]) -> None:
    """The part counts as done from here on; its shard has its name already."""
    with translate_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    head = json.dumps({"identity": dict(identity), "facts": asdict(facts)})
    write_atomically(path, (f"{line}\n".encode() for line in [head, *(record.to_json() for record in records)]))


def part_path(folder: Path, name: str) -> Path:
    """Where a finished part of that name tells of itself."""
    return folder / PARTS_FOLDER / f"{name}.jsonl"


def read_part(path: Path, identity: Mapping[str, str] | None = None) -> tuple[JsonObject, list[str]] | None:
    """Facts of a finished part and its rows; None where it is not finished, or of another slide or recipe."""
    try:
        head, *rows = path.read_text().splitlines()
        known = json.loads(head)
    except (FileNotFoundError, ValueError):
        return None
    if identity is not None and known["identity"] != dict(identity):
        return None
    return known["facts"], rows


def encode_picture(image: Rgb, longest: int) -> str:
    """(h, w, 3) to a small JPEG in base64, its longer side at most so many px."""
    file = BytesIO()
    small = Image.fromarray(image)
    small.thumbnail((longest, longest))
    small.save(file, "JPEG", quality=80)
    return base64.b64encode(file.getvalue()).decode()
