"""Parallel resources: how slides that run at the same time share a machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from wsisr.cli.console import print_warnings
from wsisr.errors import OptionError

if TYPE_CHECKING:
    from wsisr.cluster.place import ClusterPlace


@dataclass(frozen=True, slots=True)
class ParallelResources:
    """Slides at a time and their devices. The worker processes divide the cores among themselves."""

    slides_at_once: int
    devices: tuple[str, ...]

    @classmethod
    def from_options(cls, jobs: str, slides: int, device: str, model: str | None) -> ParallelResources:
        """Run `jobs` slides at a time, for `auto` one on each GPU, else one; never more than there are slides."""
        check_jobs_option(jobs)
        requested = None if jobs == "auto" else int(jobs)
        if slides < 2 or requested == 1:
            return cls(1, (device,))
        devices = list_devices(device, model)
        return cls(min(requested or len(devices), slides), devices)

    def device_for(self, number: int) -> str:
        """Return the device of a worker; workers are numbered from 0."""
        return self.devices[number % len(self.devices)] if self.slides_at_once > 1 else self.devices[0]

    @property
    def slides_per_device(self) -> int:
        """Slides at a time on one device, or on the CPU; they share one memory budget."""
        return -(-self.slides_at_once // len(self.devices))


def list_devices(device: str, model: str | None) -> tuple[str, ...]:
    """Return the devices that `--device` means: each GPU by its number if the option names none."""
    from wsisr.models.catalog import FILTER_MODELS

    onnx = model is not None and Path(model).suffix.lower() == ".onnx"
    any_device = device == "auto" and model not in FILTER_MODELS and not onnx
    if not any_device and device not in ("cuda", "tensorrt"):
        return (device,)
    from torch.cuda import device_count

    kind = "cuda" if any_device else device
    return tuple(f"{kind}:{number}" for number in range(device_count())) or (device,)


def check_jobs_option(jobs: str, *, staged: bool = False) -> None:
    """Raise `typer.BadParameter`, a usage error, unless `jobs` is `auto` or a number from 1; 1 with `--stage`."""
    if jobs != "auto" and (not jobs.isdecimal() or int(jobs) < 1):
        raise typer.BadParameter("give auto or a number from 1", param_hint="--jobs")
    if staged and jobs != "auto" and int(jobs) > 1:
        raise typer.BadParameter("copies for one slide at a time; give --jobs 1", param_hint="--stage")


def parse_cluster(
    where: str | None, workers: str | None, *, jobs: str = "auto", staged: bool = False
) -> ClusterPlace | None:
    """Return the place that `--cluster` names. Raises `OptionError` for one that is none, or excludes other options."""
    if where is None:
        if workers is not None:
            raise OptionError("is for the workers of --cluster FILE.yaml", option="--workers")
        return None
    if jobs not in ("auto", "1"):
        raise OptionError("--cluster and --jobs exclude each other: its workers share the work")
    if staged:
        raise OptionError("other machines do not see copies; leave it out with --cluster", option="--stage")
    from wsisr.cluster.place import ClusterPlace

    return ClusterPlace.parse(where, workers)


def warn_of_unused_gpu(device: str, model: str | None = None) -> None:
    """Print a warning where a network is to run on any device, and a GPU of NVIDIA is there that torch cannot use."""
    from wsisr.models.catalog import FILTER_MODELS
    from wsisr.models.torch_build import describe_unused_gpu, read_torch_version
    from wsisr.parallel.machine import has_nvidia_gpu

    if device == "auto" and model not in FILTER_MODELS:
        warning = describe_unused_gpu(has_gpu=has_nvidia_gpu(), torch_version=read_torch_version())
        print_warnings([warning] if warning else [])
