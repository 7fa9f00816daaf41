"""Description of a network and of its training pixels, stored as JSON in the header of its weights file."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields

from wsisr.bounds import MAX_SPEC_CHARACTERS
from wsisr.errors import ModelError
from wsisr.imaging.units import index_of_nearest_magnification

SCALES = (2, 4)
"""Enlargements along one axis that networks and datasets have."""

PRECISIONS = ("auto", "bf16", "fp16", "fp32")
"""Values of the option --precision; `auto` is the fastest one that the device supports."""

DEVICE_KINDS = ("auto", "cpu", "cuda", "tensorrt")
"""Devices that may be asked for; a colon and a number may follow each."""

CLASSIFYING_FAMILY = "mmsrnet"
"""The family of networks that classify magnifications."""

HALF_RESOLUTION_FAMILY = "half"
"""The family of networks whose features are computed for cells of 2 x 2 input pixels."""

MAX_CLASSES = 16


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Shape of a network and the pixels it was trained on."""

    family: str
    """Key of `wsisr.models.architectures.families.FAMILIES`."""
    scale: int
    """Output pixels per input pixel, along one axis."""
    channels: int
    blocks: int
    window: int
    """Side of the local mean from which channel attention is computed, in px of the input; odd."""
    input_mpp: tuple[float, float]
    """Finest and coarsest pixel size of the low-resolution training input, in um/px."""
    trunk: str = ""
    """Family of the network to which an `mmsrnet` adds its classification branch."""
    magnifications: tuple[float, ...] = ()
    """Classes of that branch, in order: 10 stands for an input of 1 um/px."""

    def __post_init__(self) -> None:
        ranges = {"scale": (1, 8), "channels": (1, 1024), "blocks": (1, 256), "window": (1, 63)}
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ModelError(f"model spec: {name} = {value!r} is not a whole number from {low} to {high}")
        if self.window % 2 == 0:
            raise ModelError(f"model spec: window = {self.window} must be odd")
        if not (isinstance(self.family, str) and isinstance(self.trunk, str)):
            raise ModelError("model spec: family is not a name")
        classifies = self.family == CLASSIFYING_FAMILY
        if classifies != bool(self.trunk) or classifies != bool(self.magnifications):
            raise ModelError(f"model spec: trunk and magnifications belong to {CLASSIFYING_FAMILY}, which needs both")
        _check_magnifications(self.magnifications)
        finest, coarsest = self.input_mpp
        if not (math.isfinite(coarsest) and 0 < finest <= coarsest):
            raise ModelError(f"model spec: input_mpp = {finest:g} to {coarsest:g} um/px is no range of pixel sizes")

    @property
    def cell_px(self) -> int:
        """Side of the squares of input pixels that the network computes together; see `UpscalerInfo.cell_px`."""
        return 2 if HALF_RESOLUTION_FAMILY in (self.family, self.trunk) else 1

    def mpp_misfit(self, mpp: float | None) -> float:
        """Return how far a pixel size is outside the trained range, as a factor minus 1; 0 inside it or if unknown."""
        finest, coarsest = self.input_mpp
        return 0.0 if mpp is None else max(finest / mpp, mpp / coarsest, 1.0) - 1.0

    def covers_mpp(self, mpp: float) -> bool:
        """Return whether a pixel size lies in the trained range, widened by the sixth by which scanners differ."""
        return self.mpp_misfit(mpp) <= 1 / 6

    def magnification_class(self, mpp: float) -> int | None:
        """Return the index of the magnification that a pixel size stands for; None for none of them, or if unknown."""
        return index_of_nearest_magnification(mpp, self.magnifications)

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """Parse and check a spec. Raises `ModelError`."""
        try:
            if len(text) > MAX_SPEC_CHARACTERS:
                raise ValueError("too long")
            values = json.loads(text)
            finest, coarsest = map(float, values.pop("input_mpp"))
            classes = tuple(map(float, values.pop("magnifications", ())))
            return cls(input_mpp=(finest, coarsest), magnifications=classes, **values)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            names = ", ".join(field.name for field in fields(cls))
            raise ModelError(f"model spec is not readable; it holds exactly {names}") from error


def _check_magnifications(magnifications: tuple[float, ...]) -> None:
    """Raise `ModelError` unless the magnifications are a few increasing numbers; none at all are fine."""
    if not magnifications:
        return
    is_increasing = all(low < high for low, high in zip((0.0, *magnifications), magnifications, strict=False))
    if not 2 <= len(magnifications) <= MAX_CLASSES or not is_increasing or not math.isfinite(magnifications[-1]):
        raise ModelError(f"model spec: magnifications are not 2 to {MAX_CLASSES} increasing numbers above 0")
