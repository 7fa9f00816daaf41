"""Networks in PyTorch as an `Upscaler`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wsisr.errors import DeviceError, ModelError
from wsisr.models.precision import has_bf16
from wsisr.pixels import Tiles


class TorchUpscaler:
    """One network on one device. Arithmetic in bf16 or fp32; the residual is always added in fp32."""

    def __init__(self, name: str, network: nn.Module, device: torch.device, precision: str) -> None:
        self.name = name
        self.scale = int(network.scale)  # type: ignore[arg-type]
        self.context = int(network.context)  # type: ignore[arg-type]
        self.device = device
        self.precision = precision
        self.network = network.to(device)

    @property
    def hardware(self) -> str:
        return f"on {self.device} in {self.precision}"

    @torch.inference_mode()
    def __call__(self, tiles: Tiles) -> Tiles:
        """(n, h, w, 3) sRGB to (n, h*scale, w*scale, 3) sRGB.

        Where bf16 gives values that are not finite, the batch is computed again in fp32.
        Raises `ModelError` where fp32 gives such values too.
        """
        pixels = torch.tensor(tiles).to(self.device)
        x = pixels.permute(0, 3, 1, 2).float().div_(255).contiguous(memory_format=torch.channels_last)
        enlarged = self._run(x, self.precision)
        if not enlarged.isfinite().all():
            enlarged = self._run(x, "fp32")
            if not enlarged.isfinite().all():
                raise ModelError(
                    f"{self.name}: gives values that are no numbers, in fp32 too; the weights are unusable"
                )
        quantised = enlarged.mul_(255).round_().clamp_(0, 255).to(torch.uint8)
        return quantised.permute(0, 2, 3, 1).contiguous().cpu().numpy()

    def _run(self, x: Tensor, precision: str) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=precision == "bf16"):
            enlarged: Tensor = self.network(x)
        return enlarged.float()


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
