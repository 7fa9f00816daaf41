"""The hybrid TIFF layout: OME-XML and every level in the main chain, which tag 330 of the first IFD also points at.

Readers of generic pyramids follow the chain and its subfile types, readers of OME-TIFF follow tag 330; both find the
same IFDs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wsisr.writing.images import first_fields, level_fields
from wsisr.writing.omexml import ome_xml
from wsisr.writing.spec import TiffSpec
from wsisr.writing.store import TileStore
from wsisr.writing.tiff import SUBFILE_TYPE, TiffDraft, longs

_REDUCED = 1


def fill(draft: TiffDraft, levels: Sequence[TileStore], spec: TiffSpec) -> Iterator[int]:
    """Write the whole file; yields how many tiles were copied, after each level. One tile in memory at a time."""
    copied = 0
    for number, level in enumerate(levels):
        fields = level_fields(spec, level.grid.size, number)
        fields |= first_fields(spec, words(spec)) if number == 0 else {SUBFILE_TYPE: longs(_REDUCED)}
        draft.add(fields, level.tiles())
        copied += level.grid.tiles
        yield copied
    draft.finish(subifds=True)


def words(spec: TiffSpec) -> bytes:
    """The longest description in the file."""
    return ome_xml(spec)
