"""Shares: how a machine is divided among slides that are enlarged beside each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import typer

FILTER_NAMES = ("bicubic", "lanczos")


@dataclass(frozen=True, slots=True)
class ParallelResources:
    """Cores are divided by the workers themselves."""

    slides_at_once: int
    """Slides at a time."""
    devices: tuple[str, ...]

    @classmethod
    def from_options(cls, jobs: str, slides: int, device: str, model: str | None) -> ParallelResources:
        """As many as asked for, or for `auto` as there are GPUs to spread over, else one. Never more than slides."""
        check_jobs_option(jobs)
        asked = None if jobs == "auto" else int(jobs)
        if slides < 2 or asked == 1:
            return cls(1, (device,))
        devices = list_devices(device, model)
        return cls(min(asked or len(devices), slides), devices)

    def device_for(self, number: int) -> str:
        """Of a worker, counted from 0."""
        return self.devices[number % len(self.devices)] if self.slides_at_once > 1 else self.devices[0]

    @property
    def slides_per_device(self) -> int:
        """Slides at a time on one device, or on the CPU: they have one budget of memory between them."""
        return -(-self.slides_at_once // len(self.devices))


def list_devices(device: str, model: str | None) -> tuple[str, ...]:
    """What is meant by a device, as names of their own: every GPU, where no number says which."""
    onnx = model is not None and Path(model).suffix.lower() == ".onnx"
    anywhere = device == "auto" and model not in FILTER_NAMES and not onnx
    if not anywhere and device not in ("cuda", "tensorrt"):
        return (device,)
    from torch.cuda import device_count

    kind = "cuda" if anywhere else device
    return tuple(f"{kind}:{number}" for number in range(device_count())) or (device,)


def check_jobs_option(jobs: str) -> None:
    """Refuses, as wrong usage, what is no number of slides."""
    if jobs != "auto" and (not jobs.isdecimal() or int(jobs) < 1):
        raise typer.BadParameter("give auto or a number from 1", param_hint="--jobs")
