"""The DICOM layout: a folder of one series, VL Whole Slide Microscopy Images (PS3.3, A.32.8), one file a level.

Frames are the stored tiles, in TILED_FULL order. Every level carries the metadata in a private element, so that any of
the files tells where it comes from, whatever an archive has named it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

from pydicom import dcmwrite
from pydicom.dataset import FileMetaDataset

from wsisr.files import sync_folder
from wsisr.slides.dicom_context import DicomContext
from wsisr.slides.readers.dicom_header import NOTE_CREATOR, NOTE_ELEMENT, NOTE_GROUP
from wsisr.writing.layouts.dicom_attributes import build_origin
from wsisr.writing.layouts.dicom_frames import build_offset_tables, write_frames
from wsisr.writing.layouts.dicom_image import TRANSFER_SYNTAXES, build_image
from wsisr.writing.layouts.dicom_instance import InstanceDraft, InstanceUids
from wsisr.writing.layouts.dicom_note import LEVEL_FILE, encode_dicom_note
from wsisr.writing.spec import PyramidSpec
from wsisr.writing.workdir.tile_store import TileStore


def write_dicom(folder: Path, levels: Sequence[TileStore], spec: PyramidSpec) -> Iterator[int]:
    """Write the whole folder; yields, row by row, how many tiles were copied. Memory: a few tiles.

    Level 0 is read once more before, for UIDs that stand for its content. Raises `OSError` for disk errors.
    """
    folder.mkdir()
    content = hashlib.sha256(_encode_header(_draft_instance(levels, 0, spec, ""), levels[0]))
    for row in levels[0].iterate_rows():
        for tiles in row:
            content.update(b"".join(tiles))
        yield 0
    copied = 0
    for number, level in enumerate(levels):
        header = _encode_header(_draft_instance(levels, number, spec, content.hexdigest()), level)
        with (folder / LEVEL_FILE.format(number)).open("xb") as file:
            file.write(header)
            for written in write_frames(file, level):
                yield copied + written
            file.flush()
            os.fsync(file.fileno())
        copied += level.grid.tile_count
    sync_folder(folder)


def _draft_instance(levels: Sequence[TileStore], number: int, spec: PyramidSpec, content: str) -> InstanceDraft:
    source = spec.metadata.get("source sha256", "")
    uids = InstanceUids(content, source if re.fullmatch("[0-9a-f]{64}", source) else "")
    encoded_bytes = int(levels[number].encoded_sizes.sum())
    return InstanceDraft(spec, spec.dicom or DicomContext(), levels[number].grid, number, encoded_bytes, uids)


def _encode_header(draft: InstanceDraft, level: TileStore) -> bytes:
    """Return a file up to its pixel data."""
    dataset = build_origin(draft)
    dataset.update(build_image(draft))
    dataset.update(build_offset_tables(level))
    note = dataset.private_block(NOTE_GROUP, NOTE_CREATOR, create=True)
    note.add_new(NOTE_ELEMENT, "UT", encode_dicom_note(draft.spec.metadata))
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = TRANSFER_SYNTAXES[draft.spec.codec.method]
    header = BytesIO()
    dcmwrite(header, dataset, enforce_file_format=True)
    return header.getvalue()
