"""A Slurm of one node, whose jobs are workers of `--cluster slurm.yaml`: the bytes of one process, and no job left.

    python -m tests.bench slurm SLIDE [--install] [--model NAME] [--tile-px 256] [--jobs 2] [--json FILE]

It starts munged, slurmctld and slurmd of its own, with key, configuration, state and ports of their own in a temporary
folder, and ends them; a Slurm that the machine has is not touched. They are Debian's `slurm-wlm` and `munge`, which
`--install` installs (as root). Only jobs of who runs the bench can run on it, so that no other right is needed.

Each row is the command `wsisr upscale` in a process of its own: `jobs` counts what sbatch got, `left` those that
still wait or run once the command has ended, `different` results with another byte than that of one process.
"""

from __future__ import annotations

import argparse
import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import psutil

from tests.bench.result_tables import Row, report

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue")
SERVICE_FOLDERS = "/usr/sbin:/sbin"
"""Where Debian keeps what starts by itself; not on everybody's path."""

PATIENCE_S = 60.0
"""Seconds until each part of Slurm has to answer."""

CONFIGURATION = """
ClusterName=bench
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
MinJobAge=3600
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs={jobs} RealMemory={megabytes} State=UNKNOWN
PartitionName=normal Nodes={host} Default=YES State=UP
"""
"""No cgroups, which a container may not give; the cores and the memory that the jobs ask for, whatever there is."""

JOBS = """
jobqueue:
  slurm:
    queue: normal
    cores: 1
    processes: 1
    memory: 3GB
    walltime: '01:00:00'
    log-directory: {folder}/logs
    local-directory: {folder}
"""


class Slurm(NamedTuple):
    """A Slurm that runs."""

    folder: Path

    @property
    def jobs_file(self) -> Path:
        """The file for `--cluster`."""
        return self.folder / "slurm.yaml"

    def list_jobs(self) -> list[str]:
        """Return what sbatch got so far, of whatever state, by their numbers."""
        shown = subprocess.run(["scontrol", "show", "jobs", "--oneliner"], capture_output=True, text=True, check=True)
        return re.findall(r"^JobId=(\d+)", shown.stdout, re.MULTILINE)

    def list_queue(self, *states: str) -> list[str]:
        """Return the jobs that wait or run, by their numbers."""
        words = ["squeue", "--noheader", "--format=%i", *(f"--states={state}" for state in states)]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()


@contextmanager
def start_slurm(folder: Path, jobs: int) -> Iterator[Slurm]:
    """Context: a Slurm of one node for so many jobs at a time. Its commands find it in this process."""
    for name in ("state", "spool", "logs"):
        (folder / name).mkdir()
    key, host = folder / "munge.key", socket.gethostname().split(".")[0]
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    controller_port, node_port = find_free_ports(2)
    (folder / "slurm.conf").write_text(
        CONFIGURATION.format(
            host=host,
            folder=folder,
            jobs=jobs,
            megabytes=jobs * 4096,
            user=getpass.getuser(),
            controller_port=controller_port,
            node_port=node_port,
        )
    )
    slurm = Slurm(folder)
    slurm.jobs_file.write_text(JOBS.format(folder=folder))
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    files = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munge.pid", "seed-file": "munge.seed"}
    munge = [f"--{option}={folder / name}" for option, name in files.items()]
    with ExitStack() as stack:
        stack.enter_context(serve(folder, "munged", "--foreground", "--force", f"--log-file={folder}/munge", *munge))
        wait_for((folder / "munge.socket").exists, "munged")
        stack.enter_context(serve(folder, "slurmctld", "-D"))
        wait_for(lambda: asks("scontrol", "ping"), "slurmctld")
        stack.enter_context(serve(folder, "slurmd", "-D", "-N", host))
        wait_for(lambda: asks("sinfo", "--noheader", "--states=idle", "--format=%D"), "slurmd")
        try:
            yield slurm
        finally:
            subprocess.run(["scancel", "--quiet", f"--user={getpass.getuser()}"], check=False)
            wait_for(lambda: not slurm.list_queue(), "the end of all jobs")


def find_free_ports(count: int) -> list[int]:
    """Return ports that nobody listens at, at this moment."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [opened.getsockname()[1] for opened in sockets]


@contextmanager
def serve(folder: Path, *words: str) -> Iterator[None]:
    """Context: a service in the foreground, whose messages lie in the folder."""
    with (folder / f"{words[0]}.log").open("wb") as log:
        started = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            yield
        finally:
            children = psutil.Process(started.pid).children(recursive=True) if started.poll() is None else []
            started.terminate()
            try:
                started.wait(timeout=PATIENCE_S)
            finally:
                with suppress(psutil.NoSuchProcess):
                    for process in children:  # what it left, such as the part of slurmctld that runs scripts
                        process.kill()
                started.kill()


def asks(*words: str) -> bool:
    """Return whether a command of Slurm succeeds and says something, which is not that something is down."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.returncode == 0 and bool(done.stdout.strip()) and "DOWN" not in done.stdout


def wait_for(is_there: Callable[[], bool], what: str) -> None:
    """Wait until something holds. Raises `TimeoutError` naming it."""
    until = time.monotonic() + PATIENCE_S
    while not is_there():
        if time.monotonic() > until:
            raise TimeoutError(f"{what} did not come within {PATIENCE_S:.0f} s")
        time.sleep(0.1)


class Bench:
    """Runs of one slide, on Slurm and without."""

    def __init__(self, asked: argparse.Namespace, folder: Path) -> None:
        self._folder = folder
        self._words = [sys.executable, "-m", "wsisr", "upscale", str(asked.slide.absolute()), "--scale", "2"]
        self._words += ["--model", asked.model, "--tile-px", str(asked.tile_px), "--device", "cpu"]

    def start(self, name: str, *options: str) -> subprocess.Popen[bytes]:
        """Start a run, whose messages lie beside its result."""
        with (self._folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen([*self._words, "-o", str(self.result(name)), *options], stdout=log, stderr=log)

    def run(self, name: str, *options: str) -> None:
        """Run to the end. Raises `RuntimeError` with its messages if that fails."""
        if self.start(name, *options).wait():
            raise RuntimeError((self._folder / f"{name}.log").read_text())

    def wait_for_tiles(self, name: str, run: subprocess.Popen[bytes]) -> None:
        """Wait until a run has stored some of its tiles."""
        journal = Path(f"{self.result(name)}.wsisr-part") / "level-0.journal"
        while run.poll() is None and not (journal.exists() and journal.stat().st_size > 0):
            time.sleep(0.05)

    def result(self, name: str) -> Path:
        return self._folder / f"{name}.ome.tif"


def run_with_cancelled_job(bench: Bench, slurm: Slurm, name: str, options: Sequence[str]) -> None:
    """Cancel a job that runs, as an administrator would; the cluster asks for another one."""
    run = bench.start(name, *options)
    bench.wait_for_tiles(name, run)
    subprocess.run(["scancel", slurm.list_queue("RUNNING")[0]], check=True)
    if run.wait():
        raise RuntimeError(f"the run failed with {run.returncode} once a job was cancelled")


def run_with_ctrl_c(bench: Bench, slurm: Slurm, name: str, options: Sequence[str]) -> None:
    """Press Ctrl-C, see that no job is left, and give the same command again."""
    run = bench.start(name, *options)
    bench.wait_for_tiles(name, run)
    run.send_signal(signal.SIGINT)
    if run.wait() != 128 + signal.SIGINT:
        raise RuntimeError(f"the run ended with {run.returncode} at Ctrl-C")
    wait_for(lambda: not slurm.list_queue(), "the end of the jobs of an interrupted run")
    bench.run(name, *options)


def measure(asked: argparse.Namespace, slurm: Slurm, folder: Path) -> list[Row]:
    """Return a row for each way to run."""
    bench = Bench(asked, folder)
    began = time.monotonic()
    bench.run("one-process")
    rows: list[Row] = [{"what happens": "one process", "jobs": 0, "left": 0, "s": time.monotonic() - began}]
    expected = bench.result("one-process").read_bytes()
    cluster = ["--cluster", str(slurm.jobs_file), "--workers"]
    ways: dict[str, Callable[[str], None]] = {
        f"{asked.jobs} jobs": lambda name: bench.run(name, *cluster, str(asked.jobs)),
        f"1 to {asked.jobs} jobs": lambda name: bench.run(name, *cluster, f"1:{asked.jobs}"),
        "a job cancelled": lambda name: run_with_cancelled_job(bench, slurm, name, [*cluster, f"1:{asked.jobs}"]),
        "Ctrl-C, same command again": lambda name: run_with_ctrl_c(bench, slurm, name, [*cluster, str(asked.jobs)]),
    }
    for way, run in ways.items():
        name, before, began = re.sub(r"\W+", "-", way), len(slurm.list_jobs()), time.monotonic()
        run(name)
        seconds, left = time.monotonic() - began, slurm.list_queue("RUNNING", "PENDING")
        rows.append(
            {
                "what happens": way,
                "jobs": len(slurm.list_jobs()) - before,
                "left": len(left),
                "s": seconds,
                "different": int(bench.result(name).read_bytes() != expected),
            }
        )
    rows[0]["different"] = 0
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--install", action="store_true", help="install Debian's slurm-wlm and munge first, as root")
    parser.add_argument("--model", default="masrgan-x2-fast")
    parser.add_argument("--tile-px", type=int, default=256)
    parser.add_argument("--jobs", type=int, default=2, help="jobs at a time, each with one core")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    os.environ["PATH"] += f":{SERVICE_FOLDERS}"
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the services end with the bench
    if asked.install:
        words = ["apt-get", "install", "-y", "--no-install-recommends", "slurm-wlm", "munge"]
        subprocess.run(words, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, check=True)
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        sys.exit(f"{', '.join(missing)}: not installed; --install, as root, installs Debian's slurm-wlm and munge")
    with TemporaryDirectory(prefix="slurm-") as name, start_slurm(Path(name), asked.jobs) as slurm:
        report(measure(asked, slurm, slurm.folder), asked.json)


if __name__ == "__main__":
    main()
