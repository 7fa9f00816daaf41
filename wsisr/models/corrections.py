"""The corrections of a network's pixels that `upscale`, `preview` and `evaluate` offer alike."""

from __future__ import annotations

from wsisr.models.back_projection import ConsistentUpscaler
from wsisr.models.guard import GuardedUpscaler
from wsisr.models.upscaler import Upscaler


def add_corrections(upscaler: Upscaler, *, guard: bool, consistency: bool) -> Upscaler:
    """Return the upscaler with the guard, which filters do not need, and with back-projection, each if wanted."""
    if guard and upscaler.info.weights:
        upscaler = GuardedUpscaler(upscaler)
    return ConsistentUpscaler(upscaler) if consistency else upscaler
