"""Display of a job: what a frontend may rely on when it asks to stop."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pytest
import typer

from tests.support.samples import make_noise, write_tiff
from wsisr.cli.exit_codes import EXIT_INTERRUPTED
from wsisr.cli.job_display import show_job
from wsisr.cli.progress import ProgressFormatter
from wsisr.imaging.geometry import Size
from wsisr.parallel.processes import StopFlag
from wsisr.progress import Progress
from wsisr.upscaling.request import UpscaleRequest

PITCHED = {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER", "photometric": "rgb", "metadata": None}


class StoppingFrontend:
    """A frontend that asks to stop after the first step."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.label = ""
        self.announces_stop = True
        self.threads_left: list[str] = []
        """Names of the job's threads that still ran when signals were no longer caught."""

    @contextmanager
    def catch_stop_signals(self) -> Iterator[StopFlag]:
        before = set(threading.enumerate())
        try:
            yield self.stop
        finally:
            self.threads_left = [thread.name for thread in threading.enumerate() if thread not in before]

    def show_progress(self, steps: Iterable[Progress], formatter: ProgressFormatter) -> Iterator[Progress]:
        for step in steps:
            assert formatter(step, 1.0)
            self.stop.set()
            yield step

    def show_preparation(self, _text: str) -> AbstractContextManager[None]:
        return nullcontext()


def test_signals_are_caught_until_the_tiles_in_hand_are_done(tmp_path: Path) -> None:
    slide = write_tiff(tmp_path / "slide.tif", make_noise(Size(200, 2000)), **PITCHED)
    request = UpscaleRequest(slide, output=tmp_path / "out.tif", scale=2, model="bicubic", tile_px=128)
    frontend = StoppingFrontend()
    with pytest.raises(typer.Exit) as left:
        show_job(request, frontend, quiet=False)
    assert left.value.exit_code == EXIT_INTERRUPTED
    assert frontend.threads_left == []
    assert not (tmp_path / "out.tif").exists()
    assert show_job(request, StoppingFrontend(), quiet=True).finished_before > 0
