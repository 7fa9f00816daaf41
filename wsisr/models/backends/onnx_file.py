"""Read ONNX files, wsisr's and others. They turn float pixels (n, 3, h, w) into (n, 3, h*scale, w*scale).

Files that wsisr exported take values in [0, 1] and hold the spec in their metadata. A file may come from anywhere: its
size is limited, it may not refer to other files, and it can run only the operators that ONNX Runtime itself has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsisr.errors import ModelError, ModelNotFoundError, describe_error
from wsisr.models.spec import ModelSpec
from wsisr.models.weights_header import SPEC_KEY

RECEPTIVE_FIELD_KEY = "wsisr.context"
"""Metadata key of the receptive field, in px of the input."""

WEIGHTS_KEY = "wsisr.weights.sha256"
"""Metadata key of the digest of the weights file that was exported."""

MAX_FILE_BYTES = 512 << 20
MAX_RECEPTIVE_FIELD = 4096


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """A file that passed the checks of `read_onnx`; whether its network works is not known yet."""

    path: Path
    content: bytes
    spec: ModelSpec | None
    """None if another program wrote the file."""
    receptive_field: int
    """Input pixels around a pixel that its output depends on; 0 if `spec` is None."""


def read_onnx(path: Path) -> OnnxFile:
    """Read and check a file. Raises `ModelError` if it is no ONNX file, is too large, or refers to other files."""
    content = _read_content(path)
    model = _parse_model(path, content)
    if any(_is_external(tensor) for tensor in _iterate_tensors(model.graph)):
        raise ModelError(f"{path}: stores tensors in other files; export it again as one file")
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    if SPEC_KEY not in metadata:
        return OnnxFile(path, content, None, 0)
    try:
        return OnnxFile(path, content, ModelSpec.from_json(metadata[SPEC_KEY]), _parse_receptive_field(metadata))
    except (ModelError, RecursionError) as error:
        raise ModelError(f"{path}: {describe_error(error)}") from error


def _read_content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        error_type = ModelNotFoundError if isinstance(error, FileNotFoundError) else ModelError
        raise error_type(
            f"{path}: cannot be read ({error.strerror or describe_error(error)}); give another file"
        ) from error
    if len(content) > MAX_FILE_BYTES:
        raise ModelError(f"{path}: larger than {MAX_FILE_BYTES >> 20} MiB; give a smaller network")
    return content


def _parse_model(path: Path, content: bytes) -> Any:
    import onnx  # noqa: PLC0415 - an extra
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - comes with onnx

    try:
        return onnx.ModelProto.FromString(content)
    except DecodeError as error:
        raise ModelError(f"{path}: not a whole ONNX file; copy it again") from error


def _iterate_tensors(graph: Any) -> Iterator[Any]:
    """Yield every tensor of a graph, also those in the attributes of its nodes."""
    yield from graph.initializer
    yield from (part for sparse in graph.sparse_initializer for part in (sparse.values, sparse.indices))
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        yield attribute.t
        yield from attribute.tensors
        for inner in (attribute.g, *attribute.graphs):
            if inner.node or inner.initializer:
                yield from _iterate_tensors(inner)


def _is_external(tensor: Any) -> bool:
    return bool(tensor.external_data) or tensor.data_location == tensor.EXTERNAL


def _parse_receptive_field(metadata: dict[str, str]) -> int:
    """Read a whole number of pixels. Nine digits at most are converted before the comparison: the text may be long."""
    text = metadata.get(RECEPTIVE_FIELD_KEY, "")
    if not text.isdecimal() or not int(text[:9]) <= MAX_RECEPTIVE_FIELD:
        raise ModelError(f"its receptive field is not a number of px up to {MAX_RECEPTIVE_FIELD}; export it again")
    return int(text)
