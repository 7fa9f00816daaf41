"""One upscaling in a process of its own, which ends by itself, by a signal, or by whatever happens to its files."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wsisr.errors import WsisrError
from wsisr.imaging.pixels import RgbBatch
from wsisr.models.upscaler import Resampling, Upscaler
from wsisr.upscaling.job import Advanced, Finished, Started, run_job
from wsisr.upscaling.report import UpscaleReport
from wsisr.upscaling.request import UpscaleRequest

TILE_PX, SCALE = 128, 2
OPERATIONS = ("open", "pread", "pwrite", "fsync", "link", "rename", "replace", "unlink", "mkdir", "rmdir", "utime")
PHASES = ("start", "upscale", "pyramid", "assemble", "publish")
DONE, REFUSED = 0, 1

Trouble = Callable[[str], None]
"""Is called with each line that a life logs."""


def make_no_trouble(_line: str) -> None:
    """Do nothing."""


@dataclass
class Life:
    """An upscaling of a slide to an output. It logs each stage and tile, and at its end what it reports."""

    slide: Path
    output: Path
    trouble: Trouble = make_no_trouble
    overwrite: bool = False
    phase: str = "start"
    operations: list[str] = field(default_factory=list)
    """Phase of each file operation so far."""

    @property
    def log_path(self) -> Path:
        """Beside the output's folder, which may be a disk that is full."""
        return self.output.parent.with_suffix(".log")

    @property
    def part_folder(self) -> Path:
        return self.output.with_name(f"{self.output.name}.wsisr-part")

    def start(self, prepare: Callable[[], None] = lambda: None) -> int:
        """Start a process and return its id; `prepare` is called in it."""
        child = os.fork()
        if child:
            return child
        try:
            prepare()
            self._upscale()
        except WsisrError as error:
            self.log(f"error {error}")
            os._exit(REFUSED)
        os._exit(DONE)

    def run(self, prepare: Callable[[], None] = lambda: None) -> int:
        """Start a process and wait for its end; return its exit code, or minus the signal that ended it."""
        return wait_for(self.start(prepare))

    def log(self, line: str) -> None:
        self.write_line(line)
        self.trouble(line)

    def write_line(self, line: str) -> None:
        with self.log_path.open("a") as file:
            file.write(f"{line}\n")

    def read_log(self, first_word: str) -> list[str]:
        """Return the lines of all lives of this output that begin with a word."""
        lines = self.log_path.read_text().splitlines() if self.log_path.exists() else []
        return [line for line in lines if line.split()[0] == first_word]

    def count_operations(self, kill_at: int = 0, manner: str = "before") -> None:
        """Count file operations from here on; the one of number `kill_at`, from 1, is the last."""
        for name in OPERATIONS:
            setattr(os, name, self._wrap_operation(getattr(os, name), kill_at, manner))

    def _wrap_operation(self, operation: Callable[..., Any], kill_at: int, manner: str) -> Callable[..., Any]:
        write = os.pwrite

        def counted(*arguments: Any, **options: Any) -> Any:
            self.operations.append(self.phase)
            if len(self.operations) != kill_at:
                return operation(*arguments, **options)
            if manner == "torn" and operation.__name__ == "pwrite":
                write(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2], arguments[2])
            elif manner == "after":
                operation(*arguments, **options)
            os.kill(os.getpid(), signal.SIGKILL)
            signal.pause()

        return counted

    def _upscale(self) -> None:
        request = UpscaleRequest(
            self.slide,
            scale=SCALE,
            output=self.output,
            model="lanczos",
            tile_px=TILE_PX,
            on_error="white",
            overwrite=self.overwrite,
        )
        for event in run_job(request, LoggingModels(self)):
            if isinstance(event, Started):
                self.phase = "upscale"
            elif isinstance(event, Advanced):
                step = event.progress
                self.phase = "publish" if (step.stage, step.done) == ("assemble", step.total) else step.stage
                self.log(step.stage)
            elif isinstance(event, Finished):
                self.write_line("report " + json.dumps(summarise_report(event.report)))
        self.write_line("operations " + " ".join(self.operations))


def summarise_report(report: UpscaleReport) -> dict[str, Any]:
    """Return what a report says of the result, and must say again however the result came about."""
    entry = report.to_json()
    return {key: entry[key] for key in ("measured", "seams", "residual", "remarks", "unreadable") if key in entry}


@dataclass(frozen=True)
class LoggingUpscaler(Resampling):
    """Logs each tile once it is computed."""

    life: Life = field(kw_only=True)

    def __call__(self, tiles: RgbBatch) -> RgbBatch:
        enlarged = super().__call__(tiles)
        self.life.log("computed")
        return enlarged


@dataclass(frozen=True)
class LoggingModels:
    """Loads the upscaler that logs."""

    life: Life

    def load_upscaler(self, *_: Any, **__: Any) -> Upscaler:
        return LoggingUpscaler("lanczos", SCALE, life=self.life)

    def load_magnification_classifier(self, *_: Any, **__: Any) -> None:
        return None


def wait_for(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
