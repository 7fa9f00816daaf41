"""Export a network as one ONNX file, and measure how far its pixels are from PyTorch's."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from wsisr.errors import ModelError
from wsisr.files import check_output, write_atomically
from wsisr.models.backends.onnx_file import RECEPTIVE_FIELD_KEY, WEIGHTS_KEY, OnnxFile
from wsisr.models.catalog import Model
from wsisr.models.weights import load_network
from wsisr.models.weights_header import SPEC_KEY, hash_file

COMPARED_SHAPES = ((1, 64, 64), (1, 37, 101), (2, 50, 32), (1, 150, 40), (1, 1, 7))
"""Batch, height, width of the noise images on which both are compared."""

MAX_DIFFERENCE = 1.0
"""Grey levels by which any value of an fp32 file may differ."""

MAX_DIFFERENCE_FP16 = 2.0
"""The same in half precision. mmsrnet-x2 differs by 0.09, mmsrnet-x4 by 0.16, masrgan-x4 by 0.24."""


@dataclass(frozen=True, slots=True)
class Parity:
    """Differences between ONNX Runtime and PyTorch in fp32 on noise of one size, in grey levels before rounding."""

    count: int
    height: int
    width: int
    largest: float
    mean: float


def export_onnx(model: Model, output: Path, *, half: bool = False, overwrite: bool = False) -> list[Parity]:
    """Write a model as an ONNX file that takes any batch and size; `half` computes all but the bicubic base in fp16.

    Raises `ModelError` if packages are missing or the pixels differ too much from PyTorch's; no file is left then.
    Raises `OutputError` if the file cannot be written.
    """
    check_output(output, overwrite=overwrite)
    spec, network = load_network(model.path)
    receptive_field = int(network.receptive_field)  # type: ignore[arg-type]
    digest = hash_file(model.path)
    metadata = {SPEC_KEY: spec.to_json(), RECEPTIVE_FIELD_KEY: str(receptive_field), WEIGHTS_KEY: digest}
    content = _convert_to_onnx(load_network(model.path)[1], metadata, half)
    comparisons = measure_parity(OnnxFile(output, content, spec, receptive_field), network)
    worst = max(comparison.largest for comparison in comparisons)
    if not worst <= (MAX_DIFFERENCE_FP16 if half else MAX_DIFFERENCE):
        raise ModelError(
            f"{model.name}: its ONNX file differs by {worst:.3g} grey levels from PyTorch; nothing is written"
        )
    write_atomically(output, [content], overwrite=overwrite)
    return comparisons


@torch.inference_mode()
def measure_parity(file: OnnxFile, network: nn.Module) -> list[Parity]:
    """Compare an ONNX file with the network that it was exported from, on the CPU and for several sizes."""
    from wsisr.models.backends.onnx import create_session  # noqa: PLC0415 - an extra

    session, comparisons = create_session(file, "cpu"), []
    for count, height, width in COMPARED_SHAPES:
        pixels = np.random.default_rng(height).random((count, 3, height, width), np.float32)
        enlarged = session.run(None, {session.get_inputs()[0].name: pixels})[0]
        difference = 255 * np.abs(enlarged - network(torch.from_numpy(pixels)).numpy())
        comparisons.append(Parity(count, height, width, float(difference.max()), float(difference.mean())))
    return comparisons


def _convert_to_onnx(network: nn.Module, metadata: dict[str, str], half: bool) -> bytes:
    """Convert a network to ONNX, its parameters to fp16 if `half`; the bicubic base has none and stays fp32."""
    if half:
        for parameter in network.parameters():
            parameter.data = parameter.data.half()
    sides = {axis: torch.export.Dim(name, min=1, max=1 << 16) for axis, name in ((0, "n"), (2, "h"), (3, "w"))}
    with _silence_exporter():
        program = torch.onnx.export(
            network,
            (torch.zeros(2, 3, 40, 44),),
            input_names=["pixels"],
            output_names=["enlarged"],
            dynamic_shapes=(sides,),
            dynamo=True,
            external_data=False,  # torch 2.13 writes the weights to a second file by default
            verbose=False,
        )
    assert program is not None
    for key, value in metadata.items():
        program.model.metadata_props[key] = value
    content: bytes = program.model_proto.SerializeToString()
    return content


_FOLDING_LOG = logging.getLogger("onnxscript.optimizer._constant_folding")
"""Logs each operation with several outputs that it rightly does not fold."""


def _is_worth_reading(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Skipping constant folding")


@contextmanager
def _silence_exporter() -> Iterator[None]:
    """Context: hide the exporter's warnings of packages that it does not need, and of its own deprecations."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    _FOLDING_LOG.addFilter(_is_worth_reading)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
        _FOLDING_LOG.removeFilter(_is_worth_reading)
