"""CUDA graphs: the training step is recorded once and replayed with a single launch.

Launched kernel by kernel, a step of networks of this size takes a GPU's host several times as long as the GPU needs to
compute it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from wsisr.errors import DeviceError
from wsisr.training.config import TrainConfig

StepFunction: TypeAlias = Callable[..., dict[str, Tensor]]
"""A part of the training step: takes tensors on the device, or None, and returns named ones."""

WARM_UP_CALLS = 3
"""Calls before a function is recorded. Libraries choose algorithms and allocate workspaces in the first ones."""


def find_cuda_graph_obstacle(config: TrainConfig, device: torch.device, processes: int) -> str | None:
    """Return why the steps of a run cannot be recorded, or None if they can."""
    if device.type != "cuda":
        return f"the device is {device.type}, not a CUDA GPU"
    if processes > 1:
        return f"the run has {processes} processes"
    if config.loss.adversarial:
        return "the loss adversarial has a weight"
    if config.schedule.accumulate > 1:
        return "accumulate is above 1"
    return None


class GraphedCall:
    """Calls a function a few times as it is, then records it as a CUDA graph and replays that.

    The recorded calls read their inputs from, and write their outputs to, the same memory each time: outputs are valid
    until the next call. All else that the function reads or changes must stay where it is in memory.
    """

    def __init__(self, function: StepFunction) -> None:
        self._function = function
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, *inputs: Tensor | None) -> dict[str, Tensor]:
        """Raises `DeviceError` if the function does something that cannot be recorded."""
        self._calls += 1
        if self._calls <= WARM_UP_CALLS:
            return self._warm_up(inputs)
        if self._graph is None:
            self._buffers = [None if value is None else value.clone() for value in inputs]
            self._graph, self._outputs = self._capture()
        for buffer, value in zip(self._buffers, inputs, strict=True):
            if buffer is not None and value is not None:
                buffer.copy_(value)
        self._graph.replay()
        return self._outputs

    def _warm_up(self, inputs: tuple[Tensor | None, ...]) -> dict[str, Tensor]:
        """Call the function on a stream of its own, as torch asks for before a capture."""
        current, side = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(current)
        with torch.cuda.stream(side), warnings.catch_warnings():
            # A capturable optimiser warns when it is not being captured.
            warnings.filterwarnings("ignore", message=".*capturable=True.*")
            outputs = self._function(*inputs)
        current.wait_stream(side)
        return outputs

    def _capture(self) -> tuple[torch.cuda.CUDAGraph, dict[str, Tensor]]:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                outputs = self._function(*self._buffers)
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            raise DeviceError(
                f"the training step cannot be recorded as a CUDA graph ({reason}); set cuda_graphs = false"
            ) from error
        return graph, outputs
