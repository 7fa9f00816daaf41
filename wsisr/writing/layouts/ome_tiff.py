"""The OME-TIFF layout: OME-XML, and every level in the main chain, which tag 330 of the first IFD also points at.

Readers of generic pyramids follow the chain and its subfile types, readers of OME-TIFF follow tag 330; both find the
same IFDs. The image's name says that it is derived, because viewers show the name. A label would show it better, but
cuCIM takes any further image, of whatever subfile type, for a level (and fails at a second of type 0). So a label is
written only if images of the slide are copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb
from wsisr.writing.encoding.grid import build_level_grids
from wsisr.writing.layouts.associated_images import add_lzw_image, build_associated_images
from wsisr.writing.layouts.ome_xml import build_ome_xml
from wsisr.writing.layouts.tiff_tags import build_first_fields, build_level_fields
from wsisr.writing.layouts.tiff_writer import SUBFILE_TYPE, TiffDraft, long_field
from wsisr.writing.spec import PyramidSpec
from wsisr.writing.workdir.tile_store import TileStore

_REDUCED, _PAGE = 1, 2
"""Subfile types: readers of generic pyramids take reduced images for levels."""


def write_ome_tiff(draft: TiffDraft, levels: Sequence[TileStore], spec: PyramidSpec) -> Iterator[int]:
    """Write the whole file; yields, row by row, how many tiles were copied. Memory: a few tiles."""
    for number, level in enumerate(levels):
        fields = build_level_fields(spec, level.grid.size, number)
        if number == 0:
            fields |= build_first_fields(spec, build_ome_description(spec))
        else:
            fields |= {SUBFILE_TYPE: long_field(_REDUCED)}
        yield from draft.add_tiled_image(fields, level.iterate_rows())
    for image in _select_associated_images(spec).values():
        add_lzw_image(draft, image, {SUBFILE_TYPE: long_field(_PAGE)})
    draft.finish(subifds=len(levels) - 1)


def build_ome_description(spec: PyramidSpec) -> bytes:
    """Return the description of level 0, the only one in the file."""
    associated = [
        (name, Size(pixels.shape[1], pixels.shape[0])) for name, pixels in _select_associated_images(spec).items()
    ]
    return build_ome_xml(spec, len(build_level_grids(spec.size, spec.tile_px)), associated)


def _select_associated_images(spec: PyramidSpec) -> Mapping[str, Rgb]:
    return build_associated_images(spec) if spec.associated_images else {}
