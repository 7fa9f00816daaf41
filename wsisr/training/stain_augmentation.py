"""Stain augmentation: optical densities of a patch are changed, of both images of a pair alike.

Stains add up in optical density, so glass stays glass. Per colour channel rather than per stain, because the stains of
a slide are not known here: this project's choice, as are all ranges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wsisr.config import FloatRange
from wsisr.errors import ConfigError
from wsisr.imaging.density import DensityMatrix


@dataclass(frozen=True, slots=True)
class StainVariation:
    """Stains of other strength and colour: faded, dark, or of another laboratory's dyes."""

    density: FloatRange = (0.1, 1.5)
    """Factor of all densities, drawn uniformly as a logarithm: 0.1 has faded to next to nothing, 1.5 is dark."""
    density_share: float = 0.5
    """Share of the samples whose density is changed."""
    mixing: float = 0.0
    """Largest share of another channel's density that is mixed into a channel's, or taken from it, which turns the
    directions of stains. Grey stays grey."""

    def __post_init__(self) -> None:
        if not 0 < self.density[0] <= self.density[1] <= 4:
            raise ConfigError("density must be above 0 and at most 4")
        if not (0 <= self.density_share <= 1 and 0 <= self.mixing <= 0.5):
            raise ConfigError("density_share must be from 0 to 1, mixing from 0 to 0.5")

    def draw(self, random: np.random.Generator) -> DensityMatrix:
        """Draw the change of one sample."""
        low, high = np.log(self.density)
        factor = np.exp(random.uniform(low, high)) if random.random() < self.density_share else 1.0
        others = random.uniform(-self.mixing, self.mixing, (3, 3)) * (1 - np.eye(3))
        return np.asarray(factor * (np.diag(1 - others.sum(axis=1)) + others), np.float32)


def draw_channel_factors(strength: float, random: np.random.Generator) -> DensityMatrix:
    """Return a diagonal matrix whose factors, a random one a channel, are from exp(-strength) to exp(strength)."""
    return np.diag(np.exp(random.uniform(-strength, strength, 3))).astype(np.float32)
