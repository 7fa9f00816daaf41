"""Read ONNX files, wsisr's and others. They turn float pixels (n, 3, h, w) into (n, 3, h*scale, w*scale).

Files that wsisr exported take values in [0, 1] and hold the spec in their metadata. A file may come from anywhere: its
size is limited, it may not refer to other files, and it can run only the operators that ONNX Runtime itself has.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsisr.bounds import MAX_ONNX_BYTES, MAX_RECEPTIVE_FIELD_PX
from wsisr.errors import ModelError, ModelNotFoundError, describe_error
from wsisr.models.backends.onnx_checks import refuse_excessive_claims, refuse_other_files
from wsisr.models.spec import ModelSpec
from wsisr.models.weights_header import SPEC_KEY

RECEPTIVE_FIELD_KEY = "wsisr.context"
"""Metadata key of the receptive field, in px of the input."""

WEIGHTS_KEY = "wsisr.weights.sha256"
"""Metadata key of the digest of the weights file that was exported."""


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
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    try:
        refuse_other_files(model)
        refuse_excessive_claims(model)
        if SPEC_KEY not in metadata:
            return OnnxFile(path, content, None, 0)
        return OnnxFile(path, content, ModelSpec.from_json(metadata[SPEC_KEY]), _parse_receptive_field(metadata))
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def _read_content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_ONNX_BYTES + 1)
    except OSError as error:
        error_type = ModelNotFoundError if isinstance(error, FileNotFoundError) else ModelError
        raise error_type(
            f"{path}: cannot be read ({error.strerror or describe_error(error)}); give another file"
        ) from error
    if len(content) > MAX_ONNX_BYTES:
        raise ModelError(f"{path}: larger than {MAX_ONNX_BYTES >> 20} MiB; give a smaller network")
    return content


def _parse_model(path: Path, content: bytes) -> Any:
    import onnx  # noqa: PLC0415 - an extra
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - comes with onnx

    try:
        return onnx.ModelProto.FromString(content)
    except DecodeError as error:
        raise ModelError(f"{path}: not a whole ONNX file; copy it again") from error


def _parse_receptive_field(metadata: dict[str, str]) -> int:
    """Read a whole number of pixels. Nine digits at most are converted before the comparison: the text may be long."""
    text = metadata.get(RECEPTIVE_FIELD_KEY, "")
    if not text.isdecimal() or not int(text[:9]) <= MAX_RECEPTIVE_FIELD_PX:
        raise ModelError(f"its receptive field is not a number of px up to {MAX_RECEPTIVE_FIELD_PX}; export it again")
    return int(text)
