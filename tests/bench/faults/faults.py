"""Ends an upscaling in every way it can end, and repeats the command: is the file the same, and all that it says true?

    python -m tests.bench faults SLIDE [--trials 200] [--seed 0] [--side 512] [--json FILE]

Each trial is one fault, in turn: a kill (SIGKILL) at a file operation, before it, behind it or in the midst of a write,
or at any time; a full disk (a tmpfs for root, a limit on files for others); a slide that is damaged, cut short, gone or
on a failing disk for a while; a slide whose place another of the same size and date takes, while it is read or between
two runs; a log that is damaged, cut off or removed, of a slide with places that cannot be decoded; a folder or a link
that is not ours in the place of the work folder. After each the same command must give the file of an undisturbed run
of the slide that the file names (by its SHA-256), and report the same of it. Where the slide is not proved to be the
same any more it may refuse, and must give that file with `--overwrite`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tifffile
from rich import print as show

from tests.bench.faults._life import DONE, TILE_PX, Life
from tests.bench.faults._trials import FAULTS, MAY_BE_REFUSED, Bench, TrialError, Undisturbed
from tests.support.samples import write_tiff
from wsisr.imaging.geometry import Box
from wsisr.slides import open_slide
from wsisr.writing import read_metadata

TORN_TILES = (0, 6, 9)
"""Tiles of the torn slide that hold no image."""


@dataclass
class Campaign:
    """The trials so far, each compared with an undisturbed run of the same slide."""

    folder: Path
    bench: Bench
    expected: dict[str, Undisturbed]
    """By the SHA-256 of the slide."""
    trials: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    tiles_twice: int = 0
    problems: list[str] = field(default_factory=list)

    def try_fault(self, name: str, number: int) -> None:
        """Let one fault happen, and judge what the same command makes of it."""
        self.trials[name] += 1
        folder = self.folder / f"trial-{number}"
        (folder / "in").mkdir(parents=True)
        (folder / "out").mkdir()
        slide = folder / "in" / "slide.tif"
        shutil.copy2(self.bench.plain.slide, slide)
        life = Life(slide, folder / "out" / "a.ome.tif")
        try:
            FAULTS[name](self.bench, life)
            self._repeat_command(name, life)
            self._judge(life)
        except TrialError as error:
            errors = life.read_log("error")
            self.problems.append(f"{number}, {name}: {error}{'; ' + errors[-1] if errors else ''}")
        self._count_work(name, life)
        shutil.rmtree(folder)

    def _repeat_command(self, name: str, life: Life) -> None:
        """Give the same command again; where it is refused, rightly, with `--overwrite`."""
        if life.output.exists() or Life(life.slide, life.output).run() == DONE:
            return
        if name not in MAY_BE_REFUSED:
            raise TrialError("refused")
        self.refused[name] += 1
        if Life(life.slide, life.output, overwrite=True).run() != DONE:
            raise TrialError("refused with --overwrite, too")

    def _judge(self, life: Life) -> None:
        """Raise `TrialError` if the file, its metadata or the report are not those of an undisturbed run."""
        expected = self.expected.get(read_metadata(life.output)["source sha256"])
        if expected is None:
            raise TrialError("untrue: names a slide that never was")
        if life.output.read_bytes() != expected.content:
            same_pixels = np.array_equal(
                tifffile.imread(life.output), tifffile.imread(expected.slide.with_suffix(".x2"))
            )
            raise TrialError("untrue: other metadata" if same_pixels else "changed: other pixels")
        reports = life.read_log("report")
        if reports and reports[-1] != expected.report:
            raise TrialError(f"untrue: reports {reports[-1]}, not {expected.report}")
        left = {path.name for path in life.output.parent.iterdir()} - {life.output.name}
        if left and not life.read_log("killed"):  # killed behind the last step, it has no one to clean up
            raise TrialError(f"left {', '.join(left)}")

    def _count_work(self, name: str, life: Life) -> None:
        if name.startswith("killed"):
            kills, computed = len(life.read_log("killed")), len(life.read_log("computed"))
            self.kills += kills
            self.tiles_twice += max(0, computed - self.bench.plain.tile_count) if kills else 0

    def describe(self) -> dict[str, object]:
        """Return the figures of all trials."""
        words = Counter(problem.partition(": ")[2].partition(":")[0] for problem in self.problems)
        return {
            "trials": self.trials.total(),
            "changed": words["changed"],
            "untrue": words["untrue"],
            "other problems": self.problems,
            "trials by fault": dict(self.trials),
            "refused until --overwrite": dict(self.refused),
            "kills": self.kills,
            "tiles of a run": self.bench.plain.tile_count,
            "tiles computed twice per kill": round(self.tiles_twice / max(self.kills, 1), 2),
            "file operations of a run": len(self.bench.plain.operations),
            "seconds of a run": round(self.bench.plain.seconds, 2),
        }


def run_undisturbed(slide: Path) -> tuple[str, Undisturbed]:
    """Upscale a slide without any fault; return the SHA-256 that the file names, and the run."""
    life = Life(slide, slide.parent / "out" / "a.ome.tif")
    life.output.parent.mkdir()
    began = time.monotonic()
    assert life.run(life.count_operations) == DONE
    seconds, content = time.monotonic() - began, life.output.read_bytes()
    digest = read_metadata(life.output)["source sha256"]
    life.output.rename(slide.with_suffix(".x2"))
    operations = life.read_log("operations")[0].split()[1:]
    tile_count = len(life.read_log("computed"))
    return digest, Undisturbed(slide, content, life.read_log("report")[0], operations, tile_count, seconds)


def write_slides(source: Path, side: int, folder: Path) -> tuple[Path, Path, Path]:
    """Write a part of a slide, the same part upside down in as many bytes, and one with tiles that hold no image."""
    with open_slide(source) as slide:
        pixels = slide.read(Box(200, 600, 200 + side, 600 + side), 0)
    plain, other, torn = (folder / name / "slide.tif" for name in ("plain", "other", "torn"))
    for path in (plain, other, torn):
        path.parent.mkdir()
    tiles: dict[str, Any] = {"tile": (TILE_PX, TILE_PX), "resolution": (20000, 20000), "resolutionunit": "CENTIMETER"}
    write_tiff(plain, pixels, **tiles)
    write_tiff(other, pixels[::-1], **tiles)
    write_tiff(torn, pixels, **tiles, compression="zlib")
    with tifffile.TiffFile(torn) as tiff:
        page = tiff.pages.first
        places = [(page.dataoffsets[tile], page.databytecounts[tile]) for tile in TORN_TILES]
    with torn.open("r+b") as file:
        for offset, count in places:
            file.seek(offset)
            file.write(bytes(count))
    os.utime(other, ns=(plain.stat().st_atime_ns, plain.stat().st_mtime_ns))
    return plain, other, torn


def main() -> None:
    """Run the trials, print their figures, and exit with 1 if one ended otherwise than it may."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--side", type=int, default=512, help="px of the part of the slide that is upscaled")
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=list(FAULTS), help="only these")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name).resolve()
        runs = [run_undisturbed(path) for path in write_slides(arguments.slide, arguments.side, folder)]
        bench = Bench(Random(arguments.seed), *(run for _, run in runs))
        campaign = Campaign(folder, bench, dict(runs))
        for number in range(arguments.trials):
            campaign.try_fault(arguments.faults[number % len(arguments.faults)], number)
    figures = campaign.describe()
    show(figures)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2))
    sys.exit(bool(campaign.problems))


if __name__ == "__main__":
    main()
