"""What a result may tell of the scanner: its name and the day, and nothing that stands for one person or machine."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from tests.support.samples import make_noise_levels, write_ome_pyramid
from wsisr.imaging.geometry import Size
from wsisr.slides import open_slide
from wsisr.slides.scanner import (
    _MAKER_FIELDS,
    _MAKERS,
    _MODEL_FIELDS,
    _SCAN_DATE_FIELDS,
    identify_scanner,
    parse_scan_date,
)


@pytest.mark.parametrize(
    ("field", "text", "day"),
    [
        ("aperio.Date", "12/29/09", "2009-12-29"),
        ("aperio.Date", "08/13/2021", "2021-08-13"),
        ("tiff.DateTime", "2009:12:29 09:59:15", "2009-12-29"),
        ("leica.creation-date", "2011-11-28T16:05:06.6Z", "2011-11-28"),
        ("dicom.AcquisitionDateTime", "20210720133842.5", "2021-07-20"),
        ("mirax.GENERAL.SLIDE_CREATIONDATETIME", "25/08/2008 15:03:21", "2008-08-25"),
        ("aperio.Date", "S24-1234", None),
        ("aperio.User", "12/29/09", None),
    ],
)
def test_the_day_is_read_as_each_scanner_writes_it(field: str, text: str, day: str | None) -> None:
    assert parse_scan_date({field: text}) == day


@given(st.sampled_from(sorted(_SCAN_DATE_FIELDS)), st.text(max_size=30))
def test_nothing_but_a_day_comes_out_of_a_date(field: str, text: str) -> None:
    found = parse_scan_date({field: text})
    assert found is None or set(found) <= set(string.digits + "-")


def test_maker_and_model_are_kept_and_the_format_tells_a_maker() -> None:
    assert identify_scanner(
        "dicom", {"dicom.Manufacturer": "Leica Biosystems", "dicom.ManufacturerModelName": "GT450"}
    ) == {
        "scanner maker": "Leica Biosystems",
        "scanner model": "GT450",
    }
    assert identify_scanner("aperio", {"aperio.ScannerType": "GT450DX", "aperio.ScanScope ID": "SS45083"}) == {
        "scanner maker": "Aperio",
        "scanner model": "GT450DX",
    }
    assert identify_scanner("generic-tiff", {}) == {}


@given(st.dictionaries(st.sampled_from([*_MAKER_FIELDS, *_MODEL_FIELDS]), st.text(max_size=80)))
def test_only_words_of_the_list_come_out(properties: dict[str, str]) -> None:
    found = identify_scanner("generic-tiff", properties)
    assert found.get("scanner maker", _MAKERS[0]) in _MAKERS
    assert re.fullmatch("[A-Za-z0-9 .-]{2,40}", found.get("scanner model", "AT2"))


@pytest.mark.parametrize("text", ["SN 1234567", "S24-0815-Mustermann", "CAT2000", "AT2000", "Dr. Philipson"])
def test_numbers_and_people_are_no_models(text: str) -> None:
    assert "scanner model" not in identify_scanner("generic-tiff", {"tiff.Model": text, "tiff.Make": text})


def test_of_a_field_only_the_product_is_taken() -> None:
    fields = {"tiff.Make": "LEICA BIOSYSTEMS, room 12", "tiff.Model": "gt450 (SN 4711) of Dr. Mustermann"}
    assert identify_scanner("generic-tiff", fields) == {"scanner maker": "Leica Biosystems", "scanner model": "gt450"}


def test_a_real_slide_tells_its_maker_and_its_day(cmu_slide: object) -> None:
    with open_slide(str(cmu_slide)) as slide:
        assert identify_scanner(slide.info.vendor, slide.info.properties) == {"scanner maker": "Aperio"}
        assert parse_scan_date(slide.info.properties) == "2009-12-29"


def test_ome_xml_tells_microscope_and_day(tmp_path: Path) -> None:
    levels = make_noise_levels(Size(200, 100), Size(100, 50))
    path = write_ome_pyramid(tmp_path / "a.ome.tif", levels, {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5})
    scope = (
        '<Instrument ID="Instrument:0"><Microscope Manufacturer="Carl Zeiss" Model="Axio Scan.Z1" SerialNumber="1"/>'
    )
    words = str(tifffile.tiffcomment(path)).replace("<Image ", f"{scope}</Instrument><Image ", 1)
    words = words.replace("<Pixels ", "<AcquisitionDate>2020-02-29T10:11:12</AcquisitionDate><Pixels ", 1)
    tifffile.tiffcomment(path, words.encode())
    with open_slide(path) as slide:
        assert identify_scanner(slide.info.vendor, slide.info.properties) == {
            "scanner maker": "Zeiss",
            "scanner model": "Axio Scan.Z1",
        }
        assert parse_scan_date(slide.info.properties) == "2020-02-29"
