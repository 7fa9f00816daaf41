"""From a model's name or file to an `Upscaler`. What computes it is imported only when it is needed."""

from __future__ import annotations

from pathlib import Path

from wsisr.errors import DeviceError
from wsisr.models.catalog import pick
from wsisr.models.headers import sha256
from wsisr.upscaler import Resampling, Upscaler, Weights

__all__ = ["load_upscaler"]


def load_upscaler(
    model: str | Path | None = None,
    *,
    scale: int,
    device: str = "auto",
    precision: str = "auto",
    mpp: float | None = None,
) -> Upscaler:
    """A model, ready to enlarge tiles.

    `model` is `bicubic`, `lanczos`, the name of a shipped model, or a .safetensors file; None takes the shipped model
    of that scale that fits the pixel pitch `mpp` of the input (um/px). `device` is auto, cpu, cuda or cuda:NUMBER;
    `precision` is auto, bf16, fp16 (GPU only) or fp32.
    Raises `ModelError` if there is no such model or it has another scale, `DeviceError` if there is no such device.
    """
    chosen = pick(model, scale, mpp)
    if chosen is None:
        if device not in ("auto", "cpu"):
            raise DeviceError(f"{model} runs on the CPU only, not on {device}; leave the device out")
        return Resampling("bicubic" if model == "bicubic" else "lanczos", scale)
    from wsisr.models.weights import load_network  # noqa: PLC0415 - torch takes seconds to import
    from wsisr.runtime._torch import TorchUpscaler  # noqa: PLC0415
    from wsisr.runtime.device import torch_device, torch_precision  # noqa: PLC0415
    from wsisr.runtime.memory import WithinMemory  # noqa: PLC0415

    where = torch_device(device)
    spec, network = load_network(chosen.path)
    weights = Weights(spec, sha256(chosen.path))
    return WithinMemory(TorchUpscaler(chosen.name, network, where, torch_precision(precision, where), weights))
