"""Ends an upscaling in every way it can end, and repeats the command: is the file the same, and what was done twice?

    python -m tests.bench faults SLIDE [--kills 60] [--seed 0] [--side 1280] [--json FILE]

Each life is a process of its own. It is killed (SIGKILL) at its n-th file operation, before it, behind it or in the
midst of a write, n drawn so that every phase is hit alike; or at a random time; twice in a row now and then. Then on
disks that are full after each tenth of the work (a tmpfs for root, a limit on files for others), on a slide that is
damaged, cut short, gone, or on a disk that fails (its descriptors become /proc/self/mem, where reading is EIO).
After each the same command must give the file of an undisturbed run to the last byte, and measure the same of it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from rich import print as show

from wsisr.errors import WsisrError
from wsisr.imaging.geometry import Box
from wsisr.imaging.pixels import RgbBatch
from wsisr.models.upscaler import Resampling
from wsisr.slides import open_slide
from wsisr.slides.region import select_region
from wsisr.upscaling.engine import upscale_region
from wsisr.upscaling.plan import UpscaleOptions
from wsisr.upscaling.quality import QualityMonitor

TILE_PX = 128
SCALE = 2
OPERATIONS = ("open", "pread", "pwrite", "fsync", "link", "rename", "replace", "unlink", "mkdir", "rmdir", "utime")
PHASES = ("start", "upscale", "pyramid", "assemble", "publish")
REFUSED, DONE = 1, 0

Trouble = Callable[[str], None]
"""Is told each line that a life notes."""


def no_trouble(_line: str) -> None:
    """Nothing goes wrong."""


@dataclass
class Life:
    """Where a life notes what it does: `computed`, each stage, each file operation's number and phase."""

    slide: Path
    side: int
    output: Path
    trouble: Trouble = no_trouble
    phase: str = "start"
    operations: list[str] = field(default_factory=list)
    """Phase of each file operation so far."""

    @property
    def log(self) -> Path:
        return self.output.with_suffix(".log")

    def note(self, line: str) -> None:
        os.write(self._descriptor, f"{line}\n".encode())
        self.trouble(line)

    def live(self) -> None:
        """Upscales, to its end or to somebody's."""
        self._descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        upscaler, audit = Noting("lanczos", SCALE), QualityMonitor(SCALE)
        Noting.life = self
        with open_slide(self.slide) as opened:
            source = select_region(opened, area=Box(200, 600, 200 + self.side, 600 + self.side))
            for step in upscale_region(source, upscaler, self.output, options=UpscaleOptions(TILE_PX, quality=audit)):
                self.phase = "publish" if (step.stage, step.done) == ("assemble", step.total) else step.stage
                self.note(step.stage)
        seams, residual = audit.seams, audit.consistency
        self.note(
            f"audit {audit.measured_tiles} {seams.borders} {seams.mean} {seams.worst} "
            f"{residual.mean} {residual.worst_at}"
        )
        self.note("operations " + " ".join(self.operations))


class Noting(Resampling):
    """Notes each tile once it is computed."""

    life: Life

    def __call__(self, tiles: RgbBatch) -> RgbBatch:
        enlarged = super().__call__(tiles)
        self.life.note("computed")
        return enlarged


def watched(life: Life, kill_at: int = 0, manner: str = "before") -> None:
    """From here on file operations are counted; the one of that number, from 1, is the last."""
    for name in OPERATIONS:
        setattr(os, name, _counted(getattr(os, name), life, kill_at, manner))


def _counted(operation: Callable[..., Any], life: Life, kill_at: int, manner: str) -> Callable[..., Any]:
    name, write = operation.__name__, os.pwrite

    def counted(*arguments: Any, **options: Any) -> Any:
        life.operations.append(life.phase)
        if len(life.operations) != kill_at:
            return operation(*arguments, **options)
        life.note(f"killed {life.phase} {manner} {name}")
        if manner == "torn" and name == "pwrite":
            write(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2], arguments[2])
        elif manner == "after":
            operation(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)
        signal.pause()

    return counted


def born(life: Life, before: Callable[[], None] = lambda: None) -> int:
    """Starts a life and gives its process."""
    child = os.fork()
    if child:
        return child
    try:
        before()
        life.live()
    except WsisrError as error:
        life.note(f"error {error}")
        os._exit(REFUSED)
    os._exit(DONE)


def ended(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def lines(life: Life, first_word: str) -> list[str]:
    noted = life.log.read_text().splitlines() if life.log.exists() else []
    return [line for line in noted if line.split()[0] == first_word]


@dataclass
class Campaign:
    """All lives are compared with one that was left alone."""

    slide: Path
    side: int
    folder: Path
    random: Random
    phases: Counter[str] = field(default_factory=Counter)
    twice: int = 0
    """Blocks that were computed again."""
    files: int = 0
    different: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        whole = self.life("whole")
        began = time.monotonic()
        assert ended(born(whole, lambda: watched(whole))) == DONE
        self.seconds = time.monotonic() - began
        self.content, self.audit = whole.output.read_bytes(), lines(whole, "audit")
        self.blocks = len(lines(whole, "computed"))
        self.operations = lines(whole, "operations")[0].split()[1:]

    def life(self, name: str, trouble: Trouble = no_trouble) -> Life:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return Life(self.slide, self.side, folder / "a.ome.tif", trouble)

    def go_on(self, life: Life, what: str) -> None:
        """The same command, left alone; its file must be the one."""
        again = Life(life.slide, life.side, life.output)
        code = DONE if life.output.exists() else ended(born(again))
        self.files += 1
        if code != DONE or life.output.read_bytes() != self.content:
            self.different.append(what)
        elif lines(life, "audit")[-1:] not in ([], self.audit):
            self.different.append(f"{what}: audit")
        elif {each.name for each in life.output.parent.iterdir()} - {
            life.output.name,
            life.log.name,
            f"{life.output.name}.wsisr-part",
        }:
            self.different.append(f"{what}: left-overs")
        self.twice += max(0, len(lines(life, "computed")) - self.blocks)
        shutil.rmtree(life.output.parent)

    def kill_in(self, phase: str, number: int) -> None:
        """Once, or a second time while it goes on."""
        life, manners = self.life(f"kill-{number}"), ("before", "after", "torn")
        for _ in range(self.random.choice((1, 1, 2))):
            if life.output.exists():
                break
            at = self.random.choice([n for n, each in enumerate(self.operations, 1) if each == phase])
            manner = self.random.choice(manners)
            ended(born(life, lambda at=at, manner=manner: watched(life, at, manner)))  # type: ignore[misc]
        for line in lines(life, "killed"):
            self.phases[line.split()[1]] += 1
        self.go_on(life, "; ".join(lines(life, "killed")))

    def kill_at_any_time(self, number: int) -> None:
        life = self.life(f"time-{number}")
        process = born(life)
        time.sleep(self.random.uniform(0, self.seconds))
        os.kill(process, signal.SIGKILL)
        if ended(process) != DONE:
            stages = [line for line in life.log.read_text().split("\n") if line in PHASES] if life.log.exists() else []
            self.phases[stages[-1] if stages else "start"] += 1
        self.go_on(life, f"a kill at a random time, {number}")

    def full_disk(self, tenth: int) -> None:
        life = self.life(f"full-{tenth}")
        with disk_of(len(self.content) * 2 * tenth // 10, life.output.parent) as enlarge:
            if ended(born(life)) == DONE:
                self.different.append(f"a disk of {tenth} tenths was large enough")
            enlarge()
            self.go_on_in_place(life, f"a disk full after {tenth} tenths")

    def go_on_in_place(self, life: Life, what: str) -> None:
        copy = self.life(f"{life.output.parent.name}-copy")
        again = Life(life.slide, life.side, life.output)
        if ended(born(again)) == DONE:
            shutil.copy(life.output, copy.output)
        shutil.copy(life.log, copy.log)
        self.go_on(copy, what)

    def source_fails(self, name: str, harm: Callable[[Path], None], after: int) -> None:
        """The slide is harmed once so many blocks are computed, and is whole again, as old as before, afterwards."""
        slide = self.folder / f"{name}{self.slide.suffix}"
        shutil.copy2(self.slide, slide)
        blocks = 0

        def trouble(line: str) -> None:
            nonlocal blocks
            blocks += line == "computed"
            if line == "computed" and blocks == after:
                harm(slide)

        # the name of a slide is nowhere in the file
        life = self.life(f"source-{name}", trouble)
        life.slide = slide
        code = ended(born(life))
        told = lines(life, "error")
        show(f"{name}: exit {code}, {told[-1] if told else 'no error: the open file is still there'}")
        shutil.copy2(self.slide, slide)
        self.go_on(life, f"a slide that is {name}")


@contextmanager
def disk_of(size: int, folder: Path) -> Iterator[Callable[[], None]]:
    """A folder with so many bytes to write; what is given takes the limit away."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, check=False, capture_output=True).returncode == 0
    if not mounted:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, before[1]))
        yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)
        return

    def enlarge() -> None:
        subprocess.run(["mount", "-o", "remount,size=1g", str(folder)], check=True)

    try:
        yield enlarge
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def damage(slide: Path) -> None:
    """Most of its bytes are zeros; the directory, at the end, is whole."""
    size = slide.stat().st_size
    with slide.open("r+b") as file:
        file.seek(size // 8)
        file.write(bytes(size * 3 // 4))


def cut_short(slide: Path) -> None:
    os.truncate(slide, slide.stat().st_size // 8)


def unreadable(slide: Path) -> None:
    """Every descriptor of it becomes one whose reading fails."""
    failing = os.open("/proc/self/mem", os.O_RDONLY)
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if link.readlink() == slide:
                os.dup2(failing, int(link.name))


HARMS: dict[str, Callable[[Path], None]] = {
    "damaged": damage,
    "cut short": cut_short,
    "gone": Path.unlink,
    "unreadable": unreadable,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--side", type=int, default=1280)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with TemporaryDirectory() as name:
        campaign = Campaign(asked.slide.resolve(), asked.side, Path(name).resolve(), Random(asked.seed))
        for number in range(asked.kills * 2 // 3):
            campaign.kill_in(PHASES[number % len(PHASES)], number)
        for number in range(asked.kills - asked.kills * 2 // 3):
            campaign.kill_at_any_time(number)
        twice = campaign.twice
        for tenth in range(1, 10):
            campaign.full_disk(tenth)
        for harmed, harm in HARMS.items():
            for after in (1, campaign.blocks // 2):
                campaign.source_fails(harmed, harm, after)
    kills = campaign.phases.total()
    facts = {
        "kills": kills,
        "kills by phase": dict(campaign.phases),
        "full disks": 9,
        "sources that fail": 2 * len(HARMS),
        "files compared": campaign.files,
        "different": campaign.different,
        "seconds of a run": round(campaign.seconds, 2),
        "blocks of a run": campaign.blocks,
        "file operations of a run": len(campaign.operations),
        "blocks done twice per kill": round(twice / kills, 2),
        "seconds done twice per kill": round(twice / kills * campaign.seconds / campaign.blocks, 3),
    }
    show(facts)
    if asked.json:
        asked.json.write_text(json.dumps(facts, indent=2))
    sys.exit(bool(campaign.different))


if __name__ == "__main__":
    main()
