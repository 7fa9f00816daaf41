"""Networks in PyTorch as an `Upscaler`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from wsisr.errors import DeviceError, ModelError
from wsisr.pixels import Tiles
from wsisr.upscaler import Weights


class TorchUpscaler:
    """One network on one device. Arithmetic in bf16 or fp32; the residual is always added in fp32."""

    def __init__(self, name: str, network: nn.Module, device: torch.device, precision: str) -> None:
        self.name = name
        self.scale = int(network.scale)  # type: ignore[arg-type]
        self.context = int(network.context)  # type: ignore[arg-type]
        self.weights: Weights | None = None
        self.device = device
        self.precision = precision
        self.network = network.to(device)

    @property
    def hardware(self) -> str:
        return f"on {self.device} in {self.precision}"

    @torch.inference_mode()
    def __call__(self, tiles: Tiles) -> Tiles:
        """(n, h, w, 3) sRGB to (n, h*scale, w*scale, 3) sRGB.

        Raises `ModelError` where the network gives values that are not finite, `DeviceError` where memory ends.
        """
        with _memory_errors(tiles):
            pixels = torch.tensor(tiles).to(self.device)
            x = pixels.permute(0, 3, 1, 2).float().div_(255).contiguous(memory_format=torch.channels_last)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
                enlarged = self.network(x).float()
            if not enlarged.isfinite().all():
                raise ModelError(f"{self.name}: gives values that are no numbers in {self.precision}; {self._advice}")
            quantised = enlarged.mul_(255).round_().clamp_(0, 255).to(torch.uint8)
            pixels_out: Tiles = quantised.permute(0, 2, 3, 1).contiguous().cpu().numpy()
            return pixels_out

    @property
    def _advice(self) -> str:
        return "the weights are unusable" if self.precision == "fp32" else "try --precision fp32"


@contextmanager
def _memory_errors(tiles: Tiles) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch has no type of its own for a CPU that is out of memory
        if not isinstance(error, torch.OutOfMemoryError | MemoryError) and "allocate memory" not in str(error):
            raise
        count, height, width, _ = tiles.shape
        where = f"{count} tiles of {width} x {height} px"
        raise DeviceError(f"out of memory with {where}; choose a smaller --tile-px or --batch") from error
