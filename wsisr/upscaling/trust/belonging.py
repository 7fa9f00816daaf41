"""Which result a trust layer is of: beside a result may lie that of one that was replaced, or of another format."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from wsisr.errors import OutputError
from wsisr.upscaling.provenance import read_derived_metadata

RESULT_KEY = "result metadata sha256"
"""Key of the digest of the result's metadata, which tell one result from another; layers hold it."""


def digest_result(metadata: Mapping[str, str]) -> str:
    """Return the SHA-256 of a result's metadata, whatever their order."""
    return hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode()).hexdigest()


def is_layer_of(layer: Path, result: Path) -> bool:
    """Return whether a trust layer was made of a result as it is now."""
    metadata = read_derived_metadata(result)
    return bool(metadata) and read_derived_metadata(layer).get(RESULT_KEY) == digest_result(metadata)


def refuse_other_layer(layer: Path, result: Path) -> None:
    """Raise `OutputError` if the trust layer at the place of a result's is of another result."""
    if layer.exists() and not is_layer_of(layer, result):
        raise OutputError(
            f"{layer}: is not of {result} as it is now; remove it and the doubtful areas beside it, or make all anew "
            "with --overwrite"
        )
