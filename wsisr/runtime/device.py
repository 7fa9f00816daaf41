"""Where torch computes, and in which numbers: what was asked for, or an error."""

from __future__ import annotations

import torch

from wsisr.errors import DeviceError
from wsisr.models.precision import has_bf16


def torch_device(name: str) -> torch.device:
    """`auto` is the first GPU, else the CPU. Raises `DeviceError` where what was asked for is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"{name!r} is not a device; choose auto, cpu, cuda or cuda:NUMBER") from error
    if device.type not in ("cpu", "cuda"):
        raise DeviceError(f"{name!r} is not supported; choose auto, cpu, cuda or cuda:NUMBER")
    present = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= present:
        raise DeviceError(f"{name} was asked for, but torch finds {present or 'no'} CUDA device; try --device cpu")
    return device


def torch_precision(name: str, device: torch.device) -> str:
    """`auto` is bf16 where the hardware computes in it, else fp32."""
    if name not in ("auto", "bf16", "fp32"):
        raise DeviceError(f"{name!r} is not a precision; choose auto, bf16 or fp32")
    if name != "auto":
        return name
    return "bf16" if has_bf16(device) else "fp32"
