"""Bounds on what a file may claim, whatever its size: a small file can ask for any memory and any time.

Each is far above what real files hold. Whatever is beyond one is refused with a line that names it, or ignored if its
docstring says so. They are listed, with those of the libraries, in docs/inputs.md; `tests/test_bounds.py` takes a file
below and one above each.
"""

from __future__ import annotations

MIB = 2**20

MAX_SLIDE_PX = 10**12
"""Pixels of level 0: ten times the largest scans."""

MAX_LEVELS = 64
"""Levels of a slide; halving the largest slide down to a pixel gives 20."""

MAX_SERIES = 256
"""Images of one file; further ones of an OME-Zarr are ignored."""

MAX_ICC_BYTES = 16 * MIB
"""Bytes of a colour profile; a larger one is left out, with a warning."""

MAX_DESCRIPTION_CHARACTERS = 1 * MIB
"""Characters of a description in words; a longer one is ignored."""

MAX_ASSOCIATED_PX = 2**26
"""Pixels of a label, macro or thumbnail."""

MAX_TIFF_PAGES = 10_000
"""Directories of a TIFF, with those of its SubIFDs."""

MAX_TIFF_TAG_BYTES = 64 * MIB
"""Bytes of all values of a TIFF's tags together: tables of four million tiles."""

MAX_TIFF_SEGMENT_BYTES = 256 * MIB
"""Bytes that one compressed tile or strip may decode to, in DICOM too."""

MAX_CACHED_ROW_BYTES = 768 * MIB
"""Bytes of the strips, or the blocks of a CZI, that a row of boxes touches and that are cached."""

MAX_XML_CHARACTERS = 16 * MIB
"""Characters of OME-XML."""

MAX_XML_TAGS = 1_000_000
"""Opening and closing tags of OME-XML."""

MAX_OME_PLANES = 100_000
"""Planes that OME-XML may count for one image."""

MAX_MIRAX_INDEX_BYTES = 4 * MIB
"""Bytes of a MIRAX slide's index, Slidedat.ini."""

MAX_MIRAX_PICTURE_PX = 16_384
"""Side of a picture of a MIRAX scanner's camera; pictures overlap by less."""

MAX_MIRAX_PICTURES = 100_000
"""Pictures along a side of a MIRAX slide."""

MAX_DICOM_ELEMENTS = 100_000
"""Elements before the pixels of a DICOM file."""

MAX_DICOM_DEPTH = 16
"""Sequences within sequences of a DICOM file."""

MAX_DICOM_VALUE_BYTES = 4096
"""Bytes that are read of one element's value; what follows is ignored."""

MAX_DICOM_NOTE_BYTES = 16 * MIB
"""Bytes of the metadata that wsisr writes into DICOM; what follows is ignored."""

MAX_DICOM_FRAMES = 10_000_000
"""Frames that a DICOM file may count."""

MAX_DICOM_FILES = 100_000
"""Files of a folder that are looked at for DICOM; further ones are ignored."""

MAX_ZARR_CHUNK_BYTES = 64 * MIB
"""Bytes that one chunk of an OME-Zarr may decode to."""

MAX_ZARR_FILES = 10**7
"""Files of one OME-Zarr array: more than a slide has in chunks of 64 px."""

MAX_ZARR_METADATA_BYTES = 16 * MIB
"""Bytes of the metadata of an OME-Zarr group."""

MAX_ZARR_ARRAY_METADATA_BYTES = 64 * 1024
"""Bytes of the metadata of one of its arrays."""

MAX_CZI_BLOCKS = 400_000
"""Blocks that a CZI may list: a large slide in tiles of 512 px has a tenth of that."""

MAX_CZI_BLOCK_PX = 2**26
"""Pixels of one block of a CZI: four times as many as the camera of a slide scanner has."""

MAX_ETS_TILES = 1_000_000
"""Tiles that the pixels of an Olympus VSI may list, over all levels and planes: a large scan has a fifth of that."""

MAX_ETS_TILE_PX = 2**26
"""Pixels of one of its tiles; scanners store 512 px squared, microscopes a whole picture of their camera."""

MAX_VSI_FIELDS = 200_000
"""Fields of an Olympus VSI that are looked at; one of two channels has some hundred."""

MAX_MASK_PX = 64_000_000
"""Pixels of a mask picture, and of the mask that polygons are drawn on."""

MAX_FIELD_PX = 100_000_000
"""Pixels of a microscope field in PNG or JPEG; anything larger should be a slide."""

MAX_GEOJSON_BYTES = 128_000_000
"""Bytes of GeoJSON, unpacked."""

MAX_GEOJSON_VALUES = 4_000_000
"""Values of GeoJSON, of which a corner of a polygon takes two."""

MAX_DRAWN_PX = 1_500_000_000
"""Pixels of the rectangles around all polygons of an annotation, on the mask that they are drawn on."""

MAX_OUTLINE_PX = 30_000_000
"""Length of all outlines of an annotation, on that mask."""

MAX_ONNX_BYTES = 512 * MIB
"""Bytes of an ONNX file."""

MAX_ONNX_TENSOR_BYTES = 1024 * MIB
"""Bytes of any array in an ONNX network, for the images that measure it."""

MAX_RECEPTIVE_FIELD_PX = 4096
"""Pixels of the receptive field that an ONNX file may state."""

MAX_SPEC_CHARACTERS = 64 * 1024
"""Characters of the model spec in a weights file or an ONNX file."""

MAX_TOML_BYTES = 32 * 1024
"""Bytes of a recipe."""

MAX_TABLE_BYTES = 64 * MIB
"""Bytes of a table or list of slides."""

MAX_PATCH_PX = 4096
"""Side of a dataset's patches."""

PICTURE_FORMATS = ("PNG", "JPEG", "TIFF")
"""Formats of masks, by Pillow's names. Of its many others some start another program (EPS), and few are written by
annotation tools."""
