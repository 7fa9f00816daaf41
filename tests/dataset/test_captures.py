"""A plain image is a slide of one level."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.slides.contract import SlideContract, SlideSample
from tests.support.samples import make_noise
from wsisr.dataset.captures import ImageSlide
from wsisr.imaging.geometry import Size


class TestImageSlide(SlideContract):
    @pytest.fixture(scope="class")
    @classmethod
    def sample(cls) -> SlideSample:
        pixels = make_noise(Size(220, 180))
        pixels.flags.writeable = False  # as Pillow's are
        return SlideSample(lambda: ImageSlide(Path("field"), pixels, 0.5), [pixels])
