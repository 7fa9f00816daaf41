"""Where torch computes, and in which numbers: what was asked for, or an error."""

from __future__ import annotations

import torch

from wsisr.errors import DeviceError
from wsisr.models.spec import PRECISIONS


def select_device(name: str) -> torch.device:
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


def select_precision(name: str, device: torch.device) -> str:
    """`auto` is bf16 where the hardware has it, else fp16 on a GPU. Raises `DeviceError` for what it cannot do."""
    if name not in PRECISIONS:
        raise DeviceError(f"{name!r} is not a precision; choose auto, bf16, fp16 or fp32")
    if name == "fp16" and device.type == "cpu":
        raise DeviceError("no CPU gains from fp16; choose bf16 or fp32")
    if name != "auto":
        return name
    if has_fast_bf16(device):
        return "bf16"
    return "fp16" if device.type == "cuda" else "fp32"


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bf16 arithmetic pays on that device: a GPU that has it, or a CPU with AVX-512 BF16 or AMX."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
