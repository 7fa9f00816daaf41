"""Slides in: whatever file it is, a `Slide` comes out, or one line that says why not."""

from wsisr.slides.opening import open_slide
from wsisr.slides.slide import Level, Slide, SlideInfo
from wsisr.slides.wrappers.fault_tolerant import FaultTolerantSlide
from wsisr.slides.wrappers.srgb import SrgbSlide

__all__ = ["FaultTolerantSlide", "Level", "Slide", "SlideInfo", "SrgbSlide", "open_slide"]
