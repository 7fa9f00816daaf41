"""Networks in ONNX Runtime as an `Upscaler`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as state

from wsisr.errors import DeviceError, ModelError, OutOfMemoryError, in_words
from wsisr.pixels import Tiles
from wsisr.runtime.onnxfile import OnnxFile
from wsisr.upscaler import Weights

PROVIDERS = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider",),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider"),
}
"""What a device is called in ONNX Runtime, the wanted one first."""

# Each derives from Exception directly.
FOREIGN = (
    state.EPFail,
    state.EngineError,
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.NotFound,
    state.NotImplemented,
    state.RuntimeException,
)

PROBES = ((1, 24, 17), (2, 9, 31))
"""Batch, height, width of the images that show whether a network takes any size."""

Planes = npt.NDArray[np.float32]
"""(n, 3, h, w) in [0, 1]."""


class OnnxUpscaler:
    """One file on one device; its own arithmetic, pixels in fp32."""

    def __init__(self, name: str, file: OnnxFile, device: str, weights: Weights) -> None:
        """Raises `ModelError` where the file holds no network of that kind, `DeviceError` where the device is not."""
        self.name = name
        self.scale = file.spec.scale
        self.context = file.context
        self.weights = weights
        self.remarks: list[str] = []
        self._session = session(file, device)
        self._input = _only_input(file, self._session)
        for count, height, width in PROBES:
            self._checked(np.zeros((count, 3, height, width), np.float32))

    @property
    def hardware(self) -> str:
        provider = self._session.get_providers()[0].removesuffix("ExecutionProvider")
        return f"on {provider} in ONNX Runtime"

    def __call__(self, tiles: Tiles) -> Tiles:
        """(n, h, w, 3) sRGB to (n, h*scale, w*scale, 3) sRGB.

        Raises `ModelError` where the network gives no pixels, `OutOfMemoryError` where memory ends.
        """
        planes = np.ascontiguousarray(tiles.transpose(0, 3, 1, 2), np.float32) / np.float32(255)
        enlarged = self._checked(planes)
        if not np.isfinite(enlarged).all():
            raise ModelError(f"{self.name} gives values that are no numbers; export it again without --fp16")
        quantised = np.rint(enlarged * np.float32(255)).clip(0, 255).astype(np.uint8)
        return np.ascontiguousarray(quantised.transpose(0, 2, 3, 1))

    def _checked(self, planes: Planes) -> Planes:
        """The network's answer, which must be enlarged pixels."""
        count, _, height, width = planes.shape
        with _run_errors(self.name, planes.shape):
            enlarged = self._session.run(None, {self._input: planes})[0]
        shape = (count, 3, height * self.scale, width * self.scale)
        if not isinstance(enlarged, np.ndarray) or enlarged.dtype != np.float32 or enlarged.shape != shape:
            given = f"{getattr(enlarged, 'dtype', '?')} {getattr(enlarged, 'shape', '?')}"
            raise ModelError(f"{self.name} gives {given} where float32 {shape} is due; export it again")
        return enlarged


def session(file: OnnxFile, device: str) -> Any:
    """A file made ready on a device: auto, cpu, cuda[:NUMBER] or tensorrt[:NUMBER]; auto is CUDA where it works.

    Raises `DeviceError` rather than computing elsewhere than asked, `ModelError` where the file cannot be run.
    """
    wanted = _providers(device)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what matters is raised
    if device not in ("auto", "cpu"):
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        ready = onnxruntime.InferenceSession(file.content, options, providers=wanted)
    except FOREIGN as error:
        where = "" if device in ("auto", "cpu") else f" on {device}"
        raise ModelError(f"{file.path}: ONNX Runtime cannot run it{where}: {in_words(error)}") from error
    if device != "auto" and ready.get_providers()[0] != wanted[0][0]:
        raise DeviceError(f"{device} was asked for, but ONNX Runtime computes on {ready.get_providers()[0]}")
    return ready


def _providers(device: str) -> list[tuple[str, dict[str, int]]]:
    kind, _, number = device.partition(":")
    present = onnxruntime.get_available_providers()
    if device == "auto":
        return [(name, {}) for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in present]
    if kind not in PROVIDERS or (number and (kind == "cpu" or not number.isdecimal())):
        raise DeviceError(f"{device!r} is not a device of ONNX Runtime; choose auto, cpu, cuda[:N] or tensorrt[:N]")
    if PROVIDERS[kind][0] not in present:
        raise DeviceError(f"{device} was asked for, but this ONNX Runtime is built without it; install onnxruntime-gpu")
    return [(name, {"device_id": int(number)} if number else {}) for name in PROVIDERS[kind]]


def _only_input(file: OnnxFile, ready: Any) -> str:
    """Name of the input. Raises `ModelError` where that is not one array of float pixels of any size."""
    inputs, outputs = ready.get_inputs(), ready.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 4:
        raise ModelError(f"{file.path}: takes something else than float pixels (n, 3, h, w); export it again")
    batch, colours, height, width = inputs[0].shape
    if colours != 3 or any(isinstance(side, int) for side in (batch, height, width)):
        raise ModelError(f"{file.path}: takes pixels of one size only, {inputs[0].shape}; export it again")
    return str(inputs[0].name)


@contextmanager
def _run_errors(name: str, shape: tuple[int, ...]) -> Iterator[None]:
    try:
        yield
    except (*FOREIGN, MemoryError) as error:
        words = str(error).lower()
        where = f"{shape[0]} tiles of {shape[3]} x {shape[2]} px"
        if isinstance(error, MemoryError) or "alloc" in words or "out of memory" in words:
            raise OutOfMemoryError(f"out of memory in ONNX Runtime with {where}") from error
        raise ModelError(f"{name}: ONNX Runtime failed on {where}: {in_words(error)}") from error
