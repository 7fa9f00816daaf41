"""`wsisr info`: the same facts for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from PIL import ImageCms
from typer.testing import CliRunner

import wsisr
from tests.support.pairs import write_slide
from tests.support.samples import make_noise, make_noise_levels, write_ome_pyramid, write_tiff
from wsisr.cli.info import info_command
from wsisr.imaging.geometry import Size

app = typer.Typer()
app.command()(info_command)


def shown(*arguments: str | Path) -> str:
    result = CliRunner(env={"COLUMNS": "120"}).invoke(app, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_json_holds_every_fact_under_stable_names(cmu_slide: Path) -> None:
    assert json.loads(shown(cmu_slide, "--json")) == {
        "path": str(cmu_slide),
        "vendor": "aperio",
        "reader": "tifffile",
        "width": 2220,
        "height": 2967,
        "mpp": 0.499,
        "pitch": "recorded",
        "remarks": [],
        "series": None,
        "scenes": [],
        "bounds": None,
        "objective": 20.0,
        "levels": [{"width": 2220, "height": 2967, "downsample": 1.0, "mpp": 0.499}],
        "icc": None,
        "associated": {
            "label": {"width": 387, "height": 463},
            "macro": {"width": 1280, "height": 431},
            "thumbnail": {"width": 574, "height": 768},
        },
        "derived": {},
    }


def test_the_table_shows_the_same_facts(cmu_slide: Path) -> None:
    table = shown(cmu_slide)
    facts = ["cmu_small_region.svs", "aperio", "2220 x 2967 px", "0.499 um/px", "20x", "label 387 x 463 px", "none"]
    assert [fact for fact in facts if fact not in table] == []


def test_the_table_has_a_line_for_each_level(tmp_path: Path) -> None:
    ome = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
    table = shown(write_ome_pyramid(tmp_path / "a.ome.tif", make_noise_levels(Size(200, 100), Size(100, 50)), ome))
    assert "200 x 100 px, 1/1, 0.25 um/px" in table
    assert "100 x 50 px, 1/2, 0.5 um/px" in table


def test_unrecorded_facts_are_null_and_named(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "bare.tif", make_noise(Size(40, 30)))
    facts = json.loads(shown(path, "--json"))
    assert (facts["mpp"], facts["objective"], facts["levels"][0]["mpp"]) == (None, None, None)
    assert shown(path).count("not recorded") == 3


@pytest.mark.parametrize(("damaged", "name"), [(False, "sRGB"), (True, "damaged")])
def test_a_colour_profile_is_named(tmp_path: Path, damaged: bool, name: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = write_tiff(tmp_path / "image.tif", make_noise(Size(40, 30)), iccprofile=profile[:60] if damaged else profile)
    assert name in shown(path)


def test_square_brackets_in_a_name_are_no_markup(tmp_path: Path) -> None:
    assert "[red]a.tif" in shown(write_tiff(tmp_path / "[red]a.tif", make_noise(Size(40, 30))))


def test_a_missing_slide_stops_no_other(tmp_path: Path) -> None:
    missing, whole = tmp_path / "none.svs", write_tiff(tmp_path / "a.tif", make_noise(Size(40, 30)))
    done = CliRunner().invoke(app, [str(missing), str(whole), str(whole), "--json"], catch_exceptions=False)
    assert done.exit_code == 1
    assert [json.loads(line)["path"] for line in done.stdout.splitlines()] == [str(whole)]
    assert f"error: {missing}: cannot be opened (No such file" in done.stderr


def test_a_pixel_size_is_shown_to_six_digits(tmp_path: Path) -> None:
    ome = {"PhysicalSizeX": 0.12475, "PhysicalSizeY": 0.12475}
    assert "0.12475 um/px" in shown(write_ome_pyramid(tmp_path / "a.ome.tif", make_noise_levels(Size(200, 100)), ome))


def test_a_dicom_folder_is_titled_by_its_name(tmp_path: Path) -> None:
    slide, folder = write_slide(tmp_path / "a.ome.tif", factors=()), tmp_path / "case-7.dcm"
    wsisr.upscale_slide(slide, scale=2, model="bicubic", region=(0, 0, 64, 64), output=folder)
    shown = CliRunner().invoke(app, [str(folder)]).stdout
    assert shown.splitlines()[0].strip() == "case-7.dcm"
