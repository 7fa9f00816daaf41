from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from tests.support.captures import CaptureFlaws, ScanPair, make_tissue, render_capture, render_scans, write_capture
from tests.support.disks import limit_file_size
from wsisr.cli.build_dataset import build_dataset_app
from wsisr.dataset.alignment import NoCommonTissueError, align_captures
from wsisr.dataset.captures import ImageSlide, open_capture, pixel_size_from_name
from wsisr.dataset.colour_matching import ColourMatch, sample_colours
from wsisr.dataset.reader import PatchStore
from wsisr.dataset.registration.affine import Affine
from wsisr.errors import DatasetError, OutputError, SlideError, WsisrError
from wsisr.imaging.geometry import Box, Size

RATIO = 2
PATCH_PX = 64


@pytest.fixture(scope="module")
def captures() -> ScanPair:
    return render_scans(make_tissue(21, 900), RATIO, np.random.default_rng(4))


def run(*arguments: str | Path) -> Result:
    options = ["captured", *map(str, arguments), "--jobs", "1", "-q", "--patch-px", str(PATCH_PX)]
    return CliRunner().invoke(build_dataset_app, options, catch_exceptions=False)


@pytest.mark.parametrize(("quarter", "flip"), [(0, True), (90, False), (180, False), (270, True)])
def test_two_whole_files_are_found_without_hints_however_they_lie(tmp_path: Path, quarter: int, flip: bool) -> None:
    made = render_scans(make_tissue(21, 900), RATIO, np.random.default_rng(quarter), quarter, flip)
    low, high = write_capture(tmp_path / "a.tif", made.low, 1.0), write_capture(tmp_path / "b.tif", made.high, 0.5)
    assert run(low, high, "-o", tmp_path / "d").exit_code == 0
    records = PatchStore(tmp_path / "d").records
    assert len(records) >= 4
    for record in records:
        turn, ratio = float(str(record.parameters["turn"])), float(str(record.parameters["ratio"]))
        assert record.parameters["flip"] is flip
        assert abs((turn - made.truth.degrees + 180) % 360 - 180) < 0.5
        assert ratio == pytest.approx(made.truth.scale, rel=0.01)
        corner = np.array([[float(str(record.parameters[f"low {side}"])) for side in ("left", "top")]])
        middle = made.truth(corner + PATCH_PX / RATIO / 2)[0]
        np.testing.assert_allclose(middle, np.reshape(record.box, (2, 2)).mean(axis=0), atol=1)


def test_captures_of_other_specimens_are_refused(captures: ScanPair) -> None:
    other = render_scans(make_tissue(22, 900), RATIO, np.random.default_rng(1))
    with pytest.raises(NoCommonTissueError):
        align_captures(ImageSlide(Path("low"), captures.low, 1.0), ImageSlide(Path("high"), other.high, 1.0 / RATIO))


def test_the_command_writes_pairs_that_lie_on_each_other(captures: ScanPair, tmp_path: Path) -> None:
    low, high = (
        write_capture(tmp_path / "a_low.tif", captures.low, 1.0),
        write_capture(tmp_path / "a_high.tif", captures.high, 0.5),
    )
    assert run(low, high, "-o", tmp_path / "d").exit_code == 0
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
        apart = np.abs(shrunk - store.read_low(record)).mean()
        assert apart < 8
        assert apart < np.abs(raw - store.read_low(record)).mean()


def test_fields_of_a_microscope_find_their_partners_by_what_they_show(captures: ScanPair, tmp_path: Path) -> None:
    for folder, pixels in (("10x", captures.low), ("20x", captures.high)):
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels).save(tmp_path / folder / "b.png")
    other = render_scans(make_tissue(23, 900), RATIO, np.random.default_rng(1))
    Image.fromarray(other.low).save(tmp_path / "10x" / "a.png")
    assert run(tmp_path / "10x", tmp_path / "20x", "-o", tmp_path / "d").exit_code == 0
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
        run(bare, other, *output)
    with pytest.raises(DatasetError, match="name the coarser capture first"):
        run(other, bare, *output, "--mpp", "0.5", "0.5")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "torn_20x.png").write_bytes(b"no image")
    with pytest.raises(DatasetError, match="cannot be read as an image"):
        run(bare, tmp_path / "folder", *output)
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("path", "mpp"), [("a_20x.png", 0.5), ("40x/a.png", 0.25), ("10X/b-2.5x.tif", 4.0), ("max2x3.png", None)]
)
def test_a_magnification_in_a_name_stands_for_a_pitch(path: str, mpp: float | None) -> None:
    assert pixel_size_from_name(Path(path)) == mpp


def test_a_torn_image_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n")
    with pytest.raises(SlideError, match=r"a\.png"):
        open_capture(tmp_path / "a.png")


@pytest.mark.parametrize("make", [lambda: Box(-3, 5, 4, 9), lambda: Box(15, 18, 25, 30)])
def test_what_lies_outside_a_field_is_white(make: Callable[[], Box]) -> None:
    field = ImageSlide(Path("a.png"), np.zeros((20, 20, 3), np.uint8), 1.0)
    pixels = field.read(make(), 0)
    assert pixels.shape[:2] == (make().height, make().width)
    assert set(np.unique(pixels)) == {0, 255}


def test_blur_noise_and_jpeg_do_not_change_what_colours_are_matched_to() -> None:
    random, fine = np.random.default_rng(0), make_tissue(21, 900)
    sharp = render_capture(fine, Affine.similarity(4), Size(225, 225), CaptureFlaws(), random)
    poor = render_capture(
        fine, Affine.similarity(4), Size(225, 225), CaptureFlaws(blur_px=0.8, noise=5, quality=60), random
    )
    colours = ColourMatch.fit([(sample_colours(sharp), sample_colours(poor))])
    np.testing.assert_allclose(colours.matrix[:3], np.eye(3), atol=0.15)


def refused(folder: Path, *arguments: str | Path) -> str:
    """The line with which a build is refused; nothing is left of it."""
    before = sorted(folder.rglob("*"))
    with pytest.raises(WsisrError) as error:
        run(*arguments, "-o", folder / "d")
    assert sorted(folder.rglob("*")) == before
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_shows_nothing_in_common_is_refused_and_leaves_nothing(captures: ScanPair, tmp_path: Path) -> None:
    low, high = (
        write_capture(tmp_path / "a_low.tif", captures.low, 1.0),
        write_capture(tmp_path / "a_high.tif", captures.high, 0.5),
    )
    other = write_capture(
        tmp_path / "b_low.tif", render_scans(make_tissue(22, 900), RATIO, np.random.default_rng(1)).low, 1.0
    )
    glass = write_capture(tmp_path / "glass.tif", np.full_like(captures.low, 240), 1.0)
    for wrong in (other, glass):
        assert f"{wrong} and {high.name}: no common tissue found" in refused(tmp_path, wrong, high)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert str(empty) in refused(tmp_path, empty, high)
    with limit_file_size(20_000), pytest.raises(OutputError, match="file too large"):
        run(low, high, "-o", tmp_path / "d")
    assert not list(tmp_path.glob("d*"))


def test_a_capture_of_an_unfit_pitch_stops_no_other(captures: ScanPair, tmp_path: Path) -> None:
    low, high = tmp_path / "low", tmp_path / "high"
    for folder in (low, high):
        folder.mkdir()
    Image.fromarray(captures.low).save(low / "a_4x.png")
    Image.fromarray(captures.low).save(low / "b_20x.png")
    Image.fromarray(captures.high).save(high / "b_40x.png")
    assert run(low, high, "-o", tmp_path / "d").exit_code == 0
    assert {record.parameters["low"] for record in PatchStore(tmp_path / "d").records} == {"b_20x.png"}


def test_an_image_that_cannot_be_read_stops_no_other(captures: ScanPair, tmp_path: Path) -> None:
    for folder, pixels in (("10x", captures.low), ("20x", captures.high)):
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels).save(tmp_path / folder / "b.png")
        (tmp_path / folder / "a.png").write_bytes(b"no image")
    done = run(tmp_path / "10x", tmp_path / "20x", "-o", tmp_path / "d")
    assert done.exit_code == 3
    assert [line for line in done.stderr.splitlines() if "error" in line] == [
        f"wsisr: error: {tmp_path / '20x' / 'a.png'}: cannot be read as an image "
        "(cannot identify image file '{0}'); leave it out (2 slides in all)".format(tmp_path / "20x" / "a.png")
    ]
    assert {record.slide for record in PatchStore(tmp_path / "d").records} == {"b.png"}
