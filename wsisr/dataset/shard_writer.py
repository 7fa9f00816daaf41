"""The part of a dataset that one slide gives: a shard of pixels, its records and the facts of the slide.

All kinds of pairs are built alike: a `DatasetJob` (see `wsisr.dataset.builder`) receives a `ShardWriter`, calls

    images = {"hr": writer.write_image(high), "lr": writer.write_image(low)}
    writer.add_record(PatchRecord(..., shard=writer.shard, images=images))

for each pair (records with the same high resolution share its span), and returns `SlideFacts`. It may run in any
process, and its output must depend on its slide and the recipe alone.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import msgspec

from wsisr.dataset.reader import SHARDS
from wsisr.dataset.records import ByteSpan, PatchRecord
from wsisr.dataset.slide_facts import JsonObject, SlideFacts
from wsisr.files import translate_disk_errors, write_atomically
from wsisr.imaging.pixels import Rgb

PARTS_FOLDER = "parts"
"""Folder of the finished parts, within a dataset that is being built."""


_PARTIAL_SUFFIX = ".partial"


class ShardWriter:
    """Writes the pixels of one slide's patches to its shard, and collects their records."""

    def __init__(self, name: str, file: BinaryIO) -> None:
        self.shard = f"{name}.bin"
        """File name for the records."""
        self.records: list[PatchRecord] = []
        self._file, self._end = file, 0

    def write_image(self, image: Rgb) -> ByteSpan:
        """Append an image and return its span. Raises `OutputError` if writing fails."""
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
    """Open the shard of a slide. It gets its name at the end of the block; after an exception nothing of it remains.

    Raises `OutputError` if writing fails.
    """
    path = folder / SHARDS / f"{name}.bin"
    # Of this writer alone: a cluster may have lost a worker that still writes while another builds the part again.
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}{_PARTIAL_SUFFIX}")
    with translate_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                yield ShardWriter(name, file)
                # Before the rename, which may otherwise reach the disk before the content does.
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            with suppress(OSError):
                partial.unlink()  # it no longer exists after the rename


def remove_partial_shards(folder: Path) -> None:
    """Remove what processes left that were killed while they wrote a shard. Raises `OutputError`."""
    with translate_disk_errors(folder):
        for partial in (folder / SHARDS).glob(f"*{_PARTIAL_SUFFIX}"):
            partial.unlink(missing_ok=True)


def write_part(path: Path, identity: Mapping[str, str], facts: SlideFacts, records: Sequence[PatchRecord]) -> None:
    """Write the records and facts of a part. This completes it, so its shard must already have its name."""
    with translate_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    head = json.dumps({"identity": dict(identity), "facts": msgspec.to_builtins(facts)})
    write_atomically(path, (f"{line}\n".encode() for line in [head, *(record.to_json() for record in records)]))


def part_path(folder: Path, name: str) -> Path:
    """Return the file with the records and facts of a finished part."""
    return folder / PARTS_FOLDER / f"{name}.jsonl"


def read_part(path: Path, identity: Mapping[str, str] | None = None) -> tuple[JsonObject, list[str]] | None:
    """Return the facts of a finished part and its rows; None if it is unfinished or has another identity."""
    try:
        first_line, *rows = path.read_text().splitlines()
        head = json.loads(first_line)
    except (FileNotFoundError, ValueError):
        return None
    if identity is not None and head["identity"] != dict(identity):
        return None
    return head["facts"], rows
