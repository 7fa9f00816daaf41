"""Load an `Upscaler` by a model's name or file. Torch and ONNX Runtime are imported only when they are needed."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from wsisr.errors import DeviceError, ModelError
from wsisr.models.backends.malloc import keep_freed_memory
from wsisr.models.backends.quick_import import pause_garbage_collection
from wsisr.models.catalog import Model, check_model_scale, read_gan_variant, resolve_model
from wsisr.models.magnification import MagnificationClassifier
from wsisr.models.spec import CLASSIFYING_FAMILY
from wsisr.models.upscaler import Blend, Resampling, Upscaler, Weights
from wsisr.models.weights_header import hash_file, is_third_party

if TYPE_CHECKING:
    from wsisr.models.backends.onnx import OnnxUpscaler
    from wsisr.models.backends.onnx_file import OnnxFile
    from wsisr.models.backends.torch import TorchUpscaler

__all__ = ["load_magnification_classifier", "load_upscaler"]


def load_upscaler(
    model: str | Path | None = None,
    *,
    scale: int,
    device: str = "auto",
    precision: str = "auto",
    mpp: float | None = None,
    perception: float = 0.0,
) -> Upscaler:
    """Load a model, ready to enlarge tiles.

    `model` is `bicubic`, `lanczos`, the name of a shipped model, a .safetensors file (third-party ones through
    spandrel), or an .onnx file, for ONNX Runtime; None chooses the shipped model of that scale that fits the input's
    pixel size `mpp` (um/px). `device` is auto, cpu, cuda or cuda:NUMBER, for ONNX also tensorrt; `precision` is auto,
    bf16, fp16 (GPU only) or fp32. `perception` from 0 to 1 blends a model's weights with those of its GAN variant,
    which was trained to look crisp.
    Raises `ModelError` if there is no such model or it has another scale, `DeviceError` if there is no such device.
    """
    from wsisr.models.backends.out_of_memory import MemoryBoundedUpscaler  # noqa: PLC0415

    keep_freed_memory()
    if model is not None and Path(model).suffix.lower() == ".onnx":
        _refuse_perception(str(model), perception)
        return _load_onnx_file(Path(model), scale, device, precision)
    if _is_third_party_file(model):
        _refuse_perception(str(model), perception)
        return MemoryBoundedUpscaler(
            _load_third_party_upscaler(Path(str(model)), scale, device, precision).copy_for_run()
        )
    chosen = resolve_model(model, scale, mpp)
    if chosen is None:
        _refuse_perception(str(model), perception)
        if device not in ("auto", "cpu"):
            raise DeviceError(f"{model} runs on the CPU only, not on {device}; leave --device out")
        return Resampling("bicubic" if model == "bicubic" else "lanczos", scale)
    variant = read_gan_variant(chosen) if perception else None
    blend = Blend(variant.name, perception, hash_file(variant.path)) if variant else None
    weights = Weights(chosen.spec, hash_file(chosen.path), blend)
    network = _load_torch_upscaler(chosen, weights, device, precision, perception)
    return MemoryBoundedUpscaler(network.copy_for_run())


@lru_cache(maxsize=1)
def _load_torch_upscaler(
    model: Model, weights: Weights, device: str, precision: str, perception: float
) -> TorchUpscaler:
    """Load a network onto its device. The last one is cached, so that the slides of one run share it."""
    with pause_garbage_collection():
        from wsisr.models.backends.device import select_device, select_precision  # noqa: PLC0415
        from wsisr.models.backends.torch import TorchUpscaler  # noqa: PLC0415
        from wsisr.models.weights import (  # noqa: PLC0415 - torch takes seconds to import
            load_blended_network,
            load_network,
        )

    torch_device = select_device(device)
    variant = read_gan_variant(model) if perception else None
    _, network = load_blended_network(model.path, variant.path, perception) if variant else load_network(model.path)
    return TorchUpscaler(model.name, network, torch_device, select_precision(precision, torch_device), weights)


def _is_third_party_file(model: str | Path | None) -> bool:
    path = Path(model or "")
    return path.suffix == ".safetensors" and path.is_file() and is_third_party(path)


@lru_cache(maxsize=1)
def _load_third_party_upscaler(path: Path, scale: int, device: str, precision: str) -> TorchUpscaler:
    """Load and probe a third-party network. The last one is cached, because probing takes a while."""
    from wsisr.models.backends.device import select_device, select_precision  # noqa: PLC0415
    from wsisr.models.backends.spandrel import load_third_party_network  # noqa: PLC0415 - an extra
    from wsisr.models.backends.torch import TorchUpscaler  # noqa: PLC0415

    torch_device, network = select_device(device), load_third_party_network(path)
    check_model_scale(path.stem, network.scale, scale)
    torch_precision = select_precision(precision, torch_device)
    weights, warnings = Weights(None, hash_file(path)), (network.probed.describe(path.stem),)
    return TorchUpscaler(path.stem, network, torch_device, torch_precision, weights, warnings)


def load_magnification_classifier(
    model: str | Path | None = None, *, scale: int, device: str = "auto", mpp: float | None = None
) -> MagnificationClassifier | None:
    """Load the magnification classifier of a model, chosen as by `load_upscaler`; None if the model has none."""
    if model is not None and (Path(model).suffix.lower() == ".onnx" or _is_third_party_file(model)):
        return None
    chosen = resolve_model(model, scale, mpp)
    if chosen is None or chosen.spec.family != CLASSIFYING_FAMILY:
        return None
    from wsisr.models.architectures.mmsrnet import MMSRNet  # noqa: PLC0415
    from wsisr.models.backends.classifier import TorchMagnificationClassifier  # noqa: PLC0415
    from wsisr.models.backends.device import select_device  # noqa: PLC0415
    from wsisr.models.weights import load_network  # noqa: PLC0415

    _, network = load_network(chosen.path)
    assert isinstance(network, MMSRNet)
    return TorchMagnificationClassifier(network, select_device(device))


def _refuse_perception(model: str, perception: float) -> None:
    if perception:
        raise ModelError(f"{model} has no GAN variant; leave --perception out")


def _load_onnx_file(path: Path, scale: int, device: str, precision: str) -> Upscaler:
    try:
        from wsisr.models.backends.onnx_file import read_onnx  # noqa: PLC0415 - an extra
        from wsisr.models.backends.out_of_memory import MemoryBoundedUpscaler  # noqa: PLC0415

        file = read_onnx(path)
        if precision != "auto":
            raise DeviceError(f"{path}: an ONNX file has its own precision, not {precision}; leave it out")
        upscaler = _load_onnx_upscaler(file, device, hash_file(path))
    except ModuleNotFoundError as error:
        raise ModelError(f"{path}: {error.name} is missing; install wsisr[cpu] or wsisr[gpu]") from error
    check_model_scale(path.name, upscaler.info.scale, scale)
    return MemoryBoundedUpscaler(upscaler.copy_for_run())


@lru_cache(maxsize=1)
def _load_onnx_upscaler(file: OnnxFile, device: str, digest: str) -> OnnxUpscaler:
    """Start an ONNX Runtime session. The last one is cached, so that the slides of one run share it."""
    from wsisr.models.backends.onnx import OnnxUpscaler  # noqa: PLC0415

    return OnnxUpscaler(file.path.name, file, device, digest)
