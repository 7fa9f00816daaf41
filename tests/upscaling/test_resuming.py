"""A run that ended at any moment, goes on: the same file comes out, and finished work is not done again."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.disks import limit_file_size, make_readable_folder, run_as_nobody
from tests.support.forks import run_in_forks
from tests.support.samples import InMemorySlide, make_noise
from wsisr.errors import OutputError, SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import Rgb
from wsisr.models.upscaler import Resampling
from wsisr.slides import FaultTolerantSlide
from wsisr.slides.region import SlideRegion
from wsisr.slides.slide import UndecodableError
from wsisr.upscaling.engine import upscale_region
from wsisr.upscaling.memory import PARALLEL_STORES
from wsisr.upscaling.plan import UpscaleOptions, plan_upscaling
from wsisr.upscaling.quality import QualityMonitor
from wsisr.writing import Codec, WorkFolder, read_metadata

SIZE = Size(500, 400)
UPSCALER = Resampling("lanczos", 2)
EXACT = UpscaleOptions(128)
FEATHERED = UpscaleOptions(128, overlap_px=4, batch=2)
LEVELS = 3
STEPS = 16 + 3
"""Blocks, and rows of the levels above; the rest is assembling."""


class Counting(InMemorySlide):
    """Counts what is read, and fails where it is told to."""

    reads = 0
    fails_at = 0

    def read(self, box: Box, level: int) -> Rgb:
        self.reads += 1
        if self.reads == self.fails_at:
            raise SlideError("picture: level 0 cannot be decoded")
        return super().read(box, level)


def picture() -> SlideRegion:
    return SlideRegion(Counting(make_noise(SIZE)), 0)


@cache
def whole(*, feathered: bool = False) -> bytes:
    """The file of a run that nothing interrupted."""
    with TemporaryDirectory() as folder:
        output = Path(folder) / "whole.tif"
        deque(upscale_region(picture(), UPSCALER, output, options=FEATHERED if feathered else EXACT), 0)
        return output.read_bytes()


def die_after(steps: int, output: Path) -> None:
    """Ends the process as kill -9 does: nothing is closed, nothing is brought to the disk."""
    deque(islice(upscale_region(picture(), UPSCALER, output, options=EXACT), steps), 0)
    os._exit(9)


@pytest.mark.parametrize("options", [EXACT, FEATHERED])
@settings(max_examples=8)
@given(st.lists(st.integers(1, STEPS + 3), min_size=1, max_size=3))
def test_the_file_is_the_same_wherever_the_run_was_stopped(options: UpscaleOptions, stops: list[int]) -> None:
    with TemporaryDirectory() as name:
        folder, output = Path(name), Path(name) / "a.tif"
        for steps in stops:
            if not output.exists():
                making = upscale_region(picture(), UPSCALER, output, options=options)
                deque(islice(making, steps), 0)
                making.close()
        if not output.exists():
            deque(upscale_region(picture(), UPSCALER, output, options=options), 0)
        assert list(folder.iterdir()) == [output]
        assert output.read_bytes() == whole(feathered=options is FEATHERED)


KILLS = [1, 9, 16, 17, STEPS, STEPS + 1, STEPS + LEVELS]


@pytest.fixture(scope="module")
def killed_outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Steps to the output of a process that died after so many."""
    outputs = {steps: tmp_path_factory.mktemp("killed") / "a.tif" for steps in KILLS}
    calls = [f"die_after({steps}, Path({str(output)!r}))" for steps, output in outputs.items()]
    assert run_in_forks("from tests.upscaling.test_resuming import *", calls) == [9] * len(KILLS)
    return outputs


@pytest.mark.parametrize("steps", KILLS)
def test_the_file_is_the_same_after_a_kill_in_any_phase(killed_outputs: dict[int, Path], steps: int) -> None:
    output = killed_outputs[steps]
    assert not output.exists()
    again = picture()
    deque(upscale_region(again, UPSCALER, output, options=EXACT), 0)
    reads = again.slide.reads  # type: ignore[attr-defined]
    in_hand = 1 + 2 * PARALLEL_STORES  # what was stored, but not told of yet, when the process ended
    assert max(0, 16 - steps - in_hand) <= reads <= max(0, 16 - steps)
    assert list(output.parent.iterdir()) == [output]
    assert output.read_bytes() == whole()


@pytest.mark.parametrize("size", [5_000, 40_000, 200_000, 400_000])
def test_after_a_full_disk_the_run_goes_on(tmp_path: Path, size: int) -> None:
    output = tmp_path / "a.tif"
    with limit_file_size(size), pytest.raises(OutputError, match="cannot be written"):
        deque(upscale_region(picture(), UPSCALER, output, options=EXACT), 0)
    assert not output.exists()
    deque(upscale_region(picture(), UPSCALER, output, options=EXACT), 0)
    assert output.read_bytes() == whole()


@pytest.mark.parametrize("read", [1, 2, 9, 16])
def test_after_a_tile_that_could_not_be_read_only_what_is_missing_is_read(tmp_path: Path, read: int) -> None:
    output, source = tmp_path / "a.tif", picture()
    source.slide.fails_at = read  # type: ignore[attr-defined]
    with pytest.raises(SlideError, match="cannot be decoded"):
        deque(upscale_region(source, UPSCALER, output, options=EXACT), 0)
    again = picture()
    deque(upscale_region(again, UPSCALER, output, options=EXACT), 0)
    assert again.slide.reads == 16 - (read - 1)  # type: ignore[attr-defined]
    assert output.read_bytes() == whole()


def stopped(output: Path, steps: int = 5) -> Path:
    """The folder of a run that was stopped after so many blocks."""
    making = upscale_region(picture(), UPSCALER, output, options=EXACT)
    deque(islice(making, steps), 0)
    making.close()
    return output.with_name(f"{output.name}.wsisr-part")


class Torn(InMemorySlide):
    """Has two places that cannot be decoded."""

    def read(self, box: Box, level: int) -> Rgb:
        if any(box.intersection(place).size.pixel_count for place in (Box(9, 9, 10, 10), Box(150, 130, 210, 140))):
            raise UndecodableError("picture: level 0 cannot be decoded")
        return super().read(box, level)


def enlarge_torn_picture(output: Path, steps: int | None = None) -> QualityMonitor:
    """Enlarge a picture with holes, or begin to; return what was measured."""
    quality, region = QualityMonitor(2), SlideRegion(FaultTolerantSlide(Torn(make_noise(Size(300, 200)))), 0)
    making = upscale_region(region, UPSCALER, output, options=replace(EXACT, quality=quality))
    deque(islice(making, steps), 0)
    making.close()
    return quality


@pytest.fixture(scope="module")
def torn_whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a picture with holes whose run nothing interrupted."""
    output = tmp_path_factory.mktemp("torn") / "whole.tif"
    assert enlarge_torn_picture(output).measured_tiles == 6
    assert read_metadata(output)["unreadable"].count("level 0: ") == 2
    return output.read_bytes()


@pytest.mark.parametrize("name", ["level-0.tiles", "level-0.journal", "run.json", "diary"])
@given(
    share=st.floats(0, 1), loss=st.sampled_from(["zeros", "cut off", "one byte", "removed"]), steps=st.integers(1, 8)
)
@settings(max_examples=4)
def test_what_a_power_cut_left_half_written_is_done_again(
    torn_whole: bytes, name: str, share: float, loss: str, steps: int
) -> None:
    """Nor does the file lose what was found out, such as the places that could not be decoded."""
    with TemporaryDirectory() as folder:
        output = Path(folder) / "a.tif"
        enlarge_torn_picture(output, steps)
        file = output.with_name(f"{output.name}.wsisr-part") / name
        before = file.read_bytes()
        start = int(share * (len(before) - 1))
        if name == "run.json" and loss == "one byte":
            return  # which no power cut does: the run is then another, and refused
        rest = {"zeros": bytes(len(before) - start), "one byte": bytes([before[start] ^ 1]) + before[start + 1 :]}
        file.write_bytes(before[:start] + rest.get(loss, b""))
        if loss == "removed":
            file.unlink()
        assert enlarge_torn_picture(output).measured_tiles == 6
        assert output.read_bytes() == torn_whole


def test_another_run_is_told_what_differs_and_refused(tmp_path: Path) -> None:
    output = tmp_path / "a.tif"
    stopped(output)
    for source, upscaler, options, words in [
        (picture(), Resampling("bicubic", 2), EXACT, "model lanczos, now bicubic"),
        (picture(), UPSCALER, replace(EXACT, codec=Codec(quality=70)), "quality 90, 444, now jpeg, quality 70"),
        (picture(), UPSCALER, FEATHERED, "tiling not given"),
        (replace(picture(), crop=Box(0, 0, 300, 300)), UPSCALER, EXACT, "part all of it, now 300 x 300 px at 0, 0"),
    ]:
        with pytest.raises(OutputError, match=f"{words}.*--overwrite"):
            deque(upscale_region(source, upscaler, output, options=options), 0)
    deque(upscale_region(picture(), UPSCALER, output, options=EXACT), 0)


def test_overwrite_starts_again_where_the_run_is_another(tmp_path: Path) -> None:
    output = tmp_path / "a.tif"
    stopped(output)
    deque(upscale_region(picture(), Resampling("bicubic", 2), output, options=EXACT, overwrite=True), 0)
    assert list(tmp_path.iterdir()) == [output]


def test_tiles_of_another_size_go_on_where_that_does_not_show(tmp_path: Path) -> None:
    output = tmp_path / "a.tif"
    stopped(output)
    deque(upscale_region(picture(), UPSCALER, output, options=UpscaleOptions(256, batch=2)), 0)
    assert output.read_bytes() == whole()


def test_work_can_lie_elsewhere_and_stay(tmp_path: Path) -> None:
    output, elsewhere = tmp_path / "out" / "a.tif", tmp_path / "work"
    output.parent.mkdir()
    elsewhere.mkdir()
    folder = plan_upscaling(picture(), UPSCALER, EXACT).work_folder(elsewhere, keep=True)
    deque(upscale_region(picture(), UPSCALER, output, options=EXACT, folder=folder), 0)
    assert list(output.parent.iterdir()) == [output]
    assert [each.match("a.tif.*.wsisr-part") for each in elsewhere.iterdir()] == [True]
    first = output.read_bytes()
    again = picture()
    output.unlink()
    deque(upscale_region(again, UPSCALER, output, options=EXACT, folder=folder), 0)
    assert again.slide.reads == 0  # type: ignore[attr-defined]
    assert output.read_bytes() == first
    output.unlink()
    with pytest.raises(OutputError, match="none: no folder for work in progress; create it first"):
        replace(folder, parent=tmp_path / "none")


def test_a_folder_that_does_not_take_the_work_is_named() -> None:
    with make_readable_folder() as elsewhere, make_readable_folder() as own:
        own.chmod(0o777)
        folder = plan_upscaling(picture(), UPSCALER, EXACT).work_folder(elsewhere)
        with run_as_nobody(), pytest.raises(OutputError, match=f"{elsewhere}: cannot be written: permission denied"):
            deque(upscale_region(picture(), UPSCALER, own / "a.tif", options=EXACT, folder=folder), 0)


def test_a_run_that_keeps_nothing_leaves_nothing(tmp_path: Path) -> None:
    making = upscale_region(picture(), UPSCALER, tmp_path / "a.tif", options=EXACT, folder=WorkFolder())
    next(making)
    making.close()
    assert list(tmp_path.iterdir()) == []
