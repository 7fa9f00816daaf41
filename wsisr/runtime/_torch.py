"""Networks in PyTorch as an `Upscaler`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from wsisr.errors import ModelError
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
