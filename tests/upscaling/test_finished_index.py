"""The index of finished results: it never says finished where the full check would not."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from wsisr.upscaling.finished_index import FinishedEntry, FinishedIndex, try_describe_slide
from wsisr.upscaling.request import UpscaleRequest

LONG_AGO = 1_600_000_000


@pytest.fixture
def request_(tmp_path: Path) -> UpscaleRequest:
    """A request whose slide and result exist, the slide long unchanged."""
    slide, output, model = tmp_path / "a.svs", tmp_path / "out" / "a.x2.ome.tif", tmp_path / "mine.safetensors"
    output.parent.mkdir()
    for path in (slide, output, model):
        path.write_bytes(path.name.encode())
        os.utime(path, (LONG_AGO, LONG_AGO))
    return UpscaleRequest(slide, scale=2, output=output, model=model)


COMPLETE = FinishedEntry(None)


def add_entry(index: FinishedIndex, request: UpscaleRequest, entry: FinishedEntry = COMPLETE) -> None:
    index.add(request, try_describe_slide(request.slide_path), time.time(), entry)


def open_index(folder: Path) -> FinishedIndex:
    return FinishedIndex(folder / "cache" / "finished")


def test_what_was_added_is_found_by_the_next_run(request_: UpscaleRequest, tmp_path: Path) -> None:
    assert open_index(tmp_path).find(request_) is None
    add_entry(open_index(tmp_path), request_)
    for request in (request_, replace(request_, memory=4.0, verify=False)):
        assert open_index(tmp_path).find(request) == COMPLETE


def test_a_result_of_another_precision_or_device_is_left_to_a_run(request_: UpscaleRequest, tmp_path: Path) -> None:
    named = replace(request_, device="cpu", precision="bf16")
    add_entry(open_index(tmp_path), named)
    assert open_index(tmp_path).find(named) == COMPLETE
    for other in (request_, replace(named, precision="fp32"), replace(named, device="auto")):
        assert open_index(tmp_path).find(other) is None


def test_a_result_without_tissue_is_found_as_such_until_what_decides_tissue_changes(
    request_: UpscaleRequest, tmp_path: Path
) -> None:
    (tmp_path / "mask.png").write_bytes(b"one mask")
    for tissue in ("auto", tmp_path / "mask.png"):
        request, entry = replace(request_, tissue=tissue), FinishedEntry(None, lacks_tissue=True)
        add_entry(open_index(tmp_path), request, entry)
        assert open_index(tmp_path).find(request) == entry
        others = (
            replace(request, tissue="none"),
            replace(request, tissue_origin="bounds"),
            replace(request, background="white"),
        )
        assert [other for other in others if open_index(tmp_path).find(other)] == []
    (tmp_path / "mask.png").write_bytes(b"another mask")
    assert open_index(tmp_path).find(request) is None


def rewrite(path: Path) -> None:
    """Change the contents, and restore size and time of change."""
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, (LONG_AGO, LONG_AGO))


def replace_file(path: Path) -> None:
    """Put a copy of equal size and time in its place."""
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    os.utime(copy, (LONG_AGO, LONG_AGO))
    copy.replace(path)


@pytest.mark.parametrize("change", [rewrite, replace_file, Path.unlink, Path.touch])
@pytest.mark.parametrize("name", ["a.svs", "out/a.x2.ome.tif", "mine.safetensors"])
def test_a_changed_file_is_not_finished(
    request_: UpscaleRequest, tmp_path: Path, name: str, change: Callable[[Path], None]
) -> None:
    add_entry(open_index(tmp_path), request_)
    model = (tmp_path / "mine.safetensors").read_bytes()
    change(tmp_path / name)
    # Weights count by their contents: an equal copy is the same model.
    is_same = name == "mine.safetensors" and (tmp_path / name).exists() and (tmp_path / name).read_bytes() == model
    assert (open_index(tmp_path).find(request_) is not None) == is_same


@pytest.mark.parametrize(
    "options",
    [
        {"quality": 80},
        {"scale": 4},
        {"model": "bicubic"},
        {"model": None},
        {"region": (0, 0, 10, 10)},
        {"mpp": 0.4},
        {"tissue": "none"},
        {"overlap_px": 2},
        {"overwrite": True},
        {"save_mask": "mask.png"},
    ],
)
def test_another_request_is_not_finished(request_: UpscaleRequest, tmp_path: Path, options: dict[str, Any]) -> None:
    add_entry(open_index(tmp_path), request_)
    if "save_mask" in options:
        options = {"save_mask": tmp_path / "mask.png"}
    assert open_index(tmp_path).find(replace(request_, **options)) is None


def test_work_that_was_left_must_be_looked_at(request_: UpscaleRequest, tmp_path: Path) -> None:
    add_entry(open_index(tmp_path), request_)
    (tmp_path / "out" / "a.x2.ome.tif.wsisr-part").mkdir()
    assert open_index(tmp_path).find(request_) is None


def test_holes_are_finished_only_for_those_who_take_them(request_: UpscaleRequest, tmp_path: Path) -> None:
    entry = FinishedEntry("shown white: a place")
    add_entry(open_index(tmp_path), request_, entry)
    assert open_index(tmp_path).find(request_) is None
    assert open_index(tmp_path).find(replace(request_, on_error="white")) == entry


def test_a_slide_that_was_just_written_or_has_changed_meanwhile_is_not_added(
    request_: UpscaleRequest, tmp_path: Path
) -> None:
    before = try_describe_slide(request_.slide_path)
    os.utime(request_.slide_path)
    for state in (before, try_describe_slide(request_.slide_path), None):
        open_index(tmp_path).add(request_, state, time.time(), COMPLETE)
        assert open_index(tmp_path).find(request_) is None


def test_damaged_lines_are_passed_over_and_the_last_of_a_result_counts(
    request_: UpscaleRequest, tmp_path: Path
) -> None:
    for _ in range(120):
        add_entry(open_index(tmp_path), request_)
    (file,) = (tmp_path / "cache" / "finished").iterdir()
    assert open_index(tmp_path).find(request_) is not None
    assert len(file.read_text().splitlines()) == 1
    file.write_bytes(b"\xff\xfe\n{}\n" + file.read_bytes() + b"half a li")
    assert open_index(tmp_path).find(request_) is not None
    file.write_text(f"{file.read_bytes().split()[2].decode()} []\n")
    assert open_index(tmp_path).find(request_) is None


def test_an_index_that_cannot_be_written_stops_nothing(request_: UpscaleRequest, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    add_entry(open_index(tmp_path), request_)
    assert open_index(tmp_path).find(request_) is None


def test_the_index_holds_no_names(request_: UpscaleRequest, tmp_path: Path) -> None:
    add_entry(open_index(tmp_path), request_)
    (file,) = (tmp_path / "cache" / "finished").iterdir()
    assert "a.x2" not in file.read_text() + file.name
    assert str(tmp_path) not in file.read_text()
