"""Networks in ONNX Runtime as an `Upscaler`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any, Self

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as state

from wsisr.errors import DeviceError, ModelError, OutOfMemoryError, describe_error
from wsisr.imaging.pixels import RgbBatch
from wsisr.models.backends.onnx_file import OnnxFile
from wsisr.models.probing import NetworkPlanes, probe_model
from wsisr.models.upscaler import UpscalerInfo, Weights

PROVIDERS = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider",),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider"),
}
"""What a device is called in ONNX Runtime, the wanted one first."""

# Each derives from Exception directly.
ONNX_RUNTIME_ERRORS = (
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

ONNX_DTYPES: dict[str, np.dtype[Any]] = {"tensor(float)": np.dtype(np.float32), "tensor(float16)": np.dtype(np.float16)}

PROBE_SHAPES = ((1, 24, 17), (2, 9, 31))
"""Batch, height, width of the images that show whether a network takes any size."""

UNIT_RANGE = (0.0, 1.0)
"""Values of black and of white."""


class OnnxUpscaler:
    """One file on one device; its own arithmetic, pixels in fp32."""

    def __init__(self, name: str, file: OnnxFile, device: str, sha256: str) -> None:
        """Raises `ModelError` where the file holds no network of that kind, `DeviceError` where the device is not."""
        self._network = OnnxNetwork(name, file, device)
        self._initial_warnings: tuple[str, ...] = ()
        if file.spec:
            scale, receptive_field, self._value_range = file.spec.scale, file.receptive_field, UNIT_RANGE
        else:
            nature = probe_model(str(file.path), self._network)
            scale, receptive_field, self._value_range = nature.scale, nature.receptive_field, nature.value_range
            self._initial_warnings = (nature.describe(name),)
        provider = self._network.provider
        self.info = UpscalerInfo(
            name,
            scale,
            receptive_field,
            hardware=f"on {provider} in ONNX Runtime",
            on_gpu=provider != "CPU",
            weights=Weights(file.spec, sha256),
        )
        self.warnings: list[str] = list(self._initial_warnings)
        for shape in PROBE_SHAPES:
            self._enlarge_planes(np.full((*shape, 3), 128, np.uint8))

    def copy_for_run(self) -> Self:
        """The same network with nothing remarked but what was found out at the start: for another slide."""
        other = copy(self)
        other.warnings = list(self._initial_warnings)
        return other

    def __call__(self, tiles: RgbBatch) -> RgbBatch:
        """(n, h, w, 3) sRGB to (n, h*scale, w*scale, 3) sRGB.

        Raises `ModelError` where the network gives no pixels, `OutOfMemoryError` where memory ends.
        """
        enlarged = self._enlarge_planes(tiles)
        if not np.isfinite(enlarged).all():
            raise ModelError(f"{self.info.name} gives values that are no numbers; export it again without --fp16")
        quantised = np.rint(enlarged).clip(0, 255).astype(np.uint8)
        return np.ascontiguousarray(quantised.transpose(0, 2, 3, 1))

    def _enlarge_planes(self, tiles: RgbBatch) -> NetworkPlanes:
        """The network's answer in grey levels, which must be enlarged pixels."""
        black, white = (np.float32(value) for value in self._value_range)
        planes = np.ascontiguousarray(tiles.transpose(0, 3, 1, 2), np.float32) / np.float32(255)
        enlarged = self._network(planes * (white - black) + black)
        count, height, width, _ = tiles.shape
        shape = (count, 3, height * self.info.scale, width * self.info.scale)
        if enlarged.shape != shape:
            raise ModelError(f"{self.info.name} gives {enlarged.shape} where {shape} is due; export it again")
        return (enlarged - black) / (white - black) * np.float32(255)


class OnnxNetwork:
    """A session as a function of planes, one by one where it takes no more at a time."""

    def __init__(self, name: str, file: OnnxFile, device: str) -> None:
        self._name = name
        self._session = create_session(file, device)
        self._input, self._dtype, self._takes_one_image = _check_input(file, self._session)

    @property
    def provider(self) -> str:
        return str(self._session.get_providers()[0].removesuffix("ExecutionProvider"))

    def __call__(self, planes: NetworkPlanes) -> NetworkPlanes:
        """(n, 3, h, w) in the values of the network to (n, 3, h*scale, w*scale), as far as it keeps to that."""
        if self._takes_one_image and len(planes) > 1:
            return np.concatenate([self(planes[number : number + 1]) for number in range(len(planes))])
        with _translate_onnx_errors(self._name, planes.shape):
            enlarged = self._session.run(None, {self._input: np.ascontiguousarray(planes, self._dtype)})[0]
        if not isinstance(enlarged, np.ndarray) or enlarged.dtype != self._dtype or enlarged.ndim != 4:
            given = f"{getattr(enlarged, 'dtype', '?')} {getattr(enlarged, 'shape', '?')}"
            raise ModelError(f"{self._name} gives {given} where pixels in {self._dtype} are due; export it again")
        return enlarged.astype(np.float32, copy=False)


def create_session(file: OnnxFile, device: str) -> Any:
    """A file made ready on a device: auto, cpu, cuda[:NUMBER] or tensorrt[:NUMBER]; auto is CUDA where it works.

    Raises `DeviceError` rather than computing elsewhere than asked, `ModelError` where the file cannot be run.
    """
    wanted = _select_providers(device)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what matters is raised
    if device not in ("auto", "cpu"):
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        ready = onnxruntime.InferenceSession(file.content, options, providers=wanted)
    except ONNX_RUNTIME_ERRORS as error:
        where = "" if device in ("auto", "cpu") else f" on {device}"
        raise ModelError(f"{file.path}: ONNX Runtime cannot run it{where}: {describe_error(error)}") from error
    if device != "auto" and ready.get_providers()[0] != wanted[0][0]:
        raise DeviceError(f"{device} was asked for, but ONNX Runtime computes on {ready.get_providers()[0]}")
    return ready


def _select_providers(device: str) -> list[tuple[str, dict[str, int]]]:
    kind, _, number = device.partition(":")
    present = onnxruntime.get_available_providers()
    if device == "auto":
        return [(name, {}) for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in present]
    if kind not in PROVIDERS or (number and (kind == "cpu" or not number.isdecimal())):
        raise DeviceError(f"{device!r} is not a device of ONNX Runtime; choose auto, cpu, cuda[:N] or tensorrt[:N]")
    if PROVIDERS[kind][0] not in present:
        raise DeviceError(f"{device} was asked for, but this ONNX Runtime is built without it; install onnxruntime-gpu")
    return [(name, {"device_id": int(number)} if number else {}) for name in PROVIDERS[kind]]


def _check_input(file: OnnxFile, ready: Any) -> tuple[str, np.dtype[Any], bool]:
    """Name of the input, its type, and whether it takes but one image at a time.

    Raises `ModelError` where that is not one array of float pixels of any size.
    """
    inputs, outputs = ready.get_inputs(), ready.get_outputs()
    dtype = ONNX_DTYPES.get(inputs[0].type) if len(inputs) == len(outputs) == 1 else None
    if dtype is None or len(inputs[0].shape) != 4:
        raise ModelError(f"{file.path}: takes something else than float pixels (n, 3, h, w); export it again")
    batch, colours, height, width = inputs[0].shape
    if (
        colours != 3
        or any(isinstance(side, int) for side in (height, width))
        or (isinstance(batch, int) and batch != 1)
    ):
        raise ModelError(f"{file.path}: takes pixels of one size only, {inputs[0].shape}; export it again")
    return str(inputs[0].name), dtype, batch == 1


@contextmanager
def _translate_onnx_errors(name: str, shape: tuple[int, ...]) -> Iterator[None]:
    try:
        yield
    except (*ONNX_RUNTIME_ERRORS, MemoryError) as error:
        words = str(error).lower()
        where = f"{shape[0]} tiles of {shape[3]} x {shape[2]} px"
        if isinstance(error, MemoryError) or "alloc" in words or "out of memory" in words:
            raise OutOfMemoryError(f"out of memory in ONNX Runtime with {where}") from error
        raise ModelError(f"{name}: ONNX Runtime failed on {where}: {describe_error(error)}") from error
