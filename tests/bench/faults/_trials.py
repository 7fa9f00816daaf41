"""The kinds of faults: what each does to an upscaling before the same command is given again."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.bench.faults._life import DONE, PHASES, REFUSED, Life, wait_for
from tests.support.changes import read_tree


@dataclass(frozen=True)
class Undisturbed:
    """An upscaling that was left alone, with which all others are compared."""

    slide: Path
    content: bytes
    report: str
    operations: list[str]
    """Phase of each file operation."""
    tile_count: int
    seconds: float


@dataclass(frozen=True)
class Bench:
    """What a fault may use: chance, the slides, and what is known of undisturbed runs."""

    random: Random
    plain: Undisturbed
    """Of a slide without compression, in which other pixels of the same size can lie."""
    other: Undisturbed
    """Of such other pixels."""
    torn: Undisturbed
    """Of a slide with places that cannot be decoded."""


Fault = Callable[[Bench, Life], None]


class TrialError(Exception):
    """Something that no fault may lead to."""


def kill_in_phase(bench: Bench, life: Life) -> None:
    """Kill at a file operation of a phase: before it, behind it, or in the midst of a write; a second time now and
    then."""
    for _ in range(bench.random.choice((1, 1, 2))):
        if not life.output.exists():
            kill_at_operation(bench, life, bench.plain, bench.random.choice(PHASES))


def kill_at_operation(bench: Bench, life: Life, undisturbed: Undisturbed, *phases: str) -> None:
    numbers = [number for number, phase in enumerate(undisturbed.operations, 1) if phase in phases]
    at, manner = bench.random.choice(numbers), bench.random.choice(("before", "after", "torn"))
    if life.run(lambda: life.count_operations(at, manner)) == -signal.SIGKILL:
        life.write_line(f"killed {manner}")


def kill_at_any_time(bench: Bench, life: Life) -> None:
    process = life.start()
    time.sleep(bench.random.uniform(0, bench.plain.seconds))
    os.kill(process, signal.SIGKILL)
    if wait_for(process) == -signal.SIGKILL:
        life.write_line("killed at any time")


def fill_disk(bench: Bench, life: Life) -> None:
    """Give it a disk that is full after some part of the work, and then room."""
    size = int(len(bench.plain.content) * bench.random.uniform(0.1, 1.8))
    with mount_disk(size, life.output.parent) as enlarge:
        life.run()
        enlarge()
        if life.run() != DONE:
            raise TrialError("refused when there was room again")
        shutil.move(life.output, life.log_path.with_name("result"))
        if any(life.output.parent.iterdir()):
            raise TrialError("left something on the disk that was full")
    shutil.move(life.log_path.with_name("result"), life.output)


@contextmanager
def mount_disk(size: int, folder: Path) -> Iterator[Callable[[], None]]:
    """Context: a folder with `size` bytes to write; the function that it gives takes the limit away."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    is_mounted = os.geteuid() == 0 and subprocess.run(mount, check=False, capture_output=True).returncode == 0
    if is_mounted:
        try:
            yield lambda: (subprocess.run(["mount", "-o", "remount,size=1g", str(folder)], check=True), None)[1]
        finally:
            subprocess.run(["umount", str(folder)], check=True)
        return
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, before[1]))
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, before)


def damage(slide: Path) -> None:
    """Make most of its bytes zero; the directory, at the beginning, stays."""
    size = slide.stat().st_size
    with slide.open("r+b") as file:
        file.seek(size // 8)
        file.write(bytes(size * 3 // 4))


def cut_short(slide: Path) -> None:
    os.truncate(slide, slide.stat().st_size // 8)


def make_unreadable(slide: Path) -> None:
    """Turn every descriptor of it into one whose reading fails, as on a disk that does."""
    failing = os.open("/proc/self/mem", os.O_RDONLY)
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if link.readlink() == slide:
                os.dup2(failing, int(link.name))


def harm_and_restore(harm: Callable[[Path], None]) -> Fault:
    """Harm the slide while it is read; put it back, as old as before, afterwards."""

    def make_fault(bench: Bench, life: Life) -> None:
        life.trouble = trouble_after_tiles(bench, lambda: harm(life.slide))
        life.run()
        shutil.copy2(bench.plain.slide, life.slide)

    return make_fault


def trouble_after_tiles(bench: Bench, make_trouble: Callable[[], object]) -> Callable[[str], None]:
    """Return what makes trouble once a number of tiles have been computed, drawn by chance."""
    left = bench.random.randint(1, bench.plain.tile_count)

    def count(line: str) -> None:
        nonlocal left
        left -= line == "computed"
        if line == "computed" and left == 0:
            make_trouble()

    return count


def overwrite_in_place(bench: Bench, slide: Path) -> None:
    """Write other pixels of the same size into the slide, and set its date back."""
    before = slide.stat()
    with slide.open("r+b") as file:
        file.write(bench.other.slide.read_bytes())
    os.utime(slide, ns=(before.st_atime_ns, before.st_mtime_ns))


def rename_over(bench: Bench, slide: Path) -> None:
    """Give the slide's name to another one of the same size and date."""
    copy = slide.with_name("copy")
    shutil.copy2(bench.other.slide, copy)
    before = slide.stat()
    os.utime(copy, ns=(before.st_atime_ns, before.st_mtime_ns))
    copy.replace(slide)


def change_while_running(change: Callable[[Bench, Path], object]) -> Fault:
    def make_fault(bench: Bench, life: Life) -> None:
        life.trouble = trouble_after_tiles(bench, lambda: change(bench, life.slide))
        if life.run() == DONE:
            raise TrialError("made of a slide that changed")
        if not life.slide.exists():
            shutil.copy2(bench.other.slide, life.slide)

    return make_fault


def change_between_runs(change: Callable[[Bench, Path], None]) -> Fault:
    def make_fault(bench: Bench, life: Life) -> None:
        kill_at_operation(bench, life, bench.plain, "upscale", "pyramid", "assemble")
        change(bench, life.slide)

    return make_fault


def harm_log(harm: Callable[[Random, bytes], bytes | None]) -> Fault:
    """Kill a run over a slide with places that cannot be decoded, and harm its log, which tells of them."""

    def make_fault(bench: Bench, life: Life) -> None:
        shutil.copy2(bench.torn.slide, life.slide)
        kill_at_operation(bench, life, bench.torn, "upscale", "pyramid", "assemble")
        log = life.part_folder / "diary"
        if log.exists() and log.stat().st_size:
            content = harm(bench.random, log.read_bytes())
            log.unlink()
            if content is not None:
                log.write_bytes(content)

    return make_fault


def flip_byte(random: Random, content: bytes) -> bytes:
    place = random.randrange(len(content))
    return content[:place] + bytes([content[place] ^ random.randrange(1, 256)]) + content[place + 1 :]


def cut_off(random: Random, content: bytes) -> bytes:
    return content[: random.randrange(len(content))]


def meet_foreign_folder(make: Callable[[Life], None]) -> Fault:
    """Put something that is not ours in the place of the work folder; it must be refused and stay as it is."""

    def make_fault(_bench: Bench, life: Life) -> None:
        elsewhere = life.slide.with_name("elsewhere")
        elsewhere.mkdir()
        (elsewhere / "level-0.tiles").write_text("precious")
        make(life)
        before = read_tree(life.output.parent), read_tree(elsewhere)
        if life.run() != REFUSED:
            raise TrialError("entered a folder that is not ours")
        if (read_tree(life.output.parent), read_tree(elsewhere)) != before:
            raise TrialError("changed a folder that is not ours")
        shutil.rmtree(elsewhere)
        if life.part_folder.is_symlink():
            life.part_folder.unlink()
        else:
            shutil.rmtree(life.part_folder)

    return make_fault


def make_namesake(life: Life) -> None:
    """A folder of another program that has all the names of ours."""
    life.part_folder.mkdir()
    (life.part_folder / "dataset").mkdir()
    for name in ("lock", "run.json", "level-0.tiles", "level-0.journal", "diary", "image", "dataset/precious"):
        (life.part_folder / name).write_text('{"precious": "1"}')


def link_work_folder(life: Life) -> None:
    life.part_folder.symlink_to(life.slide.with_name("elsewhere"))


def link_tiles(life: Life) -> None:
    """Our folder, as a killed run has left it, with a link in the place of its tiles."""
    while not (life.part_folder / "run.json").exists():
        process = life.start()
        while not (life.part_folder / "level-0.tiles").exists():
            time.sleep(0.001)
        os.kill(process, signal.SIGKILL)
        wait_for(process)
    (life.part_folder / "level-0.tiles").unlink()
    (life.part_folder / "level-0.tiles").symlink_to(life.slide.with_name("elsewhere") / "level-0.tiles")


FAULTS: Mapping[str, Fault] = {
    "killed in a phase": kill_in_phase,
    "killed at any time": kill_at_any_time,
    "disk full": fill_disk,
    "slide damaged": harm_and_restore(damage),
    "slide cut short": harm_and_restore(cut_short),
    "slide gone for a while": harm_and_restore(Path.unlink),
    "slide on a failing disk": harm_and_restore(make_unreadable),
    "slide overwritten in place": change_while_running(overwrite_in_place),
    "slide renamed over": change_while_running(rename_over),
    "slide deleted": change_while_running(lambda _bench, slide: slide.unlink()),
    "slide overwritten between kill and resume": change_between_runs(overwrite_in_place),
    "slide renamed over between kill and resume": change_between_runs(rename_over),
    "log damaged": harm_log(flip_byte),
    "log cut off": harm_log(cut_off),
    "log removed": harm_log(lambda _random, _content: None),
    "namesake of the work folder": meet_foreign_folder(make_namesake),
    "link as work folder": meet_foreign_folder(link_work_folder),
    "link in the work folder": meet_foreign_folder(link_tiles),
}

MAY_BE_REFUSED = tuple(name for name in FAULTS if name.startswith("slide"))
"""Faults after which the same command may be refused, as no proof is there that the slide is still the same; with
`--overwrite` it must then begin anew."""
