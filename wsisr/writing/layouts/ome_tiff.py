"""The hybrid TIFF layout: OME-XML and every level in the main chain, which tag 330 of the first IFD also points at.

Readers of generic pyramids follow the chain and its subfile types, readers of OME-TIFF follow tag 330; both find the
same IFDs. The image's name says what it is, for viewers show that. A label would say it better, but cuCIM takes any
further image, of whatever subfile type, for a level (and fails at a second of type 0): there is one only where pictures
of the slide are to be kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb
from wsisr.writing.encoding.grid import pyramid
from wsisr.writing.layouts.associated_images import add_strip, companions
from wsisr.writing.layouts.ome_xml import ome_xml
from wsisr.writing.layouts.tiff_tags import first_fields, level_fields
from wsisr.writing.layouts.tiff_writer import SUBFILE_TYPE, TiffDraft, longs
from wsisr.writing.spec import PyramidSpec
from wsisr.writing.workdir.tile_store import TileStore

_REDUCED, _PAGE = 1, 2
"""Subfile types: readers of generic pyramids take for a level what is reduced."""


def fill(draft: TiffDraft, levels: Sequence[TileStore], spec: PyramidSpec) -> Iterator[int]:
    """Write the whole file; yields how many tiles were copied, row by row. One tile in memory at a time."""
    for number, level in enumerate(levels):
        fields = level_fields(spec, level.grid.size, number)
        fields |= first_fields(spec, words(spec)) if number == 0 else {SUBFILE_TYPE: longs(_REDUCED)}
        yield from draft.add_tiles(fields, level.rows())
    for picture in _beside(spec).values():
        add_strip(draft, picture, {SUBFILE_TYPE: longs(_PAGE)})
    draft.finish(subifds=len(levels) - 1)


def words(spec: PyramidSpec) -> bytes:
    """The longest description in the file."""
    beside = [(name, Size(pixels.shape[1], pixels.shape[0])) for name, pixels in _beside(spec).items()]
    return ome_xml(spec, len(pyramid(spec.size, spec.tile_px)), beside)


def _beside(spec: PyramidSpec) -> Mapping[str, Rgb]:
    return companions(spec) if spec.pictures else {}
