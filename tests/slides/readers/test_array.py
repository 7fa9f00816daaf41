"""Pixels in memory keep the laws of a slide."""

from __future__ import annotations

import pytest

from tests.slides.contract import SlideContract, SlideSample
from tests.support.samples import make_noise
from wsisr.imaging.geometry import Size
from wsisr.slides.readers.array import open_array


class TestArraySlide(SlideContract):
    @pytest.fixture(scope="class")
    @classmethod
    def sample(cls) -> SlideSample:
        pixels = make_noise(Size(220, 180))
        return SlideSample(lambda: open_array(pixels, 0.5), [pixels])
