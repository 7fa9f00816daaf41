"""Copies of the next slides: equal, bounded, in order, and gone afterwards."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

from wsisr.errors import OutputError, SlideError
from wsisr.slides.staging import SlideStage


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
    return [path for path in folder.rglob("*") if path.is_file()]


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


def test_what_a_killed_run_left_is_replaced(slides: list[Path], tmp_path: Path) -> None:
    stage = SlideStage(tmp_path / "fast", 30, slides[:1])
    with closing(stage), stage.hold(slides[0]) as copy:
        left = copy
    left.parent.mkdir()
    left.write_bytes(b"half")
    with closing(SlideStage(tmp_path / "fast", 30, slides[:1])) as again, again.hold(slides[0]) as copy:
        assert copy == left
        assert copy.read_bytes() == slides[0].read_bytes()


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
