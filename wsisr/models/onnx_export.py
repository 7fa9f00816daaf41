"""A network as one ONNX file, and how far its pixels are from PyTorch's."""

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
"""Batch, height, width of the images on which both are compared."""

LARGEST_DIFFERENCE = 1.0
"""Grey levels by which an fp32 file may differ anywhere."""

LARGEST_DIFFERENCE_FP16 = 2.0
"""The same in half precision. mmsrnet-x2 differs by 0.09, mmsrnet-x4 by 0.16, masrgan-x4 by 0.24."""


@dataclass(frozen=True, slots=True)
class Parity:
    """ONNX Runtime against PyTorch in fp32 on noise of one size; differences in grey levels, before rounding."""

    count: int
    height: int
    width: int
    largest: float
    mean: float


def export_onnx(model: Model, output: Path, *, half: bool = False, overwrite: bool = False) -> list[Parity]:
    """Writes a model as ONNX with any batch and size; `half` computes all but the bicubic base in fp16.

    Raises `ModelError` where the packages for it are missing or the file does not do what PyTorch does, and then
    leaves none; `OutputError` where it cannot be written.
    """
    check_output(output, overwrite=overwrite)
    spec, network = load_network(model.path)
    context = int(network.context)  # type: ignore[arg-type]
    metadata = {SPEC_KEY: spec.to_json(), RECEPTIVE_FIELD_KEY: str(context), WEIGHTS_KEY: hash_file(model.path)}
    content = _convert_to_onnx(load_network(model.path)[1], metadata, half)
    found = measure_parity(OnnxFile(output, content, spec, context), network)
    worst = max(each.largest for each in found)
    if not worst <= (LARGEST_DIFFERENCE_FP16 if half else LARGEST_DIFFERENCE):
        raise ModelError(
            f"{model.name}: as ONNX it differs by {worst:.3g} grey levels from PyTorch; nothing is written"
        )
    write_atomically(output, [content], overwrite=overwrite)
    return found


@torch.inference_mode()
def measure_parity(file: OnnxFile, network: nn.Module) -> list[Parity]:
    """A file against the network it was made of, on the CPU, over several sizes."""
    from wsisr.models.backends.onnx import create_session  # noqa: PLC0415 - an extra

    ready, found = create_session(file, "cpu"), []
    for count, height, width in COMPARED_SHAPES:
        pixels = np.random.default_rng(height).random((count, 3, height, width), np.float32)
        theirs = ready.run(None, {ready.get_inputs()[0].name: pixels})[0]
        difference = 255 * np.abs(theirs - network(torch.from_numpy(pixels)).numpy())
        found.append(Parity(count, height, width, float(difference.max()), float(difference.mean())))
    return found


def _convert_to_onnx(network: nn.Module, metadata: dict[str, str], half: bool) -> bytes:
    """Parameters in fp16 if `half`; the fixed filters of the bicubic base, which are no parameters, stay in fp32."""
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
            external_data=False,
            verbose=False,
        )
    assert program is not None
    for key, value in metadata.items():
        program.model.metadata_props[key] = value
    content: bytes = program.model_proto.SerializeToString()
    return content


_FOLDING_LOG = logging.getLogger("onnxscript.optimizer._constant_folding")
"""Tells of each operation with several outputs that it is left as it is, as it should be."""


def _is_worth_reading(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Skipping constant folding")


@contextmanager
def _silence_exporter() -> Iterator[None]:
    """The exporter warns of packages that it does not need, and of its own deprecations."""
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
