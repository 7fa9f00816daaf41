"""Captured pairs: two captures are found, registered and paired, and what does not fit is refused or left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from tests.support.captures import ScanPair, make_tissue, render_scans, write_capture
from tests.support.disks import limit_file_size
from wsisr.cli.build_dataset import build_dataset_app
from wsisr.dataset.alignment import NoCommonTissueError, align_captures
from wsisr.dataset.reader import PatchStore
from wsisr.errors import DatasetError, OutputError, WsisrError
from wsisr.imaging.geometry import Box
from wsisr.slides.readers.array import open_array

RATIO = 2
PATCH_PX = 64


@pytest.fixture(scope="module")
def captures() -> ScanPair:
    return render_scans(make_tissue(21, 900), RATIO, np.random.default_rng(4))


@pytest.fixture
def scan_files(captures: ScanPair, tmp_path: Path) -> tuple[Path, Path]:
    """The coarser and the finer capture as TIFF."""
    low = write_capture(tmp_path / "a_low.tif", captures.low, 1.0)
    return low, write_capture(tmp_path / "a_high.tif", captures.high, 0.5)


@pytest.fixture
def field_folders(captures: ScanPair, tmp_path: Path) -> tuple[Path, Path]:
    """Folders of the coarser and the finer capture, each with one field as PNG."""
    for folder, pixels in (("10x", captures.low), ("20x", captures.high)):
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels).save(tmp_path / folder / "b.png")
    return tmp_path / "10x", tmp_path / "20x"


def run_captured(*arguments: str | Path) -> Result:
    options = ["captured", *map(str, arguments), "--jobs", "1", "-q", "--patch-px", str(PATCH_PX)]
    return CliRunner().invoke(build_dataset_app, options, catch_exceptions=False)


@pytest.mark.parametrize(("quarter", "flip"), [(0, True), (90, False), (180, False), (270, True)])
def test_two_whole_files_are_found_without_hints_however_they_lie(tmp_path: Path, quarter: int, flip: bool) -> None:
    scans = render_scans(make_tissue(21, 900), RATIO, np.random.default_rng(quarter), quarter, flip)
    low, high = write_capture(tmp_path / "a.tif", scans.low, 1.0), write_capture(tmp_path / "b.tif", scans.high, 0.5)
    assert run_captured(low, high, "-o", tmp_path / "d").exit_code == 0
    records = PatchStore(tmp_path / "d").records
    assert len(records) >= 4
    for record in records:
        turn, ratio = float(str(record.parameters["turn"])), float(str(record.parameters["ratio"]))
        assert record.parameters["flip"] is flip
        assert abs((turn - scans.truth.degrees + 180) % 360 - 180) < 0.5
        assert ratio == pytest.approx(scans.truth.scale, rel=0.01)
        corner = np.array([[float(str(record.parameters[f"low {side}"])) for side in ("left", "top")]])
        middle = scans.truth(corner + PATCH_PX / RATIO / 2)[0]
        np.testing.assert_allclose(middle, np.reshape(record.box, (2, 2)).mean(axis=0), atol=1)


def test_captures_of_other_specimens_are_refused(captures: ScanPair) -> None:
    other = render_scans(make_tissue(22, 900), RATIO, np.random.default_rng(1))
    with pytest.raises(NoCommonTissueError):
        align_captures(open_array(captures.low, 1.0), open_array(other.high, 1.0 / RATIO))


def test_the_command_writes_pairs_that_lie_on_each_other(
    captures: ScanPair, scan_files: tuple[Path, Path], tmp_path: Path
) -> None:
    assert run_captured(*scan_files, "-o", tmp_path / "d").exit_code == 0
    store = PatchStore(tmp_path / "d")
    assert len(store.records) >= 4
    for record in store.records:
        left, top = record.parameters["low left"], record.parameters["low top"]
        assert isinstance(left, int)
        assert isinstance(top, int)
        low_box = Box(left, top, left + PATCH_PX // RATIO, top + PATCH_PX // RATIO)
        np.testing.assert_array_equal(store.read_low(record), captures.low[low_box.rows, low_box.columns])
        shrunk = np.asarray(Image.fromarray(store.read_high(record)).reduce(RATIO), np.float64)
        raw = np.asarray(Image.fromarray(store.read_image(record, "hr-raw")).reduce(RATIO), np.float64)
        difference = np.abs(shrunk - store.read_low(record)).mean()
        assert difference < 8
        assert difference < np.abs(raw - store.read_low(record)).mean()


def test_fields_of_a_microscope_find_their_partners_by_what_they_show(
    field_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    other = render_scans(make_tissue(23, 900), RATIO, np.random.default_rng(1))
    Image.fromarray(other.low).save(tmp_path / "10x" / "a.png")
    assert run_captured(*field_folders, "-o", tmp_path / "d").exit_code == 0
    records = PatchStore(tmp_path / "d").records
    assert records
    assert {record.parameters["low"] for record in records} == {"b.png"}
    assert {record.mpp_hr for record in records} == {0.5}


def test_bad_input_is_one_line(tmp_path: Path, captures: ScanPair) -> None:
    bare, other = (
        write_capture(tmp_path / "bare.tif", captures.low, None),
        write_capture(tmp_path / "other.tif", captures.high, 0.5),
    )
    output: list[str | Path] = ["-o", tmp_path / "d"]
    with pytest.raises(DatasetError, match="pixel size is not recorded; give it with --mpp"):
        run_captured(bare, other, *output)
    with pytest.raises(DatasetError, match="name the coarser capture first"):
        run_captured(other, bare, *output, "--mpp", "0.5", "0.5")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "torn_20x.png").write_bytes(b"no image")
    with pytest.raises(DatasetError, match="not a slide"):
        run_captured(bare, tmp_path / "folder", *output)
    assert not (tmp_path / "d").exists()


def get_refusal(folder: Path, *arguments: str | Path) -> str:
    """Return the one line with which a build is refused; it must leave no file."""
    before = sorted(folder.rglob("*"))
    with pytest.raises(WsisrError) as error:
        run_captured(*arguments, "-o", folder / "d")
    assert sorted(folder.rglob("*")) == before
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_shows_nothing_in_common_is_refused_and_leaves_nothing(
    captures: ScanPair, scan_files: tuple[Path, Path], tmp_path: Path
) -> None:
    low, high = scan_files
    other = write_capture(
        tmp_path / "b_low.tif", render_scans(make_tissue(22, 900), RATIO, np.random.default_rng(1)).low, 1.0
    )
    glass = write_capture(tmp_path / "glass.tif", np.full_like(captures.low, 240), 1.0)
    for wrong in (other, glass):
        assert f"{wrong} and {high.name}: no common tissue found" in get_refusal(tmp_path, wrong, high)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert str(empty) in get_refusal(tmp_path, empty, high)
    with limit_file_size(20_000), pytest.raises(OutputError, match="file too large"):
        run_captured(low, high, "-o", tmp_path / "d")
    assert not list(tmp_path.glob("d*"))


def test_a_capture_of_an_unfit_pixel_size_stops_no_other(captures: ScanPair, tmp_path: Path) -> None:
    low, high = tmp_path / "low", tmp_path / "high"
    for folder in (low, high):
        folder.mkdir()
    Image.fromarray(captures.low).save(low / "a_4x.png")
    Image.fromarray(captures.low).save(low / "b_20x.png")
    Image.fromarray(captures.high).save(high / "b_40x.png")
    assert run_captured(low, high, "-o", tmp_path / "d").exit_code == 0
    assert {record.parameters["low"] for record in PatchStore(tmp_path / "d").records} == {"b_20x.png"}


def test_an_image_that_cannot_be_read_stops_no_other(field_folders: tuple[Path, Path], tmp_path: Path) -> None:
    for folder in field_folders:
        (folder / "a.png").write_bytes(b"no image")
    done = run_captured(*field_folders, "-o", tmp_path / "d")
    assert done.exit_code == 3
    assert [line for line in done.stderr.splitlines() if "error" in line] == [
        f"wsisr: error: {tmp_path / '20x' / 'a.png'}: not a slide, or in a format that neither OpenSlide nor tifffile "
        "reads; check the file (2 slides in all)"
    ]
    assert {record.slide for record in PatchStore(tmp_path / "d").records} == {"b.png"}
