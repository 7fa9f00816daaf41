"""Kills an upscaling at random moments until it ends, again and again: is the file the same, and what was done twice?

    python tests/bench/faults.py SLIDE [--kills 50] [--seed 0] [--json FILE]

Each life is a process of its own, ended by SIGKILL at a moment drawn evenly from half an undisturbed run. Then on a
disk that is full after each tenth of the work. Every file must be that of the undisturbed run, to the last byte.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from rich import print as show

from wsisr.errors import OutputError
from wsisr.pixels import Tiles
from wsisr.slides import open_slide
from wsisr.source import source_of
from wsisr.upscaler import Resampling
from wsisr.upscaling import Options, upscale

TILE_PX = 128
SCALE = 2


class Logged(Resampling):
    """Notes each tile on a file descriptor of its own once it is computed."""

    log = -1

    def __call__(self, tiles: Tiles) -> Tiles:
        enlarged = super().__call__(tiles)
        os.write(self.log, b"computed\n")
        return enlarged


def live(slide: Path, output: Path, log: Path) -> None:
    """One life: upscale, noting each step as it is done."""
    with open_slide(slide) as opened, log.open("a", buffering=1) as lines:
        Logged.log = lines.fileno()
        for step in upscale(source_of(opened), Logged("lanczos", SCALE), output, options=Options(TILE_PX)):
            lines.write(f"{step.stage}\n")


def born(slide: Path, output: Path, log: Path, largest_file: int | None = None) -> int:
    """Starts a life and gives its process."""
    child = os.fork()
    if child:
        return child
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        live(slide, output, log)
    except OutputError:
        os._exit(1)
    os._exit(0)


def finished(process: int) -> bool:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0


def steps(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


def killed_to_its_end(slide: Path, folder: Path, seconds: float, random: Random) -> tuple[Path, Counter[str], int]:
    """The file after as many lives as it takes, kills by the stage they fell into, and blocks computed in all lives."""
    output, log, phases = folder / "a.ome.tif", folder / "log", Counter[str]()
    while True:
        before = len(steps(log))
        life = born(slide, output, log)
        time.sleep(random.uniform(0, seconds / 2))
        os.kill(life, signal.SIGKILL)
        if finished(life) or output.exists():
            return output, phases, steps(log).count("computed")
        new = [step for step in steps(log)[before:] if step != "computed"]
        phases[new[-1] if new else "start"] += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    random, phases, twice, lives, same = Random(asked.seed), Counter[str](), 0, 0, True
    with TemporaryDirectory() as name:
        folder = Path(name)
        began = time.monotonic()
        whole, log = folder / "whole.ome.tif", folder / "whole.log"
        assert finished(born(asked.slide, whole, log))
        seconds, blocks = time.monotonic() - began, steps(log).count("computed")
        while phases.total() < asked.kills:
            place = folder / str(lives)
            place.mkdir()
            output, fell, computed = killed_to_its_end(asked.slide, place, seconds, random)
            phases, twice, lives = phases + fell, twice + computed - blocks, lives + 1
            same = same and output.read_bytes() == whole.read_bytes()
        full = folder / "full.ome.tif"
        for tenth in range(1, 10):
            assert not finished(born(asked.slide, full, folder / "full.log", whole.stat().st_size * tenth // 15))
        assert finished(born(asked.slide, full, folder / "full.log"))
        same = same and full.read_bytes() == whole.read_bytes()
    facts = {
        "kills": phases.total(),
        "kills by stage": dict(phases),
        "files": lives,
        "full disks": 9,
        "all files equal": same,
        "seconds of a run": round(seconds, 2),
        "blocks of a run": blocks,
        "blocks done twice per kill": round(twice / phases.total(), 2),
        "seconds done twice per kill": round(twice / phases.total() * seconds / blocks, 3),
    }
    show(facts)
    if asked.json:
        asked.json.write_text(json.dumps(facts, indent=2))
    sys.exit(not same)


if __name__ == "__main__":
    main()
