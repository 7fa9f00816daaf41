"""Copy pixels to a device and back, beside the computation.

A GPU copies and computes at the same time only in different CUDA streams, and only from and to pinned memory. So each
thread that calls a network has its own stream: the pixels of one thread are copied while those of another are computed.
On a CPU, nothing is copied.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from wsisr.imaging.pixels import RgbBatch


class Transfer:
    """Copies to one device and back, as uint8 in both directions."""

    def __init__(self, device: torch.device) -> None:
        self.device, self._is_gpu = device, device.type == "cuda"
        self._thread_local = threading.local()

    @property
    def stream(self) -> AbstractContextManager[object]:
        """Context: CUDA work issued inside runs on this thread's own stream."""
        if not self._is_gpu:
            return nullcontext()
        if not hasattr(self._thread_local, "stream"):
            self._thread_local.stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        context: AbstractContextManager[object] = torch.cuda.stream(self._thread_local.stream)
        return context

    def to_device(self, tiles: RgbBatch) -> Tensor:
        """Start to copy (n, h, w, 3) to the device; work issued later on the same stream waits for it."""
        pixels = torch.empty(tiles.shape, dtype=torch.uint8, pin_memory=self._is_gpu)
        pixels.numpy()[:] = tiles
        return pixels.to(self.device, non_blocking=True)

    def to_host(self, pixels: Tensor) -> RgbBatch:
        """Copy (n, h, w, 3) uint8 to host memory and wait for it."""
        if self._is_gpu:
            pinned = torch.empty_like(pixels, device="cpu", pin_memory=True)
            pixels = pinned.copy_(pixels, non_blocking=True)
            torch.cuda.current_stream(self.device).synchronize()
        tiles: RgbBatch = pixels.cpu().numpy()
        return tiles
