"""How pixels cross to a device and back.

A GPU copies and computes at once if it is told to in streams of their own, and if what it copies stays where it is in
memory. So each thread that has a network enlarge its tiles has its own stream: while the pixels of one cross the bus,
the arithmetic of the other goes on. On a CPU there is nothing to cross.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from wsisr.imaging.pixels import RgbBatch


class Transfer:
    """To one device and back; eight bits a colour in both directions."""

    def __init__(self, device: torch.device) -> None:
        self.device, self._is_gpu = device, device.type == "cuda"
        self._thread_local = threading.local()

    @property
    def stream(self) -> AbstractContextManager[object]:
        """What the device is told within it, waits only for what the same thread told it before."""
        if not self._is_gpu:
            return nullcontext()
        if not hasattr(self._thread_local, "stream"):
            self._thread_local.stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        lane: AbstractContextManager[object] = torch.cuda.stream(self._thread_local.stream)
        return lane

    def to_device(self, tiles: RgbBatch) -> Tensor:
        """(n, h, w, 3) uint8 on the device. It may still be on its way, which is all the same to the device."""
        pixels = torch.empty(tiles.shape, dtype=torch.uint8, pin_memory=self._is_gpu)
        pixels.numpy()[:] = tiles
        return pixels.to(self.device, non_blocking=True)

    def to_host(self, pixels: Tensor) -> RgbBatch:
        """The same, once it has arrived."""
        if self._is_gpu:
            arriving = torch.empty_like(pixels, device="cpu", pin_memory=True)
            pixels = arriving.copy_(pixels, non_blocking=True)
            torch.cuda.current_stream(self.device).synchronize()
        arrived: RgbBatch = pixels.cpu().numpy()
        return arrived
