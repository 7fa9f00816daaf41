"""Damages small files of each format at random, and looks for tracebacks, hangs, crashes and large memory.

    python -m tests.bench fuzz [--format NAME] [--minutes 10] [--seed 0] [--keep FOLDER] [--json FILE]

Each damaged file is opened and read in a process of its own, forked from one that has imported everything, for 10 s of
a processor, or two minutes where the machine is too busy to give it that, and for 1 GB of memory beyond that process's.
A clear refusal, one line, is no fault. `--minutes` counts for each format; the same seed gives the same files in the
same order.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import select
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from rich import print as show

from tests.support.fuzz_targets import TARGETS, judge_mutant, make_samples, write_mutant

LIMIT_S = 10.0
"""Seconds of a processor that a damaged file may take."""
LIMIT_WAIT_S = 120.0
"""Seconds in which a process must end that uses less, as it waits for something or the machine is busy."""
LIMIT_BYTES = 10**9
_ADDRESS_BYTES = 6 * 2**30
"""Addresses that a process may ask for beyond what it has, so that this machine survives what is looked for."""

_IMPORTED = ("cli.info", "dataset.report.contents", "models.backends.onnx", "tissue.annotation", "training.stages")
"""Modules of wsisr that the processes need, each imported once."""

_KEPT_EACH = 5
"""Damaged files that are kept of each kind of fault."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--format", choices=TARGETS, action="append")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the files that show a fault")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    for module in _IMPORTED:
        importlib.import_module(f"wsisr.{module}")
    warnings.simplefilter("error")
    facts = {name: _fuzz_format(name, asked.minutes * 60, asked.seed, asked.keep) for name in asked.format or TARGETS}
    show(facts)
    if asked.json:
        asked.json.write_text(json.dumps(facts, indent=2))
    sys.exit(any(faults for counts in facts.values() for kind, faults in counts.items() if kind not in _NO_FAULTS))


_NO_FAULTS = ("mutants", "read", "refused", "largest MB", "longest s")


def _fuzz_format(name: str, seconds: float, seed: int, keep: Path | None) -> dict[str, float]:
    faults: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    largest, longest = 0, 0.0
    end = time.monotonic() + seconds
    with TemporaryDirectory() as place:
        samples = make_samples(name, Path(place))
        for sample in samples:
            outcome, _, _, words = _judge_in_process(name, sample)
            assert outcome == "read", f"{sample} is sound, and yet: {outcome} {words}"
        mutants = Path(place, "mutants")
        mutants.mkdir()
        while time.monotonic() < end:
            number = outcomes.total()
            mutant = write_mutant(name, samples, mutants, f"{seed}-{name}-{number}")
            outcome, grown, duration, words = _judge_in_process(name, mutant)
            outcomes[outcome] += 1
            largest, longest = max(largest, grown), max(longest, duration)
            if outcome not in _NO_FAULTS:
                kind = f"{outcome}: {words}"
                faults[kind] += 1
                if faults[kind] == 1:
                    show(f"{name} {seed}-{name}-{number} {mutant.name}: {kind}")
                if keep and faults[kind] <= _KEPT_EACH:
                    _keep(mutant, keep / f"{name}-{number}-{outcome}")
    figures = {"mutants": outcomes.total(), "read": outcomes["read"], "refused": outcomes["refused"]}
    return figures | {"largest MB": round(largest / 1e6), "longest s": round(longest, 2)} | dict(faults)


def _keep(mutant: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if mutant.is_dir():
        shutil.copytree(mutant, folder / mutant.name, dirs_exist_ok=True)
    else:
        shutil.copy(mutant, folder)


def _judge_in_process(name: str, mutant: Path) -> tuple[str, int, float, str]:
    """Return the outcome, the bytes and seconds that it took, and where a fault arose."""
    began = time.monotonic()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        _judge(name, mutant, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        is_done = _wait_for(pipe, child)
        if not is_done:
            os.kill(child, signal.SIGKILL)
        answer = pipe.read().decode() if is_done else ""
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    duration = time.monotonic() - began
    if not is_done:
        return "hang", 0, duration, mutant.name
    if status or not answer:
        return "crash", 0, duration, f"exit {status}"
    outcome, grown, words = json.loads(answer)
    if grown > LIMIT_BYTES:
        return "memory", grown, duration, f"{grown / 1e9:.1f} GB"
    return outcome, grown, duration, words


def _wait_for(pipe: IO[bytes], child: int) -> bool:
    """Return whether a child answers before it has used up its time."""
    end = time.monotonic() + LIMIT_WAIT_S
    while time.monotonic() < end and _read_processor_seconds(child) < LIMIT_S:
        if select.select([pipe], [], [], 1.0)[0]:
            return True
    return False


def _read_processor_seconds(child: int) -> float:
    # Behind the name, in brackets that it may hold itself, the twelfth and thirteenth fields are user and system time.
    fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _judge(name: str, mutant: Path, writing: int) -> None:
    """Exercise a damaged file and write the outcome into a pipe. Never returns."""
    addresses = _read_status("VmSize")
    resource.setrlimit(resource.RLIMIT_AS, (addresses + _ADDRESS_BYTES, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = _read_status("VmRSS")
    code = 1
    try:
        outcome, error = judge_mutant(name, mutant)
        grown = max(0, _read_status("VmHWM") - before)
        words = "" if error is None else _describe(error)
        os.write(writing, json.dumps([outcome, grown, words]).encode())
        code = 0
    finally:
        os._exit(code)


def _describe(fault: BaseException) -> str:
    frames = traceback.extract_tb(fault.__traceback__)
    own = [frame for frame in frames if "/wsisr/" in frame.filename]
    places = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in (own[-1:] + frames[-1:]))
    return f"{type(fault).__name__} at {places}: {str(fault)[:120]}"


def _read_status(name: str) -> int:
    """Read a size of this process in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main()
