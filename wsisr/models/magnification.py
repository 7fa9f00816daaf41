"""The interface of networks that classify the magnification of tissue by its pixels."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from wsisr.imaging.pixels import RgbBatch
from wsisr.models.spec import ModelSpec

ClassProbabilities = npt.NDArray[np.float64]
"""(classes,): probability of each magnification; they sum to 1."""


class MagnificationClassifier(Protocol):
    """A network that classifies the magnification at which tissue is shown."""

    @property
    def spec(self) -> ModelSpec: ...

    def __call__(self, tiles: RgbBatch) -> ClassProbabilities:
        """Return the probabilities for (n, h, w, 3) sRGB, averaged over the n tiles."""
        ...
