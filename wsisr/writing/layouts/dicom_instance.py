"""One image of a DICOM slide before it is written, and the small parts that its attributes are made of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import UID, VLWholeSlideMicroscopyImageStorage

from wsisr.imaging.geometry import Size
from wsisr.slides.dicom_context import DicomContext
from wsisr.writing.spec import PyramidSpec

WHOLE_SLIDE_CLASS_UID = VLWholeSlideMicroscopyImageStorage

LONG_STRING, SHORT_TEXT = 64, 1024
"""Longest texts of the value representations LO and ST, in characters."""


LEVEL_KIND, PICTURE_KINDS = "VOLUME", {"label": "LABEL", "macro": "OVERVIEW"}
"""What an instance shows: a level, or a picture beside the levels, by its name (third value of ImageType)."""


@dataclass(frozen=True, slots=True)
class InstanceDraft:
    """A level of a pyramid, or a picture beside it, which becomes one instance."""

    spec: PyramidSpec
    context: DicomContext
    uids: InstanceUids
    number: int
    """Its place in the series, from 0; levels come first, from fine to coarse."""
    kind: str
    """`LEVEL_KIND`, or one of `PICTURE_KINDS`."""
    size: Size
    frame_size: Size
    encoded_sizes: npt.NDArray[np.int64]
    """Bytes of each frame."""

    @property
    def is_level(self) -> bool:
        return self.kind == LEVEL_KIND

    @property
    def image_type(self) -> list[str]:
        """Level 0 was computed from another image, the coarser levels by halving the finer ones."""
        return ["DERIVED", "PRIMARY", self.kind, "RESAMPLED" if self.is_level and self.number else "NONE"]

    @property
    def spacing_mm(self) -> float:
        """Side of a pixel of a level."""
        assert self.is_level
        assert self.spec.mpp is not None, "the layout refuses a specification without a pixel size"
        return self.spec.mpp / 1000 * float(2**self.number)

    @property
    def compression_ratio(self) -> float:
        """Bytes of the pixels over those of their code."""
        return 3 * self.frame_size.pixel_count * len(self.encoded_sizes) / float(self.encoded_sizes.sum())


@dataclass(frozen=True, slots=True)
class InstanceUids:
    """UIDs that follow from what they stand for: the same image has the same ones again, any other has others."""

    content: str
    """Digest of all that the instances state and show."""
    source: str
    """Digest of the slide they were made from: images of one slide share a study and a frame of reference."""

    def make_own(self, name: str) -> UID:
        """Return the UID of something that belongs to this image alone."""
        return _make_uid(f"{self.content} {name}")

    def make_shared(self, name: str) -> UID:
        """Return the UID of something that all images of the slide share."""
        return _make_uid(f"{self.source or self.content} {name}")


def make_dataset(**values: Any) -> Dataset:
    """Return a dataset of elements by keyword."""
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def make_code_item(code: Code) -> Dataset:
    """Return the item of a code sequence."""
    return make_dataset(CodeValue=code.value, CodingSchemeDesignator=code.scheme_designator, CodeMeaning=code.meaning)


def clean_text(text: str, length: int = LONG_STRING) -> str:
    """Return a text without what would end or split a value, cut to a length."""
    return re.sub(r"[\\\x00-\x1f\x7f-\x9f\ud800-\udfff]", "/", text)[:length].strip()


def _make_uid(name: str) -> UID:
    """Return the UID of a name, of the kind that needs no registered root (PS3.5, B.2)."""
    return UID(f"2.25.{uuid5(NAMESPACE_OID, f'wsisr {name}').int}")
