from collections import deque
from dataclasses import replace
from pathlib import Path

import imagecodecs
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
from wsisr.progress import Progress
from wsisr.writing.encoding.codec import Codec
from wsisr.writing.encoding.grid import LevelGrid, build_level_grids
from wsisr.writing.layouts import ome_tiff, pyramid_tiff
from wsisr.writing.layouts.pyramid_tiff import PyramidTiff
from wsisr.writing.metadata import read_metadata
from wsisr.writing.pyramid import PyramidWriter
from wsisr.writing.spec import PyramidSpec
from wsisr.writing.workdir.tile_store import TileStore

MPP = 0.12475

specs = st.builds(
    PyramidSpec,
    size=st.builds(Size, st.integers(1, 90), st.integers(1, 90)),
    mpp=st.floats(0.05, 20),
    tile_px=st.sampled_from([16, 32, 48]),
    codec=st.builds(Codec, quality=st.integers(30, 100)),
    bigtiff=st.sampled_from([True, False, None]),
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("written") / "image.ome.tif"


def picture(size: Size) -> Rgb:
    """Waves of colour and a little noise: detail of every frequency, as JPEG sees it in tissue."""
    y, x = np.mgrid[: size.height, : size.width]
    waves = np.stack([np.sin(x / 5) + np.cos(y / 7), np.sin((x + y) / 11), np.cos(x / 3) * np.sin(y / 4)], axis=-1)
    noise = np.random.default_rng(size.width).normal(0, 8, waves.shape)
    return (128 + 55 * waves + noise).clip(0, 255).astype(np.uint8)


def write(path: Path, spec: PyramidSpec) -> list[Progress]:
    with PyramidWriter(path, spec, overwrite=True) as writer:
        writer.write(Box.from_size(spec.size), picture(spec.size))
        return list(writer.finish())


def encode_and_decode(image: Rgb, spec: PyramidSpec) -> Rgb:
    """Return the image after encoding and decoding each tile, edges repeated to whole tiles."""
    height, width = image.shape[:2]
    side = spec.tile_px
    seen = np.pad(image, ((0, -height % side), (0, -width % side), (0, 0)), mode="edge")
    for y in range(0, height, side):
        for x in range(0, width, side):
            tile = np.ascontiguousarray(seen[y : y + side, x : x + side])
            jpeg = imagecodecs.jpeg8_encode(tile, level=spec.codec.quality, subsampling=spec.codec.subsampling)
            seen[y : y + side, x : x + side] = imagecodecs.jpeg8_decode(jpeg)
    return seen[:height, :width]


def read_levels(path: Path) -> list[Rgb]:
    with tifffile.TiffFile(path) as tiff:
        assert len(tiff.series) == 1
        return [level.asarray() for level in tiff.series[0].levels]


@settings(max_examples=25, deadline=None)
@given(specs)
def test_every_reader_sees_all_levels_and_the_pixel_size(path: Path, spec: PyramidSpec) -> None:
    write(path, spec)
    sizes = [(grid.size.width, grid.size.height) for grid in build_level_grids(spec.size, spec.tile_px)]
    with openslide.OpenSlide(path) as slide:
        assert list(slide.level_dimensions) == sizes
        # libtiff keeps a resolution as a 32-bit float.
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(spec.mpp, rel=1e-6)
        assert float(slide.properties["openslide.mpp-y"]) == pytest.approx(spec.mpp, rel=1e-6)
    with tiffslide.TiffSlide(path) as slide:
        assert list(slide.level_dimensions) == sizes
        assert float(slide.properties["tiffslide.mpp-x"]) == pytest.approx(spec.mpp)
    assert [(level.shape[1], level.shape[0]) for level in read_levels(path)] == sizes
    for number, size in enumerate(sizes):
        image = pyvips.Image.new_from_file(str(path), page=number, revalidate=True)
        assert (image.width, image.height, image.get("n-pages")) == (*size, len(sizes))
        assert 1000 / image.xres == pytest.approx(spec.mpp * 2**number, rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(specs)
def test_each_level_is_the_mean_of_the_level_above_before_it_was_encoded_and_no_pixel_moves(
    path: Path, spec: PyramidSpec
) -> None:
    write(path, spec)
    image = picture(spec.size)
    with openslide.OpenSlide(path) as slide:
        for number, level in enumerate(read_levels(path)):
            expected = encode_and_decode(image, spec)
            np.testing.assert_array_equal(level, expected)
            region = slide.read_region((0, 0), number, slide.level_dimensions[number])
            rgba = np.asarray(region, dtype=int)
            assert (rgba[..., 3] == 255).all()
            np.testing.assert_allclose(rgba[..., :3], expected, atol=1)
            image = halve_image(image)


@settings(max_examples=10, deadline=None)
@given(specs)
def test_vips_finds_every_level_as_subifd_too(path: Path, spec: PyramidSpec) -> None:
    write(path, spec)
    for number, level in enumerate(read_levels(path)[1:]):
        image = pyvips.Image.new_from_file(str(path), subifd=number, revalidate=True)
        np.testing.assert_allclose(image.numpy().astype(int), level.astype(int), atol=1)


def test_bigtiff_is_taken_only_where_classic_may_be_too_small(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = PyramidSpec(Size(100, 60), MPP, tile_px=16)
    write(path, spec)
    with tifffile.TiffFile(path) as tiff:
        assert not tiff.is_bigtiff
    monkeypatch.setattr(pyramid_tiff, "CLASSIC_BYTES", path.stat().st_size)
    write(path, spec)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_bigtiff
    with pytest.raises(OutputError, match="BigTIFF"):
        write(path, replace(spec, bigtiff=False))


@settings(max_examples=15, deadline=None)
@given(specs)
def test_no_file_exceeds_the_size_that_decides_on_bigtiff(path: Path, spec: PyramidSpec) -> None:
    store = TileStore(path.with_name("tiles"), LevelGrid(spec.size, spec.tile_px), spec.codec)
    for tile in range(store.grid.tile_count):
        store.write_encoded([tile], [spec.codec.encode(np.zeros((1, 1, 3), np.uint8), spec.tile_px)])
    tiff = PyramidTiff(ome_tiff.write_ome_tiff, ome_tiff.build_ome_description)
    deque(tiff.write_file(path, [store], spec))
    assert path.stat().st_size <= tiff.max_bytes([store], spec)
    store.close()


def test_profile_and_metadata_come_back_and_the_profile_is_stored_once(path: Path) -> None:
    profile = bytes(range(256)) * 9
    metadata = {"model": "masrgan x4 <é>", "warning": "research use only", "empty": ""}
    write(path, PyramidSpec(Size(100, 60), MPP, 16, icc=profile, metadata=metadata, software="wsisr 0.1"))
    assert read_metadata(path) == metadata
    with tifffile.TiffFile(path) as tiff:
        first, *others = (page.aspage() for page in tiff.pages)
        assert first.iccprofile == profile
        assert first.software == "wsisr 0.1"
        assert first.subfiletype == 0
        for page in others:
            assert page.iccprofile is None
            assert page.subfiletype == 1
    with openslide.OpenSlide(path) as slide:
        assert metadata["warning"] in slide.properties["tiff.ImageDescription"]


def test_an_unknown_pixel_size_stays_unknown(path: Path) -> None:
    write(path, PyramidSpec(Size(40, 20), None, 16))
    with openslide.OpenSlide(path) as slide:
        assert "openslide.mpp-x" not in slide.properties
    with tiffslide.TiffSlide(path) as slide:
        assert slide.properties.get("tiffslide.mpp-x") is None


@pytest.mark.parametrize("box", [Box(8, 0, 32, 16), Box(0, 0, 24, 16), Box(0, 0, 48, 16), Box(0, 0, 0, 0)])
def test_what_is_not_whole_tiles_of_the_image_is_refused(path: Path, box: Box) -> None:
    with (
        PyramidWriter(path, PyramidSpec(Size(40, 20), MPP, 16), overwrite=True) as writer,
        pytest.raises(ValueError, match="whole tiles"),
    ):
        writer.write(box, np.zeros((box.height, box.width, 3), np.uint8))


def test_pixels_of_another_shape_or_depth_are_refused(path: Path) -> None:
    with PyramidWriter(path, PyramidSpec(Size(40, 20), MPP, 16), overwrite=True) as writer:
        for pixels in (np.zeros((16, 32, 3), np.uint8), np.zeros((20, 40), np.uint8), np.zeros((20, 40, 3))):
            with pytest.raises(ValueError, match="not uint8"):
                writer.write(Box(0, 0, 40, 20), pixels.astype(pixels.dtype, copy=False))


def test_a_tile_written_twice_or_never_is_refused(path: Path) -> None:
    with PyramidWriter(path, PyramidSpec(Size(40, 20), MPP, 16), overwrite=True) as writer:
        writer.write(Box(0, 0, 16, 16), np.zeros((16, 16, 3), np.uint8))
        with pytest.raises(ValueError, match="twice"):
            writer.write(Box(0, 0, 16, 16), np.zeros((16, 16, 3), np.uint8))
        with pytest.raises(ValueError, match="5 tiles"):
            next(writer.finish())


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": Size(0, 4)},
        {"tile_px": 24},
        {"tile_px": 0},
        {"mpp": 0.0},
        {"mpp": float("nan")},
    ],
)
def test_an_impossible_file_is_refused_before_it_is_begun(wrong: dict[str, object]) -> None:
    with pytest.raises(OutputError, match=r"cannot be written|does not exist"):
        replace(PyramidSpec(Size(4, 4), MPP), **wrong)  # type: ignore[arg-type]
