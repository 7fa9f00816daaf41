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
"""Arithmetic by its name; pixels and what is added to them are fp32 in each."""

_NOT_LOCAL = "{} averages over whole tiles, so its result depends on how the slide is cut; take another model"


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
        """`found` is what the reader of every result must know of the network."""
        self.info = UpscalerInfo(
            name,
            scale=int(network.scale),  # type: ignore[arg-type]
            receptive_field=int(network.context),  # type: ignore[arg-type]
            # Without the number of the GPU: a run may be resumed on another one of the same machine.
            hardware=f"on {device.type} in {precision}",
            on_gpu=device.type != "cpu",
            weights=weights,
        )
        self._initial_warnings = (*initial_warnings, *([] if network.local else [_NOT_LOCAL.format(name)]))
        self.warnings: list[str] = list(self._initial_warnings)
        self.device = device
        self.precision = precision
        self.network = network.to(device)
        self._memory_format = _fastest_memory_format(network, device)
        self._transfer = Transfer(device)

    def copy_for_run(self) -> Self:
        """The same network with nothing remarked but what is known of it from the start: for another slide."""
        other = copy(self)
        other.warnings = list(self._initial_warnings)
        return other

    @torch.inference_mode()
    def __call__(self, tiles: RgbBatch) -> RgbBatch:
        """(n, h, w, 3) sRGB to (n, h*scale, w*scale, 3) sRGB.

        What has no numbers in half precision is computed again in fp32, and said. Raises `ModelError` where it has
        none there either, `OutOfMemoryError` where memory ends, `DeviceError` where a GPU is lost.
        """
        with _translate_torch_errors(self.device, tiles), self._transfer.stream:
            pixels = self._transfer.to_device(tiles).permute(0, 3, 1, 2).float().div_(255)
            enlarged = self._enlarge_planes(pixels.contiguous(memory_format=self._memory_format))
            quantised = enlarged.mul_(255).round_().clamp_(0, 255).to(torch.uint8)
            return self._transfer.to_host(quantised.permute(0, 2, 3, 1).contiguous())

    def _enlarge_planes(self, x: Tensor) -> Tensor:
        for precision in dict.fromkeys((self.precision, "fp32")):
            enlarged = self._run_network(x, precision)
            if _are_finite(enlarged):
                return enlarged
            if precision != "fp32":
                name = self.info.name
                self._warn(f"{name} gave no numbers for some tiles in {precision}; they were computed in fp32")
        raise ModelError(f"{self.info.name} gives values that are no numbers in fp32; choose other weights")

    def _run_network(self, x: Tensor, precision: str) -> Tensor:
        """(n, 3, h, w) to (n, 3, h*scale, w*scale), in [0, 1] but for what goes beyond black and white."""
        with torch.autocast(self.device.type, TORCH_DTYPES[precision], enabled=precision != "fp32"):
            enlarged: Tensor = self.network(x)
        return enlarged.float()

    def _warn(self, sentence: str) -> None:
        if sentence not in self.warnings:
            self.warnings.append(sentence)


def _are_finite(values: Tensor) -> bool:
    """Whether all are finite: the extremes tell, in one pass, for NaN is both of them."""
    least, most = values.aminmax()
    return bool(least.isfinite() & most.isfinite())


def _fastest_memory_format(network: nn.Module, device: torch.device) -> torch.memory_format:
    """How pixels lie in memory where the network is fastest: channels last, but for depthwise convolutions on a GPU.

    Measured on an H200 in bf16 (`tests.bench gpu`): mix-attention, which has those, is 1.4 times as fast in planes;
    without attention, channels last are 1.4 times as fast.
    """
    depthwise = any(isinstance(layer, nn.Conv2d) and layer.groups > 1 for layer in network.modules())
    return torch.contiguous_format if depthwise and device.type != "cpu" else torch.channels_last


@contextmanager
def _translate_torch_errors(device: torch.device, tiles: RgbBatch) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if _is_out_of_memory(error):
            if device.type == "cuda":
                torch.cuda.empty_cache()  # what lies in blocks of the wrong size is free again
            count, height, width, _ = tiles.shape
            raise OutOfMemoryError(f"out of memory on {device} with {count} tiles of {width} x {height} px") from error
        if not any(name in str(error) for name in _GPU_LIBRARIES):
            raise
        what_now = "look at it with nvidia-smi; the same command goes on from what is finished"
        raise DeviceError(f"{device} stopped working ({describe_error(error)}); {what_now}") from error


_GPU_LIBRARIES = ("CUDA error", "cuDNN error", "CUDNN_STATUS", "CUBLAS_STATUS")
"""How errors of a GPU that is lost, or of its driver, begin; torch has no one type for them."""


def _is_out_of_memory(error: Exception) -> bool:
    """torch has no type of its own for a CPU that is out of memory; its convolutions, by oneDNN, say something else."""
    memory = "allocate memory", "create a primitive", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED"
    typed = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return typed or any(words in str(error) for words in memory)
