"""Processes of Dask that benches start and end: a scheduler, and its workers."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil


@contextmanager
def scheduler(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A scheduler in a process of its own, and its address."""
    file = folder / f"scheduler-{time.monotonic_ns()}.json"
    words = ["-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    with process(words) as started:
        while not file.exists() or '"address"' not in file.read_text():
            time.sleep(0.05)
        yield file.read_text().split('"address": "')[1].split('"')[0], started


@contextmanager
def worker(address: str, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    words = ["-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard", "--memory-limit", "0"]
    with process([*words, *more]) as started:
        yield started


@contextmanager
def process(words: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    started = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield started
    finally:
        end(started)


def end(started: subprocess.Popen[bytes]) -> None:
    """Kill a process with its children, at once."""
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(started.pid).children(recursive=True):
            child.kill()
    started.kill()
    started.wait()
