"""What tells the magnification of tissue from its pixels."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from wsisr.imaging.pixels import RgbBatch
from wsisr.models.spec import ModelSpec

ClassProbabilities = npt.NDArray[np.float64]
"""(classes,): how likely each magnification is, together 1."""


class MagnificationClassifier(Protocol):
    """What tells magnifications apart."""

    @property
    def spec(self) -> ModelSpec: ...

    def __call__(self, tiles: RgbBatch) -> ClassProbabilities:
        """(n, h, w, 3) sRGB to the mean over them."""
        ...
