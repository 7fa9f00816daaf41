"""Runs a cohort of small slides as a lab would: bad slides among them, killed twice, interrupted, again when finished.

    python -m tests.bench cohort SLIDE [--slides 200] [--side 256] [--model bicubic] [--tissue none] [--json FILE]

Crops of the slide become slides in ten folders, with five bad ones beside them. The cohort is planned by a dry run, run
by its folder and killed twice (SIGKILL), run to its end, and run again; then by a CSV with names of outputs, stopped by
Ctrl-C once. Tables, reports and exit codes must be right, and the results of both ways equal to the last byte. Time is
the processor's, because other programs may run beside it; divided by the cores it stands for an idle machine.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich import print as show

from tests.support.samples import REPOSITORY, write_tiff
from wsisr.imaging.geometry import Box
from wsisr.parallel.cpu import count_usable_cores
from wsisr.slides import open_slide

PITCHED: dict[str, Any] = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
FOLDERS = 10
BAD_SLIDES = 5
MOST_OVERHEAD_S = 0.02
"""Processor time for each finished slide of a run that has nothing to do."""
MOST_DRY_SHARE = 0.1
MOST_TIME_FACTOR = 1.5


@dataclass(frozen=True, slots=True)
class Run:
    """A command that has ended."""

    code: int
    cpu_s: float
    wall_s: float
    output: str


def make_cohort(folder: Path, slide: Path, count: int, side: int) -> list[Path]:
    """Write slides that are crops of a slide, and five bad ones; return the good ones."""
    good = []
    with open_slide(slide) as source:
        width, height = source.info.size.width - side, source.info.size.height - side
        for number in range(count):
            left, top = number * 97 % width, number * 61 % height
            path = folder / f"case{number % FOLDERS}" / f"s{number:04}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = source.read(Box(left, top, left + side, top + side), 0)
            write_tiff(path, pixels, compression="jpeg", tile=(256, 256), **PITCHED)
            good.append(path)
    whole = good[0].read_bytes()
    bad = {"words.svs": b"dear diary", "empty.tif": b"", "half.tif": whole[: len(whole) // 2], "zip.svs": b"PK\3\4" * 9}
    for name, data in bad.items():
        (folder / f"bad-{name}").write_bytes(data)
    write_tiff(folder / "bad-pitchless.tif", pixels)
    return good


def start(words: Sequence[object], cache: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"WSISR_CACHE_DIR": str(cache), "PYTHONPATH": str(REPOSITORY), "COLUMNS": "200"}
    command = [sys.executable, "-m", "wsisr", "upscale", *map(str, words)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run(words: Sequence[object], cache: Path, stop_when: Callable[[], bool] | None = None, number: int = 0) -> Run:
    """Run `wsisr upscale`; send it a signal once `stop_when` is true."""
    began, before = time.monotonic(), os.times()
    process = start(words, cache)
    while stop_when and process.poll() is None:
        if stop_when():
            process.send_signal(number)
            break
        time.sleep(0.02)
    output, _ = process.communicate()
    after = os.times()
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    return Run(process.returncode, cpu_s, time.monotonic() - began, output)


class Checks:
    """What was expected, and whether it was so."""

    def __init__(self) -> None:
        self.failed: list[str] = []

    def expect(self, what: str, found: object, expected: object) -> None:
        if found != expected:
            self.failed.append(f"{what}: {found}, not {expected}")

    def limit(self, what: str, found: float, most: float) -> None:
        show(f"{what}: {found:.4g} (at most {most:g})")
        if found > most:
            self.failed.append(f"{what}: {found:.4g}, more than {most:g}")


def read_totals(report: Path) -> dict[str, Any]:
    totals: dict[str, Any] = json.loads(report.read_bytes())["run"]["totals"]["states"]
    return totals


def main() -> None:
    """Run the cohort, print times, and exit with 1 if anything was not as expected."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--slides", type=int, default=200)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--model", default="bicubic")
    parser.add_argument("--tissue", default="none", help="none takes all slides for tissue; auto finds some without")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    checks, count = Checks(), arguments.slides
    with TemporaryDirectory() as name:
        root = Path(name)
        cohort, cache, report = root / "cohort", root / "cache", root / "run.json"
        good = make_cohort(cohort, arguments.slide, count, arguments.side)
        time.sleep(2.1)  # slides that were just written get no entry in the index of finished results
        options = ("--scale", 2, "--model", arguments.model, "--tissue", arguments.tissue, "--report", report)
        figures = run_by_folder(checks, cohort, root / "out", cache, options)
        figures |= run_finished(checks, good, root, cache, options)
        run_by_table(checks, good, root, cache, options)
    for line in checks.failed:
        show(f"[red]{line}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures | {"failed": checks.failed}, indent=2) + "\n")
    sys.exit(1 if checks.failed else 0)


def run_by_folder(
    checks: Checks, cohort: Path, output: Path, cache: Path, options: Sequence[object]
) -> dict[str, float]:
    """Plan the cohort, run it, kill it twice, and run it to its end and once more."""
    report, count = Path(str(options[-1])), sum(1 for _ in cohort.glob("case*/*"))
    words = (cohort, "-o", output, *options)
    dry = run((*words, "--dry-run"), cache)
    checks.expect("exit code of the dry run", dry.code, 3)
    checks.expect(
        "what the dry run says", f"{count} planned, 0 finished before, {BAD_SLIDES} refused" in dry.output, True
    )
    checks.expect("what the dry run has created", output.exists() or report.exists(), False)
    cpu_s = 0.0
    for share in (0.3, 0.6):
        killed = run(words, cache, partial(has_results, output, share * count), signal.SIGKILL)
        checks.expect("exit code of a killed run", killed.code, -signal.SIGKILL)
        cpu_s += killed.cpu_s
    whole = run(words, cache)
    cpu_s += whole.cpu_s
    checks.expect("exit code", whole.code, 3)
    checks.expect("results", count_results(output), count)
    states = read_totals(report)
    checks.expect("failed", states.get("failed"), BAD_SLIDES)
    checks.expect("slides in the report", sum(states.values()), count + BAD_SLIDES)
    again = run(words, cache)
    checks.expect("exit code of the second run", again.code, 3)
    checks.expect("states of the second run", read_totals(report), {"failed": BAD_SLIDES, "finished before": count})
    checks.limit("dry run, share of the run", dry.cpu_s / cpu_s, MOST_DRY_SHARE)
    said, truth = read_said_seconds(dry.output), cpu_s / count_usable_cores()
    checks.limit(
        "time that the dry run said, by the truth, or its inverse", max(said / truth, truth / said), MOST_TIME_FACTOR
    )
    return {"said_s": said, "truth_s": truth, "run_cpu_s": cpu_s, "dry_cpu_s": dry.cpu_s, "again_cpu_s": again.cpu_s}


def read_said_seconds(output: str) -> int:
    """Return the sum of the times in the table of a dry run, in seconds; at least 1."""
    cells = next(line for line in output.splitlines() if "refused" in line and " planned" in line).split("│")
    parts = cells[3].split()[0].split(":")
    return max(sum(int(part) * (1, 60, 3600)[place] for place, part in enumerate(reversed(parts))), 1)


def has_results(folder: Path, count: float) -> bool:
    return count_results(folder) >= count


def count_results(folder: Path) -> int:
    return sum(1 for _ in folder.glob("*.ome.tif"))


def run_finished(
    checks: Checks, good: Sequence[Path], root: Path, cache: Path, options: Sequence[object]
) -> dict[str, float]:
    """Run the good slides again, all of which are finished."""
    listed = root / "good.txt"
    listed.write_text("\n".join(map(str, good)))
    finished = run((f"@{listed}", "-o", root / "out", *options), cache)
    rows = json.loads(Path(str(options[-1])).read_bytes())["slides"]
    lacking = sum("no_tissue" in row for row in rows)
    checks.expect("states of a finished cohort", {row["state"] for row in rows}, {"finished before"})
    checks.expect(
        f"exit code of a finished cohort, {lacking} slides without tissue", finished.code, 3 if lacking else 0
    )
    overhead = finished.cpu_s / len(good)
    checks.limit("overhead for each finished slide, start included, s", overhead, MOST_OVERHEAD_S)
    return {"finished_cpu_s": finished.cpu_s, "finished_wall_s": finished.wall_s}


def run_by_table(checks: Checks, good: Sequence[Path], root: Path, cache: Path, options: Sequence[object]) -> None:
    """Run the good slides by a table that names their outputs, with one Ctrl-C on the way."""
    table, output = root / "cohort.csv", root / "by-table"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "mpp", "case", "output"))
        writer.writerows((path, "", path.parent.name, f"{path.stem}.x2.ome.tif") for path in good)
    words = (table, "-o", output, *options)
    stopped = run(words, cache, partial(has_results, output, len(good) / 3), signal.SIGINT)
    checks.expect("exit code after Ctrl-C", stopped.code, 130)
    checks.expect("totals after Ctrl-C", "1 stopped" in stopped.output, True)
    done = run(words, cache)
    lacking = "(no tissue)" in done.output
    checks.expect("exit code by table", done.code, 3 if lacking else 0)
    for path in good:
        name = f"{path.stem}.x2.ome.tif"
        checks.expect(name, (output / name).read_bytes() == (root / "out" / name).read_bytes(), True)


if __name__ == "__main__":
    main()
