"""Request check: what no slide could change is found before the first of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wsisr.errors import DeviceError, ModelError, ModelNotFoundError, OptionError

if TYPE_CHECKING:
    from wsisr.upscaling.request import UpscaleRequest


def check_batch_request(request: UpscaleRequest, slides_per_device: int = 1, *, on_this_machine: bool = True) -> None:
    """Raise `OptionError` or `ModelError` for what would be the same error of every slide.

    Some depends on the scale, and with `--target-mpp` that depends on the slide. No network is loaded. The devices of
    other machines are not looked at.
    """
    _check_memory(request.memory, slides_per_device)
    _check_tiles(request)
    _check_model(request)
    try:
        if on_this_machine:
            _check_device(request)
    except DeviceError as error:
        raise OptionError(str(error), option="--device") from error


def _check_memory(memory_gb: float, slides_per_device: int) -> None:
    from wsisr.upscaling.memory import FIXED_BYTES, GB

    least = FIXED_BYTES * slides_per_device / GB
    if not memory_gb > least:
        shared = f" for {slides_per_device} slides at a time" if slides_per_device > 1 else ""
        reason = f"{memory_gb:g} GB is too little for any slide; give more than {least:g}{shared}"
        raise OptionError(reason, option="--memory")


def _check_tiles(request: UpscaleRequest) -> None:
    from wsisr.upscaling.plan import find_cell_side

    if request.tile_px is not None and request.scale is not None:
        cell_px = find_cell_side(request.scale)
        if request.tile_px < 1 or request.tile_px % cell_px:
            reason = f"must be a multiple of {cell_px} at scale {request.scale}, not {request.tile_px}"
            raise OptionError(reason, option="--tile-px")


def _check_model(request: UpscaleRequest) -> None:
    """Raise `ModelError` if there is no such model, `OptionError` if it has another scale or no GAN variant."""
    from wsisr.models.catalog import FILTER_MODELS, check_model_scale, find_model, read_gan_variant
    from wsisr.models.loading import is_third_party_file

    model = request.model
    if model is None:
        return
    if model in FILTER_MODELS or is_onnx_file(model) or is_third_party_file(model):
        if request.perception:
            raise OptionError(f"{model} has no GAN variant; leave it out", option="--perception")
        if is_onnx_file(model):
            _require_file(Path(model))
        return
    found = find_model(model, ".safetensors or .onnx", FILTER_MODELS)
    if request.scale is not None:
        check_model_scale(found.name, found.spec.scale, request.scale)
    if request.perception:
        read_gan_variant(found)


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise ModelNotFoundError(f"{path}: no such file; `wsisr models` lists the shipped networks")


def _check_device(request: UpscaleRequest) -> None:
    """Raise `DeviceError` if there is no such device. Torch is imported only for one that may be missing."""
    from wsisr.models.catalog import FILTER_MODELS

    device, model = request.device, request.model
    if device in ("auto", "cpu"):
        return
    if model in FILTER_MODELS:
        raise DeviceError(f"{model} runs on the CPU only, not on {device}; leave it out")
    if model is not None and is_onnx_file(model):
        _check_onnx_device(Path(model), device)
        return
    from wsisr.models.backends.device import select_device

    select_device(device)


def _check_onnx_device(path: Path, device: str) -> None:
    try:
        from wsisr.models.backends.onnx import select_providers
    except ModuleNotFoundError as error:
        raise ModelError(f"{path}: {error.name} is missing; install wsisr[cpu] or wsisr[gpu]") from error
    select_providers(device)


def is_onnx_file(model: Path | str) -> bool:
    """Return whether a model is a file for ONNX Runtime, by its suffix."""
    return Path(model).suffix.lower() == ".onnx"
