"""What a check expects of a written pyramid, from its specification or its own metadata, and what the check found."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from wsisr.writing import Codec, PyramidSpec

_PATTERNS = {
    "size": re.compile(r"[1-9]\d* x [1-9]\d* px"),
    "mpp": re.compile(r"unknown|0\.0*[1-9]\d*|[1-9]\d{,3}(\.\d+)?"),
    "scale": re.compile(r"\d+"),
    "weights sha256": re.compile(r"none|[0-9a-f]{64}"),
    "source sha256": re.compile(r"none.*|[0-9a-f]{64}"),
}
"""Patterns that metadata entries must match, by name."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. The fields are the keys of `wsisr verify --json`."""

    check: str
    good: bool
    words: str


@dataclass(frozen=True, slots=True)
class Expectation:
    """The properties that a file should have; those that are None are not checked."""

    size: str | None = None
    """`WIDTH x HEIGHT px`."""
    mpp: float | None = None
    magnification: float | None = None
    icc: bytes | None = field(default=None, repr=False)
    metadata_names: frozenset[str] = frozenset({"derived", "size", "mpp"})
    """Names of entries that the metadata must have."""
    codec: Codec | None = None

    @classmethod
    def from_spec(cls, spec: PyramidSpec) -> Expectation:
        return cls(f"{spec.size} px", spec.mpp, spec.magnification, spec.icc, frozenset(spec.metadata), spec.codec)

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Expectation:
        """Return what a file's own metadata says of it."""
        mpp = metadata.get("mpp", "unknown")
        is_known = _PATTERNS["mpp"].fullmatch(mpp) and mpp != "unknown"
        codec = Codec.parse(metadata.get("codec", ""))
        return cls(metadata.get("size"), float(mpp) if is_known else None, codec=codec)

    @property
    def has_limited_viewers(self) -> bool:
        """Whether the codec is known, and OpenSlide or another common reader cannot decode it."""
        return self.codec is not None and bool(self.codec.compression_method.unsupported_readers)

    def check_metadata(self, metadata: Mapping[str, str]) -> Finding:
        """Check that a file's metadata has all entries, and that they match their patterns."""
        missing = ", ".join(sorted(self.metadata_names - set(metadata)))
        damaged = ", ".join(
            name for name, pattern in _PATTERNS.items() if name in metadata and not pattern.fullmatch(metadata[name])
        )
        words = f"{len(metadata)} entries; missing: {missing or 'none'}; damaged: {damaged or 'none'}"
        return Finding("note", not missing and not damaged, words)
