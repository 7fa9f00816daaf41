"""Slides in: whatever file it is, a `Slide` comes out, or one line that says why not."""

from wsisr.slides.opening import open_slide
from wsisr.slides.slide import Level, Slide, SlideInfo
from wsisr.slides.wrappers.fault_tolerant import Forgiving
from wsisr.slides.wrappers.srgb import InSrgb

__all__ = ["Forgiving", "InSrgb", "Level", "Slide", "SlideInfo", "open_slide"]
