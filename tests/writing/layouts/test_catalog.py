from collections import deque
from pathlib import Path

import numpy as np
import openslide
import pytest
import pyvips
import tifffile
import tiffslide
from hypothesis import given, settings
from hypothesis import strategies as st

from wsisr.errors import OutputError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb, halve_image
from wsisr.writing.encoding.codec import SUBSAMPLINGS, TIFF_METHODS, Codec
from wsisr.writing.encoding.grid import build_level_grids
from wsisr.writing.layouts import aperio
from wsisr.writing.layouts.associated_images import draw_label
from wsisr.writing.layouts.catalog import LAYOUTS, select_layout
from wsisr.writing.pyramid import PyramidWriter
from wsisr.writing.spec import PyramidSpec

TIFFS = [name for name, layout in LAYOUTS.items() if layout.codecs is TIFF_METHODS]
COMMON_CODECS = [Codec(), Codec(subsampling="444"), Codec("deflate"), Codec("lzw")]

specs = st.builds(
    PyramidSpec,
    size=st.builds(Size, st.integers(1, 90), st.integers(1, 90)),
    mpp=st.floats(0.05, 20),
    tile_px=st.sampled_from([16, 32, 48]),
    codec=st.sampled_from(COMMON_CODECS),
    magnification=st.sampled_from([None, 5.0, 40.0]),
    layout=st.sampled_from(TIFFS),
    bigtiff=st.booleans(),
)
metadata_entries = st.dictionaries(
    st.text("abc ", min_size=1, max_size=8).map(str.strip).filter(bool), st.text("xyz 0é;,", max_size=20), max_size=4
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("layouts") / "image.tif"


def picture(size: Size) -> Rgb:
    return np.random.default_rng(size.width).integers(0, 256, (size.height, size.width, 3)).astype(np.uint8)


def write(path: Path, spec: PyramidSpec, image: Rgb) -> None:
    with PyramidWriter(path, spec, overwrite=True) as writer:
        writer.write(Box.from_size(spec.size), image)
        deque(writer.finish())


def encode_and_decode(image: Rgb, spec: PyramidSpec) -> Rgb:
    """Return the image after encoding and decoding each tile."""
    seen, side = image.copy(), spec.tile_px
    for top in range(0, image.shape[0], side):
        for left in range(0, image.shape[1], side):
            tile = image[top : top + side, left : left + side]
            decoded = spec.codec.decode(spec.codec.encode(tile, side), side)
            seen[top : top + side, left : left + side] = decoded[: tile.shape[0], : tile.shape[1]]
    return seen


@settings(max_examples=60, deadline=None)
@given(specs)
def test_every_reader_sees_every_level_exactly_in_every_layout_and_codec(path: Path, spec: PyramidSpec) -> None:
    image = picture(spec.size)
    write(path, spec, image)
    sizes = [(grid.size.width, grid.size.height) for grid in build_level_grids(spec.size, spec.tile_px)]
    with openslide.OpenSlide(path) as slide, tifffile.TiffFile(path) as tiff, tiffslide.TiffSlide(path) as other:
        assert list(slide.level_dimensions) == list(other.level_dimensions) == sizes
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(spec.mpp, rel=1e-6)
        assert float(other.properties["tiffslide.mpp-x"]) == pytest.approx(spec.mpp, rel=1e-5)
        assert len(tiff.series[0].levels) == len(sizes)
        for number, level in enumerate(tiff.series[0].levels):
            expected = encode_and_decode(image, spec)
            np.testing.assert_array_equal(level.asarray(), expected)
            seen = np.asarray(slide.read_region((0, 0), number, sizes[number]))
            np.testing.assert_allclose(seen[..., :3].astype(int), expected, atol=1)
            assert (seen[..., 3] == 255).all()
            image = halve_image(image)


@settings(max_examples=20, deadline=None)
@given(specs)
def test_white_tiles_share_their_bytes_and_read_exactly_white(path: Path, spec: PyramidSpec) -> None:
    image = picture(spec.size)
    image[: spec.tile_px] = 255
    write(path, spec, image)
    with tifffile.TiffFile(path) as tiff, openslide.OpenSlide(path) as slide:
        white = range(build_level_grids(spec.size, spec.tile_px)[0].columns)
        assert len({tiff.pages.first.dataoffsets[tile] for tile in white}) == 1
        top = min(spec.tile_px, spec.size.height)
        assert (tiff.pages.first.asarray()[:top] == 255).all()
        assert (np.asarray(slide.read_region((0, 0), 0, (spec.size.width, top))) == 255).all()
    vips = pyvips.Image.new_from_file(str(path), revalidate=True).numpy()
    assert (vips[:top] == 255).all()


def test_white_costs_one_tile_however_large_the_image(path: Path) -> None:
    sizes = []
    for side in (512, 4096):
        spec = PyramidSpec(Size(side, side), 0.5, tile_px=256)
        write(path, spec, np.full((side, side, 3), 255, np.uint8))
        sizes.append(path.stat().st_size)
    assert sizes[1] - sizes[0] < 16 * 17 * 17 * 2


@given(st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=3))
def test_no_metadata_can_break_an_aperio_description(metadata: dict[str, str]) -> None:
    description = aperio.build_aperio_description(
        PyramidSpec(Size(20, 20), 0.5, metadata={"x": "1"} | metadata)
    ).decode()
    assert description.count("|") == 1 + len({"x": "1"} | metadata)
    assert "\0" not in description


def test_an_aperio_file_states_its_magnification_and_its_label_says_that_it_is_derived(path: Path) -> None:
    spec = PyramidSpec(Size(200, 120), 0.25, 16, magnification=40, layout="aperio", title="super-resolved x4")
    write(path, spec, picture(spec.size))
    with openslide.OpenSlide(path) as slide:
        assert slide.properties["openslide.vendor"] == "aperio"
        assert slide.properties["openslide.objective-power"] == "40"
        assert set(slide.associated_images) == {"thumbnail", "label"}
        label = np.asarray(slide.associated_images["label"].convert("RGB"))
    np.testing.assert_array_equal(label, draw_label(spec.title))
    assert (label != draw_label("")).any()


@pytest.mark.parametrize("layout", TIFFS)
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_only_colours_that_are_subsampled_have_a_tag_for_it(path: Path, layout: str, subsampling: str) -> None:
    spec = PyramidSpec(Size(100, 60), 0.5, 16, codec=Codec(subsampling=subsampling), layout=layout)
    write(path, spec, picture(spec.size))
    with tifffile.TiffFile(path) as tiff:
        for page in (page.aspage() for page in tiff.pages):
            tag = page.tags.get("YCbCrSubSampling")
            # Bio-Formats 7.3.1 converts decoded pixels to RGB once more where the tag says (1, 1).
            assert tag is None or tag.value == (2, 2)
            assert tag is not None or subsampling == "444" or not page.is_tiled


def test_the_suffix_chooses_the_layout_and_a_name_overrides_it() -> None:
    assert select_layout(Path("a.ome.tif")) is LAYOUTS["ome-tiff"]
    assert select_layout(Path("a.SVS")) is LAYOUTS["aperio"]
    assert select_layout(Path("a.ome.zarr")) is select_layout(Path("a.zarr/")) is LAYOUTS["ome-zarr"]
    assert select_layout(Path("a.tif"), "aperio") is LAYOUTS["aperio"]
    assert select_layout(Path("a.png")) is LAYOUTS["png"]
    assert select_layout(Path("a.dcm")) is select_layout(Path("folder"), "dicom") is LAYOUTS["dicom"]
    for name, layout in (("a.jpg", None), ("a.tif", "jpeg")):
        with pytest.raises(OutputError):
            select_layout(Path(name), layout)
