"""Training on a machine that is lent for minutes: `python tests/bench/gputrain.py CONFIG.toml -o OUT --minutes 9`.

Needs torch, numpy, Pillow, safetensors and lightning, and no installation: it is run in the checkout, with the dataset
that CONFIG.toml names. What comes back fits a narrow door: the run's folder as a few files of at most 15 MiB under OUT,
which the next lease takes with --before, so that a run goes on exactly where the last one ended; and the weights.
"""

from __future__ import annotations

import argparse
import io
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from wsisr.training.config import read_config
from wsisr.training.loop import BEST, LAST, Run

PART_BYTES = 15 << 20
PART = "run.tar.{:02}"


def pack(folder: Path, out: Path) -> list[Path]:
    """A folder as numbered parts of one archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.add(path, str(path.relative_to(folder)))
    content = buffer.getvalue()
    parts = []
    for number, start in enumerate(range(0, len(content), PART_BYTES)):
        parts.append(out / PART.format(number))
        parts[-1].write_bytes(content[start : start + PART_BYTES])
    return parts


def unpack(before: Path, folder: Path) -> None:
    """The folder of which these are the parts."""
    content = b"".join(path.read_bytes() for path in sorted(before.glob(PART.format(0)[:-2] + "*")))
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(folder, filter="data")


def lease(run: Run, seconds: float, steps: int | None) -> Iterator[str]:
    """Trains for a time or a number of steps, saves, and tells of validations."""
    began, first = time.monotonic(), run.step
    for report in run:
        if report.found:
            rate = (report.step - first) / (time.monotonic() - began)
            yield f"step {report.step}: loss {report.loss:.5f}, {report.found.gain:+.3f} dB, {rate:.1f} steps/s"
        if time.monotonic() - began > seconds or report.step - first == steps:
            run.save()
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for what comes back")
    parser.add_argument("--before", type=Path, help="what came back of the lease before")
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--steps", type=int, help="of this lease, instead of its time")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    folder = asked.out / "run"
    asked.out.mkdir(parents=True, exist_ok=True)
    if asked.before:
        unpack(asked.before, folder)
    run = Run(read_config(asked.config), folder, torch.device(asked.device))
    for line in lease(run, 60 * asked.minutes, asked.steps):
        print(line, flush=True)  # noqa: T201
    back = pack(folder, asked.out)
    for name in (BEST, LAST):
        if (folder / name).exists():
            back.append((folder / name).replace(asked.out / name))
    print(f"step {run.step} of {run.config.schedule.steps} on {run.device}: {[path.name for path in back]}")  # noqa: T201


if __name__ == "__main__":
    main()
