import re
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from wsisr.errors import SlideError
from wsisr.imaging.geometry import Size
from wsisr.writing.layouts.ome_xml import build_ome_xml, parse_ome_metadata
from wsisr.writing.metadata import read_metadata
from wsisr.writing.spec import PyramidSpec

NAMES = {"ome": "http://www.openmicroscopy.org/Schemas/OME/2016-06"}

any_text = st.text(st.characters(codec=None, categories=None), max_size=20)
xml_text = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"]) | st.sampled_from("\t\n"))


@given(st.dictionaries(xml_text, xml_text, max_size=4))
def test_metadata_comes_back_word_for_word(metadata: dict[str, str]) -> None:
    assert parse_ome_metadata(build_ome_xml(PyramidSpec(Size(1, 1), None, metadata=metadata))) == metadata


@given(any_text, any_text)
def test_metadata_never_breaks_the_document_and_what_xml_cannot_hold_is_marked(key: str, text: str) -> None:
    [(key_back, text_back)] = parse_ome_metadata(
        build_ome_xml(PyramidSpec(Size(1, 1), None, metadata={key: text}))
    ).items()
    for given_text, back in ((key, key_back), (text, text_back)):
        assert len(given_text) == len(back)
        assert all(new in (old, "\ufffd") for old, new in zip(given_text, back, strict=True))


@given(st.floats(1e-4, 1e4))
def test_the_document_states_size_and_pixel_size(mpp: float) -> None:
    pixels = ElementTree.fromstring(build_ome_xml(PyramidSpec(Size(30, 20), mpp))).find("ome:Image/ome:Pixels", NAMES)
    assert pixels is not None
    assert (pixels.get("SizeX"), pixels.get("SizeY"), pixels.get("SizeC")) == ("30", "20", "3")
    assert float(pixels.get("PhysicalSizeX", "")) == float(pixels.get("PhysicalSizeY", "")) == mpp
    assert pixels.get("PhysicalSizeXUnit") == "µm"


def test_the_micro_sign_is_no_numeric_reference_because_bio_formats_blanks_those_out() -> None:
    xml = build_ome_xml(PyramidSpec(Size(30, 20), 0.25, metadata={"name": "Zürich"}))
    assert b"&#" not in xml
    assert "µm" in xml.decode()


def test_an_unknown_pixel_size_is_not_stated() -> None:
    assert b"PhysicalSize" not in build_ome_xml(PyramidSpec(Size(30, 20), None))


def test_a_tiff_of_another_program_has_no_metadata(tmp_path: Path) -> None:
    path = tmp_path / "other.tif"
    tifffile.imwrite(path, np.zeros((8, 8), np.uint8), description="not <xml")
    assert read_metadata(path) == {}


def test_a_broken_tiff_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.tif"
    tifffile.imwrite(path, np.zeros((8, 8), np.uint8))
    for end in range(path.stat().st_size - 64):
        cut = path.with_name("cut.tif")
        cut.write_bytes(path.read_bytes()[:end])
        with suppress(SlideError):
            assert read_metadata(cut) == {}


def test_metadata_of_a_file_that_is_no_tiff_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "text.tif"
    path.write_text("hello")
    for wrong in (path, tmp_path / "missing.tif"):
        with pytest.raises(SlideError, match=re.escape(str(wrong))):
            read_metadata(wrong)
