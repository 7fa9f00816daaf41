"""Sample slides of each format, their pixels compared with another library: the rows of the table in docs/inputs.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import imagecodecs
import numpy as np
import pyvips
import zarr
from PIL import Image
from pylibCZIrw import czi

from tests.support.czi import JPEG_XR, ZSTD, write_czi_pyramid
from tests.support.doc_tables import Cells
from tests.support.formats import make_blobs, write_leica, write_philips, write_qptiff, write_trestle
from tests.support.mirax import decode_mirax_tiles, write_mirax
from tests.support.samples import CMU_SLIDE, SHARED_SLIDES, write_generic_pyramid, write_ome_pyramid, write_ome_zarr
from tests.support.versions import name_installed
from tests.support.vsi import JPEG, JPEG_2000, Scan, decode_vsi_tiles, write_vsi
from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides import Slide, SlideInfo, open_slide

VENDOR = SHARED_SLIDES / "vendor"
DICOM = VENDOR / "dicom-cmu-1"

SIZES = (Size(256, 192), Size(128, 96))
LEVELS = [make_blobs(size, seed) for seed, size in enumerate(SIZES)]
SQUARE = [make_blobs(Size(256, 256), 2), make_blobs(Size(128, 128), 3)]
"""Sizes of whole tiles: Philips stores no others."""
CM = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER", "compression": "jpeg"}
OME = {"PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm"}

FRAMES = "imagecodecs, frame by frame"

Independent = Callable[[Path, SlideInfo, int], Rgb]
"""Reads the pixels of a level with another library, from a slide's path, its info and the level."""


@dataclass(frozen=True, slots=True)
class Input:
    """One slide and its expected properties."""

    name: str
    sample: str
    """Name of a real file, or `synthetic`."""
    path: Callable[[Path], Path]
    """Returns the path of the slide, written into an empty folder if it is synthetic."""
    sizes: tuple[Size, ...] = SIZES
    """Sizes of the scanned area at the first levels."""
    mpp: float | None = 0.5
    """Pixel size of level 0 in um/px; None where it has to be given."""
    other_reader: str = "libvips"
    """Library, and how it is used where that is not plain."""
    read_independently: Independent = lambda path, _, level: read_vips_page(path, level)
    refusal: str = ""
    """Words of the error message, if the slide is to be refused."""

    @property
    def is_available(self) -> bool:
        return self.sample == "synthetic" or self.path(Path()).exists()


COLUMNS = (
    "format",
    "sample",
    "read by",
    "levels",
    "um/px",
    "independent reader",
    "largest error of a pixel, all levels",
)
"""Columns of the table in docs/inputs.md."""

README_COLUMNS = ("format", "read by", "independent reader", "largest error")
"""Columns of the table in the README, for formats that are read."""


def make_cells(each: Input, found: Examination) -> Cells:
    """Return the row of a sample in docs/inputs.md."""
    if found.info is None:
        return (each.name, each.sample, f"refused: {found.refusal}", "", "", "", "")
    mpp = f"{found.info.mpp:.4g}" if found.info.mpp else "by --mpp"
    readers = name_installed(found.info.reader), name_installed(each.other_reader)
    return (each.name, each.sample, readers[0], str(len(found.sizes)), mpp, readers[1], str(found.error))


def make_readme_rows(rows: Iterable[Cells]) -> list[Cells]:
    """Return the README's rows for those of docs/inputs.md."""
    return [(cells[0], cells[2], cells[5], cells[6]) for cells in rows if cells[5]]


@dataclass(frozen=True, slots=True)
class Examination:
    """Result of opening a slide and comparing its pixels."""

    info: SlideInfo | None
    sizes: tuple[Size, ...] = ()
    error: int = 0
    """Largest difference from the other library in grey levels, over all levels."""
    refusal: str = ""


def examine_input(sample: Input, folder: Path) -> Examination:
    path = sample.path(folder)
    try:
        slide = open_slide(path)
    except SlideError as refused:
        return Examination(None, refusal=str(refused).removeprefix(f"{path}: "))
    with slide:
        errors = [_max_difference(sample, slide, path, level) for level in range(len(slide.info.levels))]
        sizes = tuple(_find_scanned_box(slide.info, level).size for level in range(len(slide.info.levels)))
        return Examination(slide.info, sizes, max(errors))


def _max_difference(each: Input, slide: Slide, path: Path, level: int) -> int:
    own = slide.read(_find_scanned_box(slide.info, level), level).astype(int)
    other = each.read_independently(path, slide.info, level)
    assert own.shape == other.shape, f"{each.name}: level {level} is {own.shape}, for {each.other_reader} {other.shape}"
    return int(np.abs(own - other).max())


def _find_scanned_box(info: SlideInfo, level: int) -> Box:
    """Return the scanned bounds in px of a level; in these samples they lie on whole pixels."""
    if info.bounds is None:
        return Box.from_size(info.levels[level].size)
    factor = info.levels[level].downsample
    edges = (info.bounds.left, info.bounds.top, info.bounds.right, info.bounds.bottom)
    return Box(*(round(edge / factor) for edge in edges))


def write_small_vsi(folder: Path, codec: int) -> Path:
    return write_vsi(folder / "a.vsi", Scan(LEVELS, codec, mpp=(0.5, 0.5)))


def write_picture(path: Path) -> Path:
    Image.fromarray(LEVELS[0]).save(path)
    return path


def read_vips_picture(path: Path) -> Rgb:
    return _to_rgb(pyvips.Image.new_from_file(str(path)))


def read_vips_page(path: Path, page: int) -> Rgb:
    return _to_rgb(pyvips.Image.tiffload(str(path), page=page))


def read_vips_subifd(path: Path, level: int) -> Rgb:
    return _to_rgb(pyvips.Image.tiffload(str(path), subifd=level - 1))


def read_with_zarr(path: Path, info: SlideInfo, level: int) -> Rgb:
    array = zarr.open_group(path, mode="r")[str(level)]
    assert isinstance(array, zarr.Array)
    size = info.levels[level].size
    return np.moveaxis(np.asarray(array[...]).reshape(3, size.height, size.width), 0, -1)


def read_with_libczi(path: Path, _: SlideInfo, level: int) -> Rgb:
    """Read a level with libCZI, which takes the zoom and gives blue, green, red."""
    with czi.open_czi(str(path)) as file:
        return np.asarray(file.read(zoom=0.5**level))[..., ::-1]


def decode_dicom_frames(path: Path, info: SlideInfo, level: int) -> Rgb:
    """Cut the JPEG frames out of a DICOM file, decode them and assemble the level."""
    file = path if path.is_file() else next(path.glob(f"level-{level}-*"))
    data = file.read_bytes()
    at = data.index(b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff") + 12
    items = []
    while data[at : at + 4] == b"\xfe\xff\x00\xe0":
        count = int.from_bytes(data[at + 4 : at + 8], "little")
        items.append(data[at + 8 : at + 8 + count])
        at += 8 + count
    frames = [imagecodecs.jpeg8_decode(item) for item in items[1:]]  # the first is a table of offsets
    size = info.levels[level].size
    across = -(-size.width // frames[0].shape[1])
    rows = [np.concatenate(frames[start : start + across], axis=1) for start in range(0, len(frames), across)]
    return np.asarray(np.concatenate(rows)[: size.height, : size.width])


def _to_rgb(image: pyvips.Image) -> Rgb:
    return np.asarray(image.numpy())[..., :3]


def _use_file(path: Path) -> Callable[[Path], Path]:
    return lambda _: path


INPUTS = (
    Input("Aperio, JPEG", "CMU-1-Small-Region", _use_file(CMU_SLIDE), (Size(2220, 2967),), 0.499),
    Input(
        "DICOM, a folder",
        "CMU-1-Small-Region",
        _use_file(DICOM),
        (Size(2220, 2967), Size(1110, 1483), Size(555, 741), Size(277, 370)),
        0.499,
        FRAMES,
        decode_dicom_frames,
    ),
    Input(
        "DICOM, one file",
        "dicom-jpeg.dcm",
        _use_file(VENDOR / "dicom-jpeg.dcm"),
        (Size(957, 715),),
        16.783,
        FRAMES,
        decode_dicom_frames,
    ),
    Input(
        "DICOM, 16-bit", "dicom-grayscale", _use_file(VENDOR / "dicom-grayscale-refused.dcm"), refusal="BitsAllocated"
    ),
    Input(
        "Hamamatsu, TRITC", "fluorescence-TRITC", _use_file(VENDOR / "fluorescence-TRITC.ndpi"), refusal="fluorescence"
    ),
    Input(
        "Leica SCN",
        "synthetic",
        lambda folder: write_leica(folder / "a.scn", LEVELS),
        read_independently=lambda path, _, level: read_vips_page(path, level + 1),
    ),
    Input(
        "Philips TIFF",
        "synthetic",
        lambda folder: write_philips(folder / "a.tiff", SQUARE),
        (Size(256, 256), Size(128, 128)),
    ),
    Input(
        "MIRAX",
        "synthetic",
        lambda folder: write_mirax(folder / "a.mrxs", SQUARE),
        (Size(256, 256), Size(128, 128)),
        other_reader="imagecodecs, tile by tile",
        read_independently=lambda path, info, level: decode_mirax_tiles(path, info.levels[level].size, level),
    ),
    Input("Trestle", "synthetic", lambda folder: write_trestle(folder / "a.tif", LEVELS)),
    Input(
        "QPTIFF, brightfield",
        "synthetic",
        lambda folder: write_qptiff(folder / "a.qptiff", LEVELS),
        read_independently=lambda path, _, level: read_vips_page(path, level and level + 1),
    ),
    Input(
        "Zeiss CZI, JPEG XR",
        "synthetic",
        lambda folder: write_czi_pyramid(folder / "a.czi", LEVELS, JPEG_XR),
        mpp=0.25,
        other_reader="pylibCZIrw",
        read_independently=read_with_libczi,
    ),
    Input(
        "Zeiss CZI, zstd",
        "synthetic",
        lambda folder: write_czi_pyramid(folder / "a.czi", LEVELS, ZSTD),
        mpp=0.25,
        other_reader="pylibCZIrw",
        read_independently=read_with_libczi,
    ),
    *(
        Input(
            f"Olympus VSI, {name}",
            "synthetic",
            partial(write_small_vsi, codec=codec),
            other_reader="pillow, tile by tile",
            read_independently=lambda path, info, level: decode_vsi_tiles(path, info.levels[level].size, level),
        )
        for name, codec in (("JPEG", JPEG), ("JPEG 2000", JPEG_2000))
    ),
    Input(
        "Olympus VSI, 16-bit",
        "vsi-ets-test-jpg2k",
        _use_file(VENDOR / "olympus-vsi" / "vsi-ets-test-jpg2k.vsi"),
        refusal="16-bit samples",
    ),
    Input(
        "PNG",
        "synthetic",
        lambda folder: write_picture(folder / "a.png"),
        SIZES[:1],
        mpp=None,
        read_independently=lambda path, _, __: read_vips_picture(path),
    ),
    Input(
        "JPEG",
        "synthetic",
        lambda folder: write_picture(folder / "a.jpg"),
        SIZES[:1],
        mpp=None,
        read_independently=lambda path, _, __: read_vips_picture(path),
    ),
    Input("pyramid TIFF", "synthetic", lambda folder: write_generic_pyramid(folder / "a.tif", LEVELS, **CM)),
    Input(
        "OME-TIFF, SubIFDs",
        "synthetic",
        lambda folder: write_ome_pyramid(folder / "a.ome.tif", LEVELS, OME, compression="jpeg"),
        read_independently=lambda path, _, level: read_vips_subifd(path, level),
    ),
    Input(
        "OME-Zarr 0.4",
        "synthetic",
        lambda folder: write_ome_zarr(folder / "a.zarr", LEVELS, "0.4", "tczyx", 0.5),
        other_reader="zarr",
        read_independently=read_with_zarr,
    ),
    Input(
        "OME-Zarr 0.5, sharded",
        "synthetic",
        lambda folder: write_ome_zarr(folder / "a.zarr", LEVELS, "0.5", scale=0.5, shards=(3, 128, 128)),
        other_reader="zarr",
        read_independently=read_with_zarr,
    ),
)
