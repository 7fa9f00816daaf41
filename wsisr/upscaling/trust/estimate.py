"""What the trust layer of a result will take, measured on a part of the slide before there is a result."""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass

from wsisr.imaging.bicubic import enlarge_bicubic
from wsisr.imaging.geometry import Box
from wsisr.upscaling.plan import UpscalePlan
from wsisr.upscaling.trust.features import CELL_PX, measure_cell_features
from wsisr.upscaling.trust.layer import BLOCK_PX, count_cells
from wsisr.upscaling.trust.predictor import TrustPredictor

SAMPLED_SHARE = 1 / 32
"""Most of a region that is looked at for the estimate, where a block is more."""

PYRAMID_RATIO = 4 / 3


@dataclass(frozen=True, slots=True)
class TrustEstimate:
    """What a trust layer is expected to take. The time is a part of the run's."""

    seconds: float
    layer_bytes: int


def estimate_trust(plan: UpscalePlan, predictor: TrustPredictor) -> TrustEstimate:
    """Bound the errors of a part in the middle of the slide, where bicubic stands for the result, and time it."""
    size = plan.region.size
    side = min(max(round((size.pixel_count * SAMPLED_SHARE) ** 0.5), CELL_PX), BLOCK_PX)
    width, height = (
        max(min(side, whole) // CELL_PX * CELL_PX, min(whole, CELL_PX)) for whole in (size.width, size.height)
    )
    left, top = (size.width - width) // 2, (size.height - height) // 2
    began = time.thread_time()
    low = plan.region.read(Box(left, top, left + width, top + height))
    read_s = time.thread_time() - began
    if width % CELL_PX or height % CELL_PX:  # narrower than a cell
        return TrustEstimate(read_s, 0)
    high = enlarge_bicubic(low, plan.scale)
    began = time.thread_time()
    bounds = predictor.bound_errors(measure_cell_features(low, high))
    # The result is read, too: as many times the pixels, each about as fast as the slide's.
    sample_s = time.thread_time() - began + read_s * (1 + plan.scale**2)
    bytes_per_cell = min(len(zlib.compress(bounds.tobytes())) / bounds.size, 1.0)  # a few cells do not compress
    cells = count_cells(size).pixel_count
    return TrustEstimate(sample_s / (width * height) * size.pixel_count, round(bytes_per_cell * cells * PYRAMID_RATIO))
