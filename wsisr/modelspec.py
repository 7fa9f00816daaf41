"""What a network is and what it was trained on, in words and numbers: travels inside the weights file."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields

from wsisr.errors import ModelError

SCALES = (2, 4)
"""Enlargements along one axis that are trained, paired and offered."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Shape of a network and the pixels it was trained on."""

    family: str
    """Key of `wsisr.models.FAMILIES`."""
    scale: int
    """Output pixels per input pixel, along one axis."""
    channels: int
    blocks: int
    window: int
    """Side of the local mean that channel attention sees, in px of the input; odd."""
    input_mpp: tuple[float, float]
    """Finest and coarsest pixel pitch of the low-resolution training input, in um/px."""

    def __post_init__(self) -> None:
        ranges = {"scale": (1, 8), "channels": (1, 1024), "blocks": (1, 256), "window": (1, 63)}
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ModelError(f"model spec: {name} = {value!r} is not a whole number from {low} to {high}")
        if self.window % 2 == 0:
            raise ModelError(f"model spec: window = {self.window} must be odd")
        if not isinstance(self.family, str):
            raise ModelError("model spec: family is not a name")
        finest, coarsest = self.input_mpp
        if not (math.isfinite(coarsest) and 0 < finest <= coarsest):
            raise ModelError(f"model spec: input_mpp = {finest:g} to {coarsest:g} um/px is no range of pixel pitches")

    def misfit(self, mpp: float | None) -> float:
        """How far a pixel pitch lies outside the trained range, as a factor minus 1; 0 inside it or if unknown."""
        finest, coarsest = self.input_mpp
        return 0.0 if mpp is None else max(finest / mpp, mpp / coarsest, 1.0) - 1.0

    def covers(self, mpp: float) -> bool:
        """Whether a pixel pitch lies within the trained range, give or take the sixth by which scanners differ."""
        return self.misfit(mpp) <= 1 / 6

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        try:
            values = json.loads(text)
            finest, coarsest = map(float, values.pop("input_mpp"))
            return cls(input_mpp=(finest, coarsest), **values)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            known = ", ".join(field.name for field in fields(cls))
            raise ModelError(f"model spec is not readable; it holds exactly {known}") from error
