"""The DICOM layout: a folder of one series, VL Whole Slide Microscopy Images (PS3.3, A.32.8), one file a level.

The slide's label and macro image are further instances, if they are to be kept.

Frames are the stored tiles, in TILED_FULL order. Every level carries the metadata in a private element, so that any of
the files tells where it comes from, whatever an archive has named it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom import dcmwrite
from pydicom.dataset import FileMetaDataset

from wsisr.files import sync_folder
from wsisr.imaging.geometry import Size
from wsisr.slides.dicom_context import DicomContext
from wsisr.slides.readers.dicom_header import NOTE_CREATOR, NOTE_ELEMENT, NOTE_GROUP
from wsisr.writing.encoding.codec import Codec
from wsisr.writing.layouts.associated_images import build_associated_images
from wsisr.writing.layouts.dicom_attributes import build_origin
from wsisr.writing.layouts.dicom_frames import FrameBytes, build_offset_tables, write_frames
from wsisr.writing.layouts.dicom_image import TRANSFER_SYNTAXES, build_image
from wsisr.writing.layouts.dicom_instance import LEVEL_KIND, PICTURE_KINDS, InstanceDraft, InstanceUids
from wsisr.writing.layouts.dicom_note import LEVEL_FILE, PICTURE_FILE, encode_dicom_note
from wsisr.writing.spec import PyramidSpec
from wsisr.writing.workdir.tile_store import TileStore

_PICTURE_QUALITY = 95
"""JPEG quality of label and macro image, at which letters stay sharp."""


def write_dicom(folder: Path, levels: Sequence[TileStore], spec: PyramidSpec) -> Iterator[int]:
    """Write the whole folder; yields, row by row, how many tiles were copied. Memory: a few tiles.

    Level 0 is read once more before, for UIDs that stand for its content. Raises `OSError` for disk errors.
    """
    folder.mkdir()
    content = hashlib.sha256(_encode_header(_draft_level(levels, 0, spec, "")))
    for row in levels[0].iterate_rows():
        for tiles in row:
            content.update(b"".join(tiles))
        yield 0
    copied = 0
    for number, level in enumerate(levels):
        draft, path = _draft_level(levels, number, spec, content.hexdigest()), folder / LEVEL_FILE.format(number)
        for written in _write_instance(path, draft, level.iterate_rows()):
            yield copied + written
        copied += level.grid.tile_count
    if spec.associated_images:
        _write_pictures(folder, len(levels), spec, content.hexdigest())
    sync_folder(folder)


def _write_pictures(folder: Path, first: int, spec: PyramidSpec, content: str) -> None:
    """Write the slide's label and macro image, each one frame, with the words that say what the levels are."""
    best = Codec(spec.codec.method, _PICTURE_QUALITY)
    for number, (name, pixels) in enumerate(build_associated_images(spec).items(), start=first):
        encoded = best.compression_method.encode(np.ascontiguousarray(pixels), best)
        size, sizes = Size(pixels.shape[1], pixels.shape[0]), np.array([len(encoded)], np.int64)
        draft = _draft_instance(spec, content, number, PICTURE_KINDS[name], (size, size, sizes))
        deque(_write_instance(folder / PICTURE_FILE.format(name), draft, [[[encoded]]]), 0)


def _write_instance(path: Path, draft: InstanceDraft, rows: Iterable[Iterable[Sequence[bytes]]]) -> Iterator[int]:
    with path.open("xb") as file:
        file.write(_encode_header(draft))
        yield from write_frames(file, draft.encoded_sizes, rows)
        file.flush()
        os.fsync(file.fileno())


def _draft_level(levels: Sequence[TileStore], number: int, spec: PyramidSpec, content: str) -> InstanceDraft:
    grid = levels[number].grid
    frames = grid.size, Size(grid.tile_px, grid.tile_px), levels[number].encoded_sizes
    return _draft_instance(spec, content, number, LEVEL_KIND, frames)


def _draft_instance(
    spec: PyramidSpec, content: str, number: int, kind: str, frames: tuple[Size, Size, FrameBytes]
) -> InstanceDraft:
    source = spec.metadata.get("source sha256", "")
    uids = InstanceUids(content, source if re.fullmatch("[0-9a-f]{64}", source) else "")
    return InstanceDraft(spec, spec.dicom or DicomContext(), uids, number, kind, *frames)


def _encode_header(draft: InstanceDraft) -> bytes:
    """Return a file up to its pixel data."""
    dataset = build_origin(draft)
    dataset.update(build_image(draft))
    dataset.update(build_offset_tables(draft.encoded_sizes))
    note = dataset.private_block(NOTE_GROUP, NOTE_CREATOR, create=True)
    note.add_new(NOTE_ELEMENT, "UT", encode_dicom_note(draft.spec.metadata))
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = TRANSFER_SYNTAXES[draft.spec.codec.method]
    header = BytesIO()
    dcmwrite(header, dataset, enforce_file_format=True)
    return header.getvalue()
