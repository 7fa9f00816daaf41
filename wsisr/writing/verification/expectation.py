"""What a written pyramid was meant to be, from its specification or its own note, and what a check of it came to."""

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
"""Of entries of a note."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check came to."""

    check: str
    good: bool
    words: str


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a file was meant to be; None is not asked."""

    size: str | None = None
    """`WIDTH x HEIGHT px`."""
    mpp: float | None = None
    magnification: float | None = None
    icc: bytes | None = field(default=None, repr=False)
    metadata_names: frozenset[str] = frozenset({"derived", "size", "mpp"})
    """Names that the note has."""
    codec: Codec | None = None

    @classmethod
    def from_spec(cls, spec: PyramidSpec) -> Expectation:
        return cls(f"{spec.size} px", spec.mpp, spec.magnification, spec.icc, frozenset(spec.metadata), spec.codec)

    @classmethod
    def from_metadata(cls, note: Mapping[str, str]) -> Expectation:
        """As far as a file's own note tells it."""
        mpp = note.get("mpp", "unknown")
        known = _PATTERNS["mpp"].fullmatch(mpp) and mpp != "unknown"
        return cls(note.get("size"), float(mpp) if known else None, codec=Codec.parse(note.get("codec", "")))

    @property
    def has_limited_viewers(self) -> bool:
        """Whether it is known that OpenSlide or another reader does not open it."""
        return self.codec is not None and bool(self.codec.compression_method.unsupported_readers)

    def check_metadata(self, note: Mapping[str, str]) -> Finding:
        """Whether a file's note is whole."""
        missing = ", ".join(sorted(self.metadata_names - set(note)))
        damaged = ", ".join(name for name, form in _PATTERNS.items() if name in note and not form.fullmatch(note[name]))
        words = f"{len(note)} entries; missing: {missing or 'none'}; damaged: {damaged or 'none'}"
        return Finding("note", not missing and not damaged, words)
