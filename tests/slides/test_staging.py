"""Copies of the next slides: equal, bounded, in order, and gone afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.changes import SLIDE_CHANGES, SlideChange
from tests.support.samples import make_noise, write_tiff
from wsisr.errors import OutputError, SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.slides import open_slide
from wsisr.slides.listing import STAGE_PREFIX, list_slides
from wsisr.slides.staging import SlideStage
from wsisr.upscaling.run_identity import identify_source


@pytest.fixture
def slides(tmp_path: Path) -> list[Path]:
    """Three slides of 10 bytes; the second is MIRAX, with a folder."""
    paths = [tmp_path / "archive" / name for name in ("a.svs", "b.mrxs", "c.svs")]
    (tmp_path / "archive" / "b").mkdir(parents=True)
    for path in paths:
        path.write_bytes(path.name.encode() + bytes(10 - len(path.name)))
    (tmp_path / "archive" / "b.mrxs").write_bytes(b"1234")
    (tmp_path / "archive" / "b" / "Data0000.dat").write_bytes(b"567890")
    (tmp_path / "fast").mkdir()
    return paths


def list_files(folder: Path) -> list[Path]:
    """List the copies, without the marks and locks of their folders."""
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".json", ".lock")]


def test_each_copy_equals_its_slide_and_is_removed(slides: list[Path], tmp_path: Path) -> None:
    with closing(SlideStage(tmp_path / "fast", 20, slides)) as stage:
        for slide in slides:
            with stage.hold(slide) as copy:
                assert copy.name == slide.name
                assert copy.read_bytes() == slide.read_bytes()
                assert copy.stat().st_mtime_ns == slide.stat().st_mtime_ns
                if slide.suffix == ".mrxs":
                    assert (copy.with_suffix("") / "Data0000.dat").read_bytes() == b"567890"
                assert sum(path.stat().st_size for path in list_files(tmp_path / "fast")) <= 20
            assert not copy.exists()
    assert list(iter((tmp_path / "fast").iterdir())) == []


def test_what_is_not_used_is_removed_too(slides: list[Path], tmp_path: Path) -> None:
    with closing(SlideStage(tmp_path / "fast", 30, slides)) as stage, stage.hold(slides[0]):
        pass
    assert list((tmp_path / "fast").iterdir()) == []


def test_what_a_killed_run_left_is_removed_and_nothing_else(slides: list[Path], tmp_path: Path) -> None:
    fast, away = tmp_path / "fast", tmp_path / "away"
    script = (
        "import os, sys; from pathlib import Path; from wsisr.slides.staging import SlideStage\n"
        "with SlideStage(Path(sys.argv[1]), 30, [Path(sys.argv[2])]).hold(Path(sys.argv[2])): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, fast, slides[0]], check=False)
    (left,) = (path for path in fast.iterdir() if path.is_dir())
    assert list_slides([fast.parent]).paths == slides
    foreign = fast / f"{STAGE_PREFIX}{'0' * 16}"
    foreign.mkdir()
    shutil.copytree(left, away)
    link = fast / f"{STAGE_PREFIX}{'1' * 16}"
    link.symlink_to(away)
    with closing(SlideStage(fast, 30, slides[2:])) as living, living.hold(slides[2]) as copy:
        assert not left.exists()
        refused = pytest.raises(SlideError, match="another run is at work with its copy")
        with closing(SlideStage(fast, 30, slides[2:])) as other, refused, other.hold(slides[2]):
            pass
        assert copy.exists()
    assert sorted(fast.iterdir()) == [foreign, link]
    assert len(list(away.iterdir())) == 2


def test_two_copies_of_a_slide_are_the_same_source_to_a_run_that_resumes(tmp_path: Path) -> None:
    slide = write_tiff(tmp_path / "a.tif", make_noise(Size(40, 30)), tile=(16, 16))
    with open_slide(slide, mpp=0.5) as opened:
        states = {identify_source(opened.info).state}
    for name in ("fast", "faster"):
        (tmp_path / name).mkdir()
        stage = SlideStage(tmp_path / name, 10**6, [slide])
        with closing(stage), stage.hold(slide) as copy, open_slide(copy, mpp=0.5) as opened:
            states.add(identify_source(opened.info).state)
    assert len(states) == 1


@pytest.mark.parametrize("change", SLIDE_CHANGES.values(), ids=SLIDE_CHANGES)
def test_a_slide_that_is_no_longer_what_was_copied_is_an_error(tmp_path: Path, change: SlideChange) -> None:
    slide = write_tiff(tmp_path / "a.tif", make_noise(Size(40, 30)), tile=(16, 16))
    (tmp_path / "fast").mkdir()
    with closing(SlideStage(tmp_path / "fast", 10**6, [slide])) as stage, stage.hold(slide) as copy:
        with open_slide(copy, mpp=0.5) as opened:
            opened.read(Box.from_size(Size(40, 30)), 0)
            opened.check_unchanged()
            change(slide)
            with pytest.raises(SlideError, match=r"has (changed|been removed) since it was opened; "):
                opened.check_unchanged()
        if slide.exists():
            with open_slide(copy, mpp=0.5) as late, pytest.raises(SlideError, match="has changed since"):
                late.read(Box.from_size(Size(40, 30)), 0)


def test_a_slide_that_is_too_large_or_missing_does_not_stop_the_next(slides: list[Path], tmp_path: Path) -> None:
    os.truncate(slides[0], 100)
    missing = tmp_path / "archive" / "none.svs"
    with closing(SlideStage(tmp_path / "fast", 50, [slides[0], missing, slides[2]])) as stage:
        for slide, message in ((slides[0], "larger than --stage-limit"), (missing, "none.svs")):
            with pytest.raises(SlideError, match=message), stage.hold(slide):
                pass
        with stage.hold(slides[2]) as copy:
            assert copy.read_bytes() == slides[2].read_bytes()


def test_a_stage_must_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="create it first"):
        SlideStage(tmp_path / "none", 1, [])
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is no folder for copies of slides; give a folder"):
        SlideStage(tmp_path / "file", 1, [])
