"""Which pages of a TIFF are its levels, and which facts are whose, however the program that wrote it arranged them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from tests.slides.contract import SlideContract, SlideSample
from tests.support.samples import make_noise, make_noise_levels, write_ome_pyramid, write_tiff
from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.slides import Slide, open_slide

LEVELS = make_noise_levels(Size(221, 183), Size(110, 91), Size(55, 45))
UM: dict[str, Any] = {"PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}
TILED: dict[str, Any] = {"tile": (64, 64), "compression": "zlib"}


def read_levels(slide: Slide) -> list[Rgb]:
    return [slide.read(Box.from_size(level.size), number) for number, level in enumerate(slide.info.levels)]


def assert_shows(path: Path, levels: Sequence[Rgb], series: int | None = None) -> None:
    with open_slide(path, series=series) as slide:
        shown = read_levels(slide)
    assert [pixels.shape for pixels in shown] == [pixels.shape for pixels in levels]
    for one, other in zip(shown, levels, strict=True):
        np.testing.assert_array_equal(one, other)


def write_planes(path: Path, levels: Sequence[Rgb], channels: dict[str, Any], **options: Any) -> Path:
    """Write an OME-TIFF of three pages of one sample each, and SubIFDs alike."""
    layout: dict[str, Any] = {"photometric": "minisblack"} | TILED | options
    with tifffile.TiffWriter(path, ome=True) as writer:
        for number, pixels in enumerate(levels):
            facts: dict[str, Any] = {"subifds": len(levels) - 1, "metadata": {"axes": "CYX", "Channel": channels} | UM}
            writer.write(np.moveaxis(pixels, -1, 0), **(facts if number == 0 else {"subfiletype": 1}), **layout)
    return path


def write_planar(path: Path, levels: Sequence[Rgb], **options: Any) -> Path:
    """Write an OME-TIFF of planar configuration 2, and SubIFDs alike."""
    layout: dict[str, Any] = {"photometric": "rgb", "planarconfig": "separate"} | TILED | options
    with tifffile.TiffWriter(path, ome=True) as writer:
        for number, pixels in enumerate(levels):
            facts: dict[str, Any] = {"subifds": len(levels) - 1, "metadata": {"axes": "SYX"}}
            writer.write(np.moveaxis(pixels, -1, 0), **(facts if number == 0 else {"subfiletype": 1}), **layout)
    return path


RGB = {"Name": ["Red", "Green", "Blue"]}
SEPARATE_COLOURS = {
    "pages, named": lambda path: write_planes(path, LEVELS, RGB),
    "pages, coloured": lambda path: write_planes(path, LEVELS, {"Color": [-16776961, 16711935, 65535]}),
    "pages, in strips": lambda path: write_planes(path, LEVELS[:1], RGB, tile=None, rowsperstrip=50, compression=None),
    "planar": lambda path: write_planar(path, LEVELS),
    "planar, uncompressed": lambda path: write_planar(path, LEVELS, compression=None),
}


class TestSeparateColours(SlideContract):
    @pytest.fixture(scope="class", params=SEPARATE_COLOURS)
    @classmethod
    def sample(cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SlideSample:
        path = SEPARATE_COLOURS[request.param](tmp_path_factory.mktemp("planes") / "a.ome.tif")
        count = 1 if "strips" in request.param else len(LEVELS)
        return SlideSample(lambda: open_slide(path), LEVELS[:count])


def test_planes_in_another_order_are_red_green_and_blue(tmp_path: Path) -> None:
    path = write_planes(tmp_path / "a.ome.tif", [level[..., ::-1] for level in LEVELS], {"Name": ["b", "g", "r"]})
    assert_shows(path, LEVELS)


@pytest.mark.parametrize(
    "channels",
    [
        {"Name": ["DAPI", "FITC", "TRITC"]},
        {"Name": ["DAPI", "FITC", "TRITC"], "Color": [-16776961, 16711935, 65535]},
        {"Name": ["Red", "Green", "Green"]},
        {"Name": ["Red", "Green", "Blue"], "EmissionWavelength": [600, 520, 450]},
        {},
    ],
)
def test_three_pages_that_nobody_calls_rgb_are_fluorescence(tmp_path: Path, channels: dict[str, Any]) -> None:
    with pytest.raises(SlideError, match="one sample per pixel, as in fluorescence"):
        open_slide(write_planes(tmp_path / "a.ome.tif", LEVELS, channels))


@pytest.mark.parametrize("order", [(0, 2, 1), (0, 1, 2)])
def test_levels_go_from_fine_to_coarse_whatever_the_order_of_the_file(tmp_path: Path, order: Sequence[int]) -> None:
    path = write_ome_pyramid(tmp_path / "a.ome.tif", [LEVELS[number] for number in order])
    assert_shows(path, LEVELS)


def write_pages(path: Path, pages: Sequence[tuple[Rgb, dict[str, Any]]]) -> Path:
    with tifffile.TiffWriter(path) as writer:
        for pixels, options in pages:
            writer.write(pixels, **({"photometric": "rgb", "metadata": None} | options))
    return path


@pytest.mark.parametrize("order", [(0, 2, 1), (0, 1, 2)])
@pytest.mark.parametrize("compression", ["zlib", "webp"])
@pytest.mark.parametrize("in_subifds", [True, False])
def test_levels_of_plain_tiff_go_from_fine_to_coarse_too(
    tmp_path: Path, order: Sequence[int], compression: str, in_subifds: bool
) -> None:
    levels = make_noise_levels(Size(512, 384), Size(256, 192), Size(128, 96))
    layout = TILED | {
        "compression": compression,
        "compressionargs": {"lossless": True} if compression == "webp" else {},
    }
    pages = [(levels[number], layout | {"subfiletype": min(number, 1)}) for number in order]
    if in_subifds:
        pages[0][1]["subifds"] = 2
    assert_shows(write_pages(tmp_path / "a.tif", pages), levels)


def test_a_marked_level_belongs_to_the_image_before_it(tmp_path: Path) -> None:
    images = [make_noise_levels(*(Size(width >> n, 384 >> n) for n in range(3))) for width in (512, 480)]
    pages = [(image[number], TILED | {"subfiletype": min(number, 1)}) for image in images for number in (0, 2, 1)]
    path = write_pages(tmp_path / "a.tif", pages)
    for number, image in enumerate(images):
        assert_shows(path, image, series=number)


@pytest.mark.parametrize("place", [1, 2])
@pytest.mark.parametrize("compression", ["zlib", None])
def test_a_thumbnail_between_unmarked_levels_is_no_level(tmp_path: Path, place: int, compression: str | None) -> None:
    levels = make_noise_levels(Size(512, 384), Size(256, 192), Size(128, 96))
    layout = {"tile": (64, 64), "compression": compression}
    pages: list[tuple[Rgb, dict[str, Any]]] = [(pixels, layout) for pixels in levels]
    pages.insert(place, (make_noise(Size(128, 96), 7), {"compression": compression}))
    assert_shows(write_pages(tmp_path / "a.tif", [*pages, (make_noise(Size(50, 70)), {})]), levels)


def test_of_two_pages_of_one_size_the_later_one_is_the_level(tmp_path: Path) -> None:
    levels = make_noise_levels(Size(512, 384), Size(256, 192), Size(128, 96))
    pages = [(pixels, TILED) for pixels in levels]
    pages.insert(1, (make_noise(Size(128, 96), 7), TILED | {"compression": "lzw"}))
    path = write_pages(tmp_path / "a.tif", pages)
    assert_shows(path, levels)


def test_pictures_of_their_own_keep_their_numbers(tmp_path: Path) -> None:
    pictures = make_noise_levels(Size(100, 90), Size(200, 150), Size(150, 140))
    path = write_pages(tmp_path / "a.tif", [(pixels, TILED) for pixels in pictures])
    for number, picture in enumerate(pictures):
        assert_shows(path, [picture], series=number)


@pytest.mark.parametrize(("density", "count"), [(10000, 2), (20000, 2), (3000, 1)])
def test_a_smaller_picture_is_a_level_unless_its_resolution_says_otherwise(
    tmp_path: Path, density: int, count: int
) -> None:
    pictures = make_noise_levels(Size(200, 150), Size(100, 75))
    pages = [
        (pixels, TILED | {"resolution": (number, number), "resolutionunit": "CENTIMETER"})
        for pixels, number in zip(pictures, (20000, density), strict=True)
    ]
    with open_slide(write_pages(tmp_path / "b.tif", pages)) as slide:
        assert (len(slide.info.levels), len(slide.info.all_series)) == (count, 0 if count == 2 else 2)


def write_images(path: Path, mpps: Sequence[float]) -> Path:
    """Write an OME-TIFF of images of one size."""
    with tifffile.TiffWriter(path, ome=True) as writer:
        for number, mpp in enumerate(mpps):
            facts = {"axes": "YXS", "Name": str(number), "PhysicalSizeX": mpp, "PhysicalSizeY": mpp} | UM
            writer.write(make_noise(Size(120, 90), number), photometric="rgb", metadata=facts, **TILED)
    return path


def test_images_of_one_size_have_facts_of_their_own(tmp_path: Path) -> None:
    mpps = (0.5, 0.25, 1.0)
    path = write_images(tmp_path / "a.ome.tif", mpps)
    for number, mpp in enumerate(mpps):
        with open_slide(path, series=number) as slide:
            assert slide.info.mpp == mpp
            np.testing.assert_array_equal(slide.read(Box(0, 0, 120, 90), 0), make_noise(Size(120, 90), number))


OME = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'


def image_xml(number: int, mpp: float, uuid: str, name: str, blocks: str = 'IFD="0" PlaneCount="1"') -> str:
    return (
        f'<Image ID="Image:{number}"><Pixels ID="Pixels:{number}" DimensionOrder="XYCZT" Type="uint8" SizeX="120" '
        f'SizeY="90" SizeC="3" SizeZ="1" SizeT="1" PhysicalSizeX="{mpp}" PhysicalSizeY="{mpp}">'
        f'<Channel ID="Channel:{number}:0" SamplesPerPixel="3"/><TiffData {blocks}>'
        f'<UUID FileName="{name}">{uuid}</UUID></TiffData></Pixels></Image>'
    )


@pytest.mark.parametrize("renamed", [False, True])
def test_images_of_one_size_in_several_files_are_told_apart_by_their_uuid(tmp_path: Path, renamed: bool) -> None:
    images = image_xml(0, 0.5, "urn:uuid:a", "a.ome.tif") + image_xml(1, 0.25, "urn:uuid:b", "b.ome.tif")
    for uuid, mpp in (("a", 0.5), ("b", 0.25)):
        xml = f'<?xml version="1.0"?><OME {OME} UUID="urn:uuid:{uuid}">{images}</OME>'
        path = tmp_path / f"{'x' if renamed else ''}{uuid}.ome.tif"
        write_tiff(path, make_noise(Size(120, 90)), description=xml, **TILED)
        with open_slide(path) as slide:
            assert slide.info.mpp == mpp


def test_facts_that_may_be_of_either_image_are_those_of_none(tmp_path: Path) -> None:
    images = image_xml(0, 0.5, "urn:uuid:a", "p.tif") + image_xml(1, 0.25, "urn:uuid:b", "q.tif")
    xml = f'<?xml version="1.0"?><OME {OME} UUID="urn:uuid:c">{images}</OME>'
    path = write_tiff(tmp_path / "a.ome.tif", make_noise(Size(120, 90)), description=xml, **TILED)
    with open_slide(path) as slide:
        assert slide.info.mpp is None


def write_binary_only(folder: Path, companion: str) -> Path:
    folder.mkdir(exist_ok=True)
    xml = f'<?xml version="1.0"?><OME {OME} UUID="urn:uuid:a"><BinaryOnly MetadataFile="{companion}" UUID="u"/></OME>'
    return write_tiff(folder / "a.ome.tif", make_noise(Size(120, 90)), description=xml, **TILED)


COMPANION = f'<?xml version="1.0" encoding="UTF-8"?><OME {OME}>{{}}</OME>'


def test_facts_come_from_a_companion_of_text_or_tiff(tmp_path: Path) -> None:
    images = image_xml(0, 0.25, "urn:uuid:b", "b.ome.tif") + image_xml(1, 0.5, "urn:uuid:a", "a.ome.tif")
    xml = COMPANION.format(images)
    (tmp_path / "x.companion.ome").write_text(xml, encoding="utf-8")
    write_tiff(tmp_path / "first.ome.tif", make_noise(Size(20, 20)), description=xml)
    for name in ("x.companion.ome", "first.ome.tif"):
        with open_slide(write_binary_only(tmp_path, name)) as slide:
            assert (slide.info.mpp, slide.info.size) == (0.5, Size(120, 90))


@pytest.mark.parametrize("name", ["../x.companion.ome", "link.companion.ome", "missing.companion.ome", "bad.ome", ""])
def test_no_companion_is_followed_out_of_the_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "slides"
    folder.mkdir()
    (tmp_path / "x.companion.ome").write_text(COMPANION.format(image_xml(0, 0.5, "urn:uuid:a", "a.ome.tif")))
    (folder / "link.companion.ome").symlink_to(tmp_path / "x.companion.ome")
    (folder / "bad.ome").write_bytes(b"\xff\xfe\xff not text")
    with open_slide(write_binary_only(folder, name)) as slide:
        assert slide.info.mpp is None


APERIO = "Aperio Image Library v8.2.43\r\n81713x37331 [70791,733 256x192] (0x0) RAW;Scan|AppMag = 20|MPP = 0.4970|X = 1"


@pytest.mark.parametrize(
    ("description", "options", "mpp", "objective"),
    [
        (APERIO, {"rowsperstrip": 1}, 0.497, 20),
        ("Image Library|AppMag=40|MPP=0.25", TILED, 0.25, 40),
        (APERIO, {"rowsperstrip": 8, "resolution": (40000, 40000), "resolutionunit": "CENTIMETER"}, 0.25, 20),
        ("ImageJ=1.53t\nunit=micron\n", {"resolution": (2, 2), "resolutionunit": "NONE"}, 0.5, None),
        ("ImageJ=1.53t\nunit=\\u00B5m\n", {"resolution": (4, 4), "resolutionunit": "NONE"}, 0.25, None),
        ("ImageJ=1.53t\nunit=pixel\n", {"resolution": (2, 2), "resolutionunit": "NONE"}, None, None),
        ("Image Library|AppMag = 20|MPP = 0,4970", TILED, 0.497, 20),
        ("|MPP = nonsense|AppMag = |MPP", {}, None, None),
    ],
)
def test_pixel_size_and_objective_are_found_in_descriptions(
    tmp_path: Path, description: str, options: dict[str, Any], mpp: float | None, objective: float | None
) -> None:
    path = write_tiff(tmp_path / "a.tif", make_noise(Size(120, 90)), description=description, **options)
    with open_slide(path) as slide:
        assert (slide.info.mpp, slide.info.objective) == (mpp, objective)
