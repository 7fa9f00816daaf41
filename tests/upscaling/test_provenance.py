"""What a result says of where it comes from."""

from __future__ import annotations

import hashlib
from collections import deque
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.samples import InMemorySlide, make_noise, write_tiff
from wsisr.imaging.geometry import Size
from wsisr.models.upscaler import Resampling
from wsisr.slides import open_slide
from wsisr.slides.region import SlideRegion, select_region
from wsisr.upscaling.engine import upscale_region
from wsisr.upscaling.plan import UpscaleOptions, plan_upscaling
from wsisr.upscaling.provenance import describe_difference, provenance_metadata
from wsisr.writing import Codec, read_metadata

BICUBIC = Resampling("bicubic", 2)
SCANNED = {
    "resolution": (20000, 20000),
    "resolutionunit": "CENTIMETER",
    "datetime": "2009:12:29 09:59:15",
    "extratags": [(271, 2, 0, "Hamamatsu", True), (272, 2, 0, "NanoZoomer S360", True)],
}


@pytest.mark.parametrize("name", ["out.ome.tif", "out.svs"])
def test_every_layout_tells_slide_model_parameters_and_scanner(tmp_path: Path, name: str) -> None:
    slide = write_tiff(tmp_path / "slide.tif", make_noise(Size(300, 200)), **SCANNED)
    with open_slide(slide) as opened:
        deque(
            upscale_region(
                select_region(opened), BICUBIC, tmp_path / name, options=UpscaleOptions(codec=Codec(quality=70))
            ),
            0,
        )
    note = read_metadata(tmp_path / name)
    assert note["source sha256"] == hashlib.sha256(slide.read_bytes()).hexdigest()
    assert (note["model"], note["scale"], note["weights sha256"]) == ("bicubic", "2", "none")
    assert note["codec"] == "jpeg, quality 70, 444"
    assert (note["scanner maker"], note["scanner model"]) == ("Hamamatsu", "NanoZoomer S360")
    assert note["scan date"] == "2009-12-29"
    assert "research use only" in note["derived"]


def test_the_day_is_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    with open_slide(write_tiff(tmp_path / "slide.tif", make_noise(Size(300, 200)), **SCANNED)) as slide:
        output = plan_upscaling(select_region(slide), BICUBIC, UpscaleOptions(deidentify=True)).output
    assert "scan date" not in output.metadata
    assert "2009" not in str(output.metadata)


def test_too_short_an_overlap_is_told() -> None:
    source = SlideRegion(InMemorySlide(make_noise(Size(300, 200))), 0)
    assert "overlap" not in plan_upscaling(source, BICUBIC, UpscaleOptions()).output.metadata
    assert (
        plan_upscaling(source, BICUBIC, UpscaleOptions(overlap_px=2))
        .output.metadata["overlap"]
        .startswith("2 px, less than")
    )


def test_a_file_made_otherwise_differs_and_one_made_elsewhere_does_not() -> None:
    source = SlideRegion(InMemorySlide(make_noise(Size(30, 20))), 0)
    requested = provenance_metadata(source, BICUBIC, Codec())
    assert describe_difference(requested | {"source sha256": "1", "computed": "on cuda in bf16"}, requested) is None
    assert describe_difference(requested, provenance_metadata(source, BICUBIC, Codec(quality=80))) == (
        "codec: jpeg, quality 90, 444, not jpeg, quality 80, 444"
    )
    assert describe_difference(requested | {"overlap": "2 px"}, requested) == "overlap: 2 px, not none"


CODECS = st.builds(Codec, st.sampled_from(["jpeg", "lzw"]), st.integers(88, 92), st.sampled_from(["420", "444"]))


@given(CODECS, CODECS)
def test_codecs_have_the_same_words_if_and_only_if_they_store_the_same(one: Codec, other: Codec) -> None:
    pixels = make_noise(Size(64, 64))
    assert (one.description == other.description) == (one.encode(pixels, 64) == other.encode(pixels, 64))


@given(CODECS)
def test_a_codec_is_known_by_its_words(codec: Codec) -> None:
    parsed = Codec.parse(codec.description)
    assert parsed is not None
    assert parsed.description == codec.description
    assert Codec.parse(codec.description + "!") is None
