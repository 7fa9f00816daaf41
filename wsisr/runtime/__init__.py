"""From a model's name or file to an `Upscaler`. What computes it is imported only when it is needed."""

from __future__ import annotations

from pathlib import Path

from wsisr.errors import DeviceError, ModelError
from wsisr.models.catalog import pick, refuse_other_scale
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

    `model` is `bicubic`, `lanczos`, the name of a shipped model, a .safetensors file, or an .onnx
    file of `wsisr export`, for ONNX Runtime; None takes the shipped model
    of that scale that fits the pixel pitch `mpp` of the input (um/px). `device` is auto, cpu, cuda or cuda:NUMBER, for
    ONNX also tensorrt;
    `precision` is auto, bf16, fp16 (GPU only) or fp32.
    Raises `ModelError` if there is no such model or it has another scale, `DeviceError` if there is no such device.
    """
    if model is not None and Path(model).suffix.lower() == ".onnx":
        return _onnx_upscaler(Path(model), scale, device, precision)
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


def _onnx_upscaler(path: Path, scale: int, device: str, precision: str) -> Upscaler:
    try:
        from wsisr.runtime._onnx import OnnxUpscaler  # noqa: PLC0415 - an extra
        from wsisr.runtime.memory import WithinMemory  # noqa: PLC0415
        from wsisr.runtime.onnxfile import read_onnx  # noqa: PLC0415

        file = read_onnx(path)
    except ModuleNotFoundError as error:
        raise ModelError(f"{path}: {error.name} is missing; install wsisr[cpu] or wsisr[gpu]") from error
    if precision != "auto":
        raise DeviceError(f"{path}: an ONNX file has its own precision, not {precision}; leave it out")
    refuse_other_scale(path.stem, file.spec, scale)
    return WithinMemory(OnnxUpscaler(path.stem, file, device, Weights(file.spec, sha256(path))))
