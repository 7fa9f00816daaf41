"""Networks in PyTorch as an `Upscaler`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Self

import torch
from torch import Tensor, nn

from wsisr.errors import DeviceError, ModelError, OutOfMemoryError, describe_error
from wsisr.imaging.pixels import RgbBatch
from wsisr.models.backends.transfer import Transfer
from wsisr.models.upscaler import UpscalerInfo, Weights

TORCH_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Data type of each precision, used under autocast; pixels and what the network adds to them stay fp32."""

_NOT_LOCAL = "{} averages over whole tiles, so its result depends on how the slide is cut; choose another model"


class TorchUpscaler:
    """One network on one device."""

    def __init__(
        self,
        name: str,
        network: nn.Module,
        device: torch.device,
        precision: str,
        weights: Weights | None = None,
        initial_warnings: Sequence[str] = (),
    ) -> None:
        """Move the network to the device. `initial_warnings` concern every result of this network."""
        self.info = UpscalerInfo(
            name,
            scale=int(network.scale),  # type: ignore[arg-type]
            receptive_field=int(network.receptive_field),  # type: ignore[arg-type]
            # Without the number of the GPU: a run may be resumed on another one.
            hardware=f"on {device.type} in {precision}",
            on_gpu=device.type != "cpu",
            weights=weights,
            cell_px=int(getattr(network, "cell_px", 1)),
        )
        self._initial_warnings = (*initial_warnings, *([] if network.is_local else [_NOT_LOCAL.format(name)]))
        self.warnings: list[str] = list(self._initial_warnings)
        self.device = device
        self.precision = precision
        self.network = network.to(device)
        self._memory_format = _fastest_memory_format(network, device)
        self._transfer = Transfer(device)

    def copy_for_run(self) -> Self:
        """Return a copy for another slide: the same network, and only the initial warnings."""
        other = copy(self)
        other.warnings = list(self._initial_warnings)
        return other

    @torch.inference_mode()
    def __call__(self, tiles: RgbBatch) -> RgbBatch:
        """Enlarge (n, h, w, 3) sRGB to (n, h*scale, w*scale, 3) sRGB.

        Tiles that give NaN or infinity in half precision are computed again in fp32, with a warning. Raises
        `ModelError` if fp32 gives them too, `OutOfMemoryError` if memory runs out, `DeviceError` if a GPU is lost.
        """
        with _translate_torch_errors(self.device, tiles), self._transfer.stream:
            pixels = self._transfer.to_device(tiles).permute(0, 3, 1, 2).float().div_(255)
            enlarged = self._enlarge_planes(pixels.contiguous(memory_format=self._memory_format))
            rounded = enlarged.mul_(255).round_().clamp_(0, 255).to(torch.uint8)
            return self._transfer.to_host(rounded.permute(0, 2, 3, 1).contiguous())

    def _enlarge_planes(self, x: Tensor) -> Tensor:
        """Enlarge (n, 3, h, w) to (n, 3, h*scale, w*scale), all values finite."""
        for precision in dict.fromkeys((self.precision, "fp32")):
            enlarged = self._run_network(x, precision)
            if _are_finite(enlarged):
                return enlarged
            if precision != "fp32":
                name = self.info.name
                self._warn(f"{name} gave NaN or infinity for some tiles in {precision}; they were computed in fp32")
        raise ModelError(f"{self.info.name} gives NaN or infinity in fp32; choose other weights")

    def _run_network(self, x: Tensor, precision: str) -> Tensor:
        """Enlarge (n, 3, h, w) to (n, 3, h*scale, w*scale) in one precision; not clipped to [0, 1]."""
        with torch.autocast(self.device.type, TORCH_DTYPES[precision], enabled=precision != "fp32"):
            enlarged: Tensor = self.network(x)
        return enlarged.float()

    def _warn(self, sentence: str) -> None:
        if sentence not in self.warnings:
            self.warnings.append(sentence)


def _are_finite(values: Tensor) -> bool:
    """Return whether all values are finite, in one pass: `aminmax` returns NaN if any value is NaN."""
    smallest, largest = values.aminmax()
    return bool(smallest.isfinite() & largest.isfinite())


def _fastest_memory_format(network: nn.Module, device: torch.device) -> torch.memory_format:
    """Return the memory format in which a network is fastest: channels last, except depthwise convolutions on a GPU.

    Measured on an H200 in bf16 (`tests.bench gpu`): mix-attention, which has depthwise convolutions, is 1.4 times as
    fast with contiguous planes; without attention, channels last is 1.4 times as fast.
    """
    is_depthwise = any(isinstance(layer, nn.Conv2d) and layer.groups > 1 for layer in network.modules())
    return torch.contiguous_format if is_depthwise and device.type != "cpu" else torch.channels_last


@contextmanager
def _translate_torch_errors(device: torch.device, tiles: RgbBatch) -> Iterator[None]:
    """Context: raise `OutOfMemoryError` or `DeviceError` for torch's errors that mean that; others pass."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if _is_out_of_memory(error):
            if device.type == "cuda":
                torch.cuda.empty_cache()  # frees cached blocks that are too small for the next try
            count, height, width, _ = tiles.shape
            raise OutOfMemoryError(f"out of memory on {device} with {count} tiles of {width} x {height} px") from error
        if not any(name in str(error) for name in _GPU_LIBRARIES):
            raise
        advice = "check it with nvidia-smi; the same command goes on from what is finished"
        raise DeviceError(f"{device} stopped working ({describe_error(error)}); {advice}") from error


_GPU_LIBRARIES = ("CUDA error", "cuDNN error", "CUDNN_STATUS", "CUBLAS_STATUS")
"""Words in the errors of a lost GPU or its driver; torch has no common type for them."""


def _is_out_of_memory(error: Exception) -> bool:
    """Return whether an error means that memory ran out.

    Torch's type for it is raised for GPUs only. A CPU gives a `RuntimeError`, whose text differs in convolutions, which
    oneDNN computes ("could not create a primitive").
    """
    phrases = "allocate memory", "create a primitive", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED"
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(phrase in str(error) for phrase in phrases)
