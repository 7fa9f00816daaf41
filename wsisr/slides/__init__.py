"""Slides in: whatever file it is, a `Slide` comes out, or one line that says why not."""

from wsisr.slides.colour import InSrgb
from wsisr.slides.forgiving import Forgiving
from wsisr.slides.opening import open_slide
from wsisr.slides.slide import Level, Slide, SlideInfo

__all__ = ["Forgiving", "InSrgb", "Level", "Slide", "SlideInfo", "open_slide"]
