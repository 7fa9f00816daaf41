"""Load an `Upscaler` by a model's name or file. Torch and ONNX Runtime are imported only when they are needed.

What was loaded last is cached: the slides of a run share one network, and so do an upscaler and the classifier of its
magnification.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from wsisr.errors import DeviceNotFoundError, ModelError, OptionError
from wsisr.models.backends.malloc import keep_freed_memory
from wsisr.models.backends.quick_import import pause_garbage_collection
from wsisr.models.catalog import Model, check_model_scale, read_gan_variant, resolve_model
from wsisr.models.magnification import MagnificationClassifier
from wsisr.models.spec import CLASSIFYING_FAMILY
from wsisr.models.upscaler import Blend, Resampling, Upscaler, Weights
from wsisr.models.weights_header import hash_file, is_third_party

if TYPE_CHECKING:
    import torch
    from torch import nn

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
    if is_third_party_file(model):
        _refuse_perception(str(model), perception)
        path = Path(str(model))
        third_party = _load_third_party_upscaler(path, hash_file(path), device, precision)
        check_model_scale(path.stem, third_party.info.scale, scale)
        return MemoryBoundedUpscaler(third_party.copy_for_run())
    chosen = resolve_model(model, scale, mpp)
    if chosen is None:
        _refuse_perception(str(model), perception)
        if device not in ("auto", "cpu"):
            raise DeviceNotFoundError(f"{model} runs on the CPU only, not on {device}; leave --device out")
        return Resampling("bicubic" if model == "bicubic" else "lanczos", scale)
    variant = read_gan_variant(chosen) if perception else None
    blend = Blend(variant.name, perception, hash_file(variant.path)) if variant else None
    weights = Weights(chosen.spec, hash_file(chosen.path), blend)
    upscaler = _load_torch_upscaler(chosen, weights, device, precision, perception)
    return MemoryBoundedUpscaler(upscaler.copy_for_run())


@lru_cache(maxsize=1)
def _load_torch_upscaler(
    model: Model, weights: Weights, device: str, precision: str, perception: float
) -> TorchUpscaler:
    """Load a network, blended with its GAN variant if `perception` is above 0, as an upscaler."""
    with pause_garbage_collection():  # torch takes seconds to import
        from wsisr.models.backends.device import select_device, select_precision  # noqa: PLC0415
        from wsisr.models.backends.torch import TorchUpscaler  # noqa: PLC0415
        from wsisr.models.weights import load_blended_network  # noqa: PLC0415

    torch_device = select_device(device)
    if perception:
        _, network = load_blended_network(model.path, read_gan_variant(model).path, perception)
    else:
        network = _load_network(model.path, weights.sha256, torch_device)
    return TorchUpscaler(model.name, network, torch_device, select_precision(precision, torch_device), weights)


@lru_cache(maxsize=1)
def _load_network(path: Path, _digest: str, device: torch.device) -> nn.Module:
    """Load a network onto a device. Nobody changes its weights, so that upscaler and classifier can share it."""
    from wsisr.models.weights import load_network  # noqa: PLC0415

    _, network = load_network(path)
    return network.to(device)


def is_third_party_file(model: str | Path | None) -> bool:
    path = Path(model or "")
    return path.suffix == ".safetensors" and path.is_file() and is_third_party(path)


@lru_cache(maxsize=1)
def _load_third_party_upscaler(path: Path, digest: str, device: str, precision: str) -> TorchUpscaler:
    """Load and probe a third-party network, which takes a while."""
    from wsisr.models.backends.device import select_device, select_precision  # noqa: PLC0415
    from wsisr.models.backends.spandrel import load_third_party_network  # noqa: PLC0415 - an extra
    from wsisr.models.backends.torch import TorchUpscaler  # noqa: PLC0415

    torch_device, network = select_device(device), load_third_party_network(path)
    warnings, torch_precision = (network.probed.describe(path.stem),), select_precision(precision, torch_device)
    return TorchUpscaler(path.stem, network, torch_device, torch_precision, Weights(None, digest), warnings)


def load_magnification_classifier(
    model: str | Path | None = None, *, scale: int, device: str = "auto", mpp: float | None = None
) -> MagnificationClassifier | None:
    """Load the magnification classifier of a model, chosen as by `load_upscaler`; None if the model has none.

    It computes in fp32, with the model's own weights whatever the perception. An upscaler with perception 0 on the same
    device shares its network.
    """
    if model is not None and (Path(model).suffix.lower() == ".onnx" or is_third_party_file(model)):
        return None
    chosen = resolve_model(model, scale, mpp)
    if chosen is None or chosen.spec.family != CLASSIFYING_FAMILY:
        return None
    from wsisr.models.architectures.mmsrnet import MMSRNet  # noqa: PLC0415
    from wsisr.models.backends.classifier import TorchMagnificationClassifier  # noqa: PLC0415
    from wsisr.models.backends.device import select_device  # noqa: PLC0415

    torch_device = select_device(device)
    network = _load_network(chosen.path, hash_file(chosen.path), torch_device)
    assert isinstance(network, MMSRNet)
    return TorchMagnificationClassifier(network, torch_device)


def _refuse_perception(model: str, perception: float) -> None:
    if perception:
        raise OptionError(f"{model} has no GAN variant; leave it out", option="--perception")


def _load_onnx_file(path: Path, scale: int, device: str, precision: str) -> Upscaler:
    try:
        from wsisr.models.backends.onnx_file import read_onnx  # noqa: PLC0415 - an extra
        from wsisr.models.backends.out_of_memory import MemoryBoundedUpscaler  # noqa: PLC0415

        file = read_onnx(path)
        if precision != "auto":
            raise DeviceNotFoundError(f"{path}: an ONNX file has its own precision, not {precision}; leave it out")
        upscaler = _load_onnx_upscaler(file, device, sha256(file.content).hexdigest())
    except ModuleNotFoundError as error:
        raise ModelError(f"{path}: {error.name} is missing; install wsisr[cpu] or wsisr[gpu]") from error
    check_model_scale(path.name, upscaler.info.scale, scale)
    return MemoryBoundedUpscaler(upscaler.copy_for_run())


@lru_cache(maxsize=1)
def _load_onnx_upscaler(file: OnnxFile, device: str, digest: str) -> OnnxUpscaler:
    """Start an ONNX Runtime session, which takes a while."""
    from wsisr.models.backends.onnx import OnnxUpscaler  # noqa: PLC0415

    return OnnxUpscaler(file.path.name, file, device, digest)
