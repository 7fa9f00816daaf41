"""Colours of captures are matched by their light, not by their sharpness."""

from __future__ import annotations

import numpy as np

from tests.support.captures import CaptureFlaws, make_tissue, render_capture
from wsisr.dataset.colour_matching import ColourMatch, sample_colours
from wsisr.dataset.registration.affine import Affine
from wsisr.imaging.geometry import Size


def test_blur_noise_and_jpeg_do_not_change_what_colours_are_matched_to() -> None:
    random, fine = np.random.default_rng(0), make_tissue(21, 900)
    sharp = render_capture(fine, Affine.similarity(4), Size(225, 225), CaptureFlaws(), random)
    poor = render_capture(
        fine, Affine.similarity(4), Size(225, 225), CaptureFlaws(blur_px=0.8, noise=5, quality=60), random
    )
    colours = ColourMatch.fit([(sample_colours(sharp), sample_colours(poor))])
    np.testing.assert_allclose(colours.matrix[:3], np.eye(3), atol=0.15)
