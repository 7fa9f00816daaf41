"""Choose torch's device and precision: exactly the wanted ones, or an error."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping

import torch

from wsisr.errors import DeviceNotFoundError
from wsisr.models.spec import PRECISIONS

INSTRUCTION_SETS_WITHOUT_BF16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")
"""Values of `ONEDNN_MAX_CPU_ISA` under which bf16 is emulated."""


def select_device(name: str) -> torch.device:
    """Return a device; `auto` is the first GPU, else the CPU. Raises `DeviceNotFoundError` if there is none such."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceNotFoundError(f"{name!r} is not a device; choose auto, cpu, cuda or cuda:NUMBER") from error
    if device.type not in ("cpu", "cuda"):
        raise DeviceNotFoundError(f"{name!r} is not supported; choose auto, cpu, cuda or cuda:NUMBER")
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise DeviceNotFoundError(f"{name} is missing, torch finds {count or 'no'} CUDA device; try --device cpu")
    return device


def select_precision(name: str, device: torch.device) -> str:
    """Return a precision; `auto` is bf16 if the device has it, else fp16 (GPU) or fp32 (CPU).

    Raises `DeviceNotFoundError` for one that the device does not compute in.
    """
    if name not in PRECISIONS:
        raise DeviceNotFoundError(f"{name!r} is not a precision; choose auto, bf16, fp16 or fp32")
    if name == "fp16" and device.type == "cpu":
        raise DeviceNotFoundError("no CPU gains from fp16; choose bf16 or fp32")
    if name != "auto":
        return name
    if has_fast_bf16(device):
        return "bf16"
    return "fp16" if device.type == "cuda" else "fp32"


def has_fast_bf16(device: torch.device) -> bool:
    """Return whether bf16 is faster than fp32: on a GPU that has it, or a CPU with AVX-512 BF16 or AMX."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    # Torch 2.13 says so of CPUs with plain AVX-512, too, where bf16 is emulated and 4.2 to 4.5 times as slow as fp32.
    has_instructions = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return bool(has_instructions) and not is_capped_below_bf16(os.environ)


def is_capped_below_bf16(environment: Mapping[str, str]) -> bool:
    """Return whether oneDNN, which computes convolutions, is told to use no instructions for bf16.

    Source: oneDNN 3, "CPU dispatcher control".
    """
    cap = environment.get("ONEDNN_MAX_CPU_ISA", environment.get("DNNL_MAX_CPU_ISA", ""))
    return cap.upper() in INSTRUCTION_SETS_WITHOUT_BF16
