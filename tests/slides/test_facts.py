"""What a slide says of itself: pitch, objective, colour profile, associated images."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import ImageCms

from tests.support.samples import make_noise, make_noise_levels, write_generic_pyramid, write_ome_pyramid, write_tiff
from wsisr.errors import SlideError
from wsisr.imaging.geometry import Size
from wsisr.slides import SlideInfo, open_slide
from wsisr.slides.pixel_size import (
    COARSEST_MPP,
    FINEST_MPP,
    PixelSize,
    check_recorded_mpp,
    correct_objective,
    derive_pixel_size,
    estimate_mpp,
)
from wsisr.slides.readers.ome_xml import OmeFacts, parse_ome_facts

SIZES = (Size(200, 160), Size(100, 80), Size(50, 40))
PITCHES = st.floats(FINEST_MPP, COARSEST_MPP)


def facts(path: Path, mpp: float | None = None) -> SlideInfo:
    with open_slide(path, mpp) as slide:
        return slide.info


def test_a_real_slide(cmu_slide: Path) -> None:
    info = facts(cmu_slide)
    assert (info.path, info.vendor, info.size) == (cmu_slide, "aperio", Size(2220, 2967))
    assert (info.mpp, info.objective, info.icc) == (0.499, 20.0, None)
    assert info.level_mpp(0) == 0.499
    assert info.associated == {"label": Size(387, 463), "macro": Size(1280, 431), "thumbnail": Size(574, 768)}
    assert info.properties["aperio.AppMag"] == "20"


@pytest.mark.parametrize("write", [write_generic_pyramid, write_ome_pyramid])
def test_levels_know_their_size_downsample_and_pitch(tmp_path: Path, write: Any) -> None:
    path = write(tmp_path / "pyramid.tif", make_noise_levels(*SIZES))
    info = facts(path, mpp=0.25)
    assert tuple(level.size for level in info.levels) == SIZES
    assert [level.downsample for level in info.levels] == [1.0, 2.0, 4.0]
    assert [info.level_mpp(number) for number in range(3)] == [0.25, 0.5, 1.0]


@pytest.mark.parametrize("tile", [None, (64, 64)])
@pytest.mark.parametrize(
    ("resolution", "unit", "mpp"),
    [
        ((20_000, 20_000), "CENTIMETER", 0.5),
        ((50_800, 50_800), "INCH", 0.5),
        ((20_000, 20_200), "CENTIMETER", (0.5 + 1 / 2.02) / 2),
        ((20_000, 25_000), "CENTIMETER", 0.5),
        ((20_000, 41_000), "CENTIMETER", None),
        ((72, 72), "INCH", None),
        ((20_000, 20_000), "NONE", None),
        ((0, 0), "CENTIMETER", None),
        ((1e8, 1e8), "CENTIMETER", None),
    ],
)
def test_pitch_of_a_plain_tiff_is_its_resolution_where_that_is_plausible(
    tmp_path: Path, tile: Any, resolution: tuple[float, float], unit: str, mpp: float | None
) -> None:
    path = write_tiff(
        tmp_path / "image.tif", make_noise(SIZES[0]), tile=tile, resolution=resolution, resolutionunit=unit
    )
    assert facts(path).mpp == (mpp if mpp is None else pytest.approx(mpp, rel=1e-6))


@pytest.mark.parametrize(
    ("size", "unit", "mpp"),
    [
        *((0.25, "µm", 0.25), (250.0, "nm", 0.25), (2.5e-4, "mm", 0.25), (0.0, "µm", None), (1.0, "pixel", None)),
        *((0.25, "micron", 0.25), (2500.0, "Å", 0.25), (0.25 / 25_400, "in", 0.25), (1.0, "reference frame", None)),
    ],
)
def test_pitch_of_an_ome_tiff_is_its_physical_size(tmp_path: Path, size: float, unit: str, mpp: float | None) -> None:
    ome = {"PhysicalSizeX": size, "PhysicalSizeXUnit": unit, "PhysicalSizeY": size, "PhysicalSizeYUnit": unit}
    info = facts(write_ome_pyramid(tmp_path / "image.ome.tif", make_noise_levels(*SIZES), ome))
    assert info.vendor == "ome"
    assert info.mpp == (mpp if mpp is None else pytest.approx(mpp))


def test_a_pixel_size_in_an_unknown_unit_is_said(tmp_path: Path) -> None:
    ome = {"PhysicalSizeX": 1.0, "PhysicalSizeXUnit": "furlong", "PhysicalSizeY": 1.0, "PhysicalSizeYUnit": "furlong"}
    words = ("its pixel size is in 'furlong', a unit that is not understood (--mpp)",)
    assert facts(write_ome_pyramid(tmp_path / "a.ome.tif", make_noise_levels(*SIZES), ome)).warnings == words
    described = {"description": "ImageJ=1.53t\nunit=furlong\n", "resolution": (2, 2), "resolutionunit": "NONE"}
    assert facts(write_tiff(tmp_path / "a.tif", make_noise(SIZES[0]), **described)).warnings == words


def test_a_given_pitch_overrides_the_recorded_one(cmu_slide: Path) -> None:
    assert facts(cmu_slide, mpp=0.3).mpp == 0.3


@pytest.mark.parametrize("mpp", [0.0, -0.5, math.nan, math.inf, 500.0])
def test_an_impossible_given_pitch_is_refused(cmu_slide: Path, mpp: float) -> None:
    with pytest.raises(SlideError, match=r"no slide has pixels of .* um; give 0\.01 to 20 um/px"):
        open_slide(cmu_slide, mpp)


@given(x=PITCHES, ratio=st.floats(0.3, 3))
def test_axes_that_agree_within_two_percent_give_their_mean_others_the_coarser_or_nothing(
    x: float, ratio: float
) -> None:
    y = x * ratio
    pitch = derive_pixel_size(x, y)
    if pitch.mpp is None:
        assert not 0.5001 < ratio < 1.9999 or not FINEST_MPP <= y <= COARSEST_MPP
    elif pitch.pixel_aspect == (1, 1):
        assert pitch.mpp == (x + y) / 2
        assert abs(x - y) <= 0.0201 * pitch.mpp
    else:
        assert pitch.mpp == max(x, y)
        assert (pitch.mpp / pitch.pixel_aspect[0], pitch.mpp / pitch.pixel_aspect[1]) == pytest.approx((x, y))
        assert min(pitch.pixel_aspect) == 1 < max(pitch.pixel_aspect) <= 2


@given(x=PITCHES)
def test_a_square_pixel_keeps_its_pitch_exactly(x: float) -> None:
    assert derive_pixel_size(x, x) == PixelSize(x)


@pytest.mark.parametrize("bad", [None, 0.0, -1.0, math.nan, math.inf, 352.8])
def test_an_axis_that_cannot_be_gives_no_pitch(bad: float | None) -> None:
    assert derive_pixel_size(bad, 0.5) == derive_pixel_size(0.5, bad) == PixelSize()


OME = """<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Instrument ID="I:0">
<Objective ID="O:0" NominalMagnification="20"/>{lens}</Instrument><Image ID="Image:0">{settings}
<Pixels ID="P:0" DimensionOrder="XYCZT" Type="uint8" SizeX="200" SizeY="160" SizeC="3" SizeZ="1" SizeT="1"
PhysicalSizeX="0.5" PhysicalSizeY="0.5"><Channel ID="C:0" SamplesPerPixel="3"/><TiffData IFD="0" PlaneCount="1"/>
</Pixels></Image></OME>"""
OTHER_LENS = '<Objective ID="O:1" NominalMagnification="40"/>'


@pytest.mark.parametrize(
    ("lens", "settings", "objective"),
    [
        ("", "", 20.0),
        (OTHER_LENS, '<ObjectiveSettings ID="O:1"/>', 40.0),
        (OTHER_LENS, "", None),
        ("", '<ObjectiveSettings ID="O:7"/>', None),
    ],
)
def test_the_objective_is_the_one_the_image_names_or_the_only_one(
    lens: str, settings: str, objective: float | None
) -> None:
    assert parse_ome_facts(OME.format(lens=lens, settings=settings), SIZES[0]) == OmeFacts(PixelSize(0.5), objective)


@pytest.mark.parametrize("xml", ["", "<OME", "<OME/>", "plain text", OME.format(lens="", settings="")])
def test_xml_that_does_not_speak_of_this_image_says_nothing(xml: str) -> None:
    assert parse_ome_facts(xml, Size(1, 1)) == OmeFacts()


def test_an_ome_objective_is_found_whichever_library_reads_the_pixels(tmp_path: Path) -> None:
    xml = OME.format(lens="", settings="")
    with tifffile.TiffWriter(tmp_path / "hybrid.tif") as writer:
        for number, image in enumerate(make_noise_levels(*SIZES)):
            description = xml if number == 0 else None
            writer.write(
                image,
                tile=(64, 64),
                photometric="rgb",
                subfiletype=min(number, 1),
                description=description,
                metadata=None,
            )
    info = facts(tmp_path / "hybrid.tif")
    assert (info.reader, info.vendor, info.mpp, info.objective, len(info.levels)) == ("openslide", "ome", 0.5, 20.0, 3)


@pytest.mark.parametrize("tile", [None, (64, 64)])
def test_the_colour_profile_is_given_as_stored(tmp_path: Path, tile: Any) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = write_tiff(tmp_path / "image.tif", make_noise(SIZES[0]), tile=tile, iccprofile=profile)
    assert facts(path).icc == profile


def test_a_damaged_colour_profile_does_not_matter_for_opening(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "image.tif", make_noise(SIZES[0]), tile=(64, 64), iccprofile=b"no profile")
    assert facts(path).icc == b"no profile"


def test_the_largest_image_is_the_slide_and_others_are_associated(tmp_path: Path) -> None:
    path = tmp_path / "several.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(make_noise(Size(30, 20)), photometric="rgb", metadata={"axes": "YXS", "Name": "Macro"})
        writer.write(np.asarray(make_noise(SIZES[0])), photometric="rgb", metadata={"axes": "YXS", "Name": "Scan"})
    info = facts(path)
    assert info.size == SIZES[0]
    assert info.associated == {"macro": Size(30, 20)}


@pytest.mark.parametrize(("objective", "mpp"), [(20.0, 0.5), (40.0, 0.25), (None, None), (0.0, None), (4000.0, None)])
def test_a_pitch_is_estimated_from_an_objective_that_can_be(objective: float | None, mpp: float | None) -> None:
    assert estimate_mpp(objective) == mpp


def test_an_estimate_is_made_only_where_asked_and_is_said(tmp_path: Path) -> None:
    xml = OME.format(lens="", settings="").replace('PhysicalSizeX="0.5" PhysicalSizeY="0.5"', "")
    path = write_tiff(tmp_path / "image.ome.tif", make_noise(SIZES[0]), description=xml)
    assert (facts(path).mpp, facts(path).mpp_origin) == (None, "not recorded")
    with open_slide(path, estimate=True) as slide:
        assert (slide.info.mpp, slide.info.mpp_origin) == (0.5, "estimated from the 20x objective")
        assert "estimate from the 20x objective" in slide.info.warnings[0]


@pytest.mark.parametrize(
    ("mpp", "objective", "doubted"),
    [(0.25, 40, False), (0.22, 20, False), (0.5, None, False), (16.8, None, True), (0.02, None, True), (1.0, 40, True)],
)
def test_a_pitch_that_can_hardly_be_is_doubted(mpp: float, objective: float | None, doubted: bool) -> None:
    assert bool(list(check_recorded_mpp(mpp, objective))) == doubted


def test_a_given_pitch_is_marked_as_given(cmu_slide: Path) -> None:
    assert facts(cmu_slide, mpp=0.3).mpp_origin == "given by the user; the file records 0.499 um/px"


def test_a_given_pitch_far_from_the_recorded_one_is_remarked_on(cmu_slide: Path) -> None:
    (said,) = facts(cmu_slide, mpp=0.3).warnings
    assert said == "0.3 um/px was given, where the file records 0.499; the given one counts"
    assert facts(cmu_slide, mpp=0.5).warnings == ()


@pytest.mark.parametrize(
    ("given", "recorded", "objective"),
    [
        (0.499, 20, 20),
        (0.4415, 20, 20),
        (0.46, 20, 20),
        (1.0, 20, 10),
        (0.25, 20, 40),
        (0.3, 20, 33.3),
        (0.3, None, None),
    ],
)
def test_a_magnification_that_contradicts_a_given_pitch_gives_way(
    given: float, recorded: float | None, objective: float | None
) -> None:
    assert correct_objective(given, recorded) == objective
