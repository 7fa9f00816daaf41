"""Networks in ONNX Runtime as an `Upscaler`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any, Self

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as state

from wsisr.errors import DeviceError, DeviceNotFoundError, ModelError, OutOfMemoryError, describe_error
from wsisr.imaging.pixels import RgbBatch
from wsisr.models.backends.onnx_file import OnnxFile
from wsisr.models.probing import NetworkPlanes, probe_model
from wsisr.models.upscaler import UpscalerInfo, Weights

PROVIDERS = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider",),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider"),
}
"""Execution providers of each device, the wanted one first."""

# They have no common base class but Exception.
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
"""Batch, height, width of the images that test whether a network takes any size."""

UNIT_RANGE = (0.0, 1.0)
"""Values of black and of white in files that wsisr exported."""


class OnnxUpscaler:
    """One ONNX file on one device. The file determines the arithmetic; pixels are fp32."""

    def __init__(self, name: str, file: OnnxFile, device: str, sha256: str) -> None:
        """Raises `ModelError` if the file has no network that enlarges tiles, `DeviceError` if there is no device."""
        self._network = OnnxNetwork(name, file, device)
        self._initial_warnings: tuple[str, ...] = ()
        if file.spec:
            scale, receptive_field, self._value_range = file.spec.scale, file.receptive_field, UNIT_RANGE
        else:
            probed = probe_model(str(file.path), self._network)
            scale, receptive_field, self._value_range = probed.scale, probed.receptive_field, probed.value_range
            self._initial_warnings = (probed.describe(name),)
        provider = self._network.provider
        self.info = UpscalerInfo(
            name,
            scale,
            receptive_field,
            hardware=f"on {provider} in ONNX Runtime",
            on_gpu=provider != "CPU",
            weights=Weights(file.spec, sha256),
            cell_px=file.spec.cell_px if file.spec else 1,
        )
        self.warnings: list[str] = list(self._initial_warnings)
        for shape in PROBE_SHAPES:
            self._enlarge_planes(np.full((*shape, 3), 128, np.uint8))

    def copy_for_run(self) -> Self:
        """Return a copy for another slide: the same session, and only the initial warnings."""
        other = copy(self)
        other.warnings = list(self._initial_warnings)
        return other

    def __call__(self, tiles: RgbBatch) -> RgbBatch:
        """Enlarge (n, h, w, 3) sRGB to (n, h*scale, w*scale, 3) sRGB.

        Raises `ModelError` if the network returns no valid pixels, `OutOfMemoryError` if memory runs out.
        """
        enlarged = self._enlarge_planes(tiles)
        if not np.isfinite(enlarged).all():
            raise ModelError(f"{self.info.name} gives NaN or infinity; export it again without --fp16")
        rounded = np.rint(enlarged).clip(0, 255).astype(np.uint8)
        return np.ascontiguousarray(rounded.transpose(0, 2, 3, 1))

    def _enlarge_planes(self, tiles: RgbBatch) -> NetworkPlanes:
        """Enlarge (n, h, w, 3) to planes (n, 3, h*scale, w*scale) in grey levels. Raises `ModelError` otherwise."""
        black, white = (np.float32(value) for value in self._value_range)
        planes = np.ascontiguousarray(tiles.transpose(0, 3, 1, 2), np.float32) / np.float32(255)
        enlarged = self._network(planes * (white - black) + black)
        count, height, width, _ = tiles.shape
        shape = (count, 3, height * self.info.scale, width * self.info.scale)
        if enlarged.shape != shape:
            raise ModelError(f"{self.info.name} gives {enlarged.shape} where {shape} is due; export it again")
        with np.errstate(over="ignore"):  # infinity is no pixel, which the caller sees
            return (enlarged - black) / (white - black) * np.float32(255)


class OnnxNetwork:
    """A session as a function of planes; a batch goes through one by one if the network takes single images only."""

    def __init__(self, name: str, file: OnnxFile, device: str) -> None:
        self._name = name
        self._session = create_session(file, device)
        self._input, self._dtype, self._takes_one_image = _check_input(file, self._session)

    @property
    def provider(self) -> str:
        return str(self._session.get_providers()[0].removesuffix("ExecutionProvider"))

    def __call__(self, planes: NetworkPlanes) -> NetworkPlanes:
        """Run (n, 3, h, w) in the value range of the network; the result has four axes of unchecked lengths."""
        if self._takes_one_image and len(planes) > 1:
            return np.concatenate([self(planes[number : number + 1]) for number in range(len(planes))])
        with _translate_onnx_errors(self._name, planes.shape):
            enlarged = self._session.run(None, {self._input: np.ascontiguousarray(planes, self._dtype)})[0]
        if not isinstance(enlarged, np.ndarray) or enlarged.dtype != self._dtype or enlarged.ndim != 4:
            actual = f"{getattr(enlarged, 'dtype', '?')} {getattr(enlarged, 'shape', '?')}"
            raise ModelError(f"{self._name} gives {actual} where pixels in {self._dtype} are due; export it again")
        return enlarged.astype(np.float32, copy=False)


def create_session(file: OnnxFile, device: str) -> Any:
    """Start a session on a device: auto, cpu, cuda[:NUMBER] or tensorrt[:NUMBER]; auto is CUDA where it works.

    Raises `DeviceError` rather than computing on another device, `ModelError` if ONNX Runtime cannot run the file.
    """
    wanted = select_providers(device)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised, too
    if device not in ("auto", "cpu"):
        # Without this, ONNX Runtime computes on the CPU if CUDA does not work, and says nothing.
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    options.add_session_config_entry("session.load_model_format", "ONNX")  # it has one of its own, which is not checked
    try:
        session = _start_session(file, options, wanted, may_fall_back=device == "auto")
    except ONNX_RUNTIME_ERRORS as error:
        where = "" if device in ("auto", "cpu") else f" on {device}"
        raise ModelError(f"{file.path}: ONNX Runtime cannot run it{where}: {describe_error(error)}") from error
    if device != "auto" and session.get_providers()[0] != wanted[0][0]:
        actual = session.get_providers()[0]
        raise DeviceError(f"ONNX Runtime computes on {actual} instead of {device}; choose another --device")
    return session


def _start_session(
    file: OnnxFile, options: Any, providers: list[tuple[str, dict[str, int]]], *, may_fall_back: bool = False
) -> Any:
    """Start a session with the first providers that work: a driver may be missing. ONNX Runtime would print that."""
    try:
        with _refuse_names_without_text(file):
            return onnxruntime.InferenceSession(
                file.content, options, providers=providers, enable_fallback=0, read_config_from_model=0
            )
    except RuntimeError:
        if not may_fall_back or len(providers) < 2:
            raise
        return _start_session(file, options, providers[-1:])


@contextmanager
def _refuse_names_without_text(file: OnnxFile) -> Iterator[None]:
    """Context: names in the file that are not UTF-8, which the error would repeat, raise `ModelError`."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise ModelError(f"{file.path}: holds names that are no text; export it again") from error


def select_providers(device: str) -> list[tuple[str, dict[str, int]]]:
    """Return the execution providers for a device, with their options. Raises `DeviceError` if there are none."""
    kind, _, number = device.partition(":")
    present = onnxruntime.get_available_providers()
    if device == "auto":
        return [(name, {}) for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in present]
    if kind not in PROVIDERS or (number and (kind == "cpu" or not number.isdecimal())):
        raise DeviceNotFoundError(
            f"{device!r} is not a device of ONNX Runtime; choose auto, cpu, cuda[:N] or tensorrt[:N]"
        )
    if PROVIDERS[kind][0] not in present:
        raise DeviceNotFoundError(
            f"this ONNX Runtime is built without {device}; install onnxruntime-gpu, or try --device cpu"
        )
    return [(name, {"device_id": int(number)} if number else {}) for name in PROVIDERS[kind]]


def _check_input(file: OnnxFile, session: Any) -> tuple[str, np.dtype[Any], bool]:
    """Return the name and the type of the input, and whether it takes only one image at a time.

    Raises `ModelError` unless the input is one array of float pixels of any size.
    """
    with _refuse_names_without_text(file):
        inputs, outputs = session.get_inputs(), session.get_outputs()
        dtype = ONNX_DTYPES.get(inputs[0].type) if len(inputs) == len(outputs) == 1 else None
        name, shape = (str(inputs[0].name), list(inputs[0].shape)) if dtype is not None else ("", [])
    if dtype is None or len(shape) != 4:
        raise ModelError(f"{file.path}: takes something else than float pixels (n, 3, h, w); export it again")
    batch, channels, height, width = shape
    if (
        channels != 3
        or any(isinstance(side, int) for side in (height, width))
        or (isinstance(batch, int) and batch != 1)
    ):
        raise ModelError(f"{file.path}: takes pixels of one size only, {shape}; export it again")
    return name, dtype, batch == 1


@contextmanager
def _translate_onnx_errors(name: str, shape: tuple[int, ...]) -> Iterator[None]:
    """Context: raise `OutOfMemoryError` or `ModelError` for ONNX Runtime's errors."""
    try:
        yield
    except (*ONNX_RUNTIME_ERRORS, MemoryError) as error:
        message = str(error).lower()
        tiles = f"{shape[0]} tiles of {shape[3]} x {shape[2]} px"
        if isinstance(error, MemoryError) or "alloc" in message or "out of memory" in message:
            raise OutOfMemoryError(f"out of memory in ONNX Runtime with {tiles}") from error
        raise ModelError(f"{name}: ONNX Runtime failed on {tiles}: {describe_error(error)}") from error
