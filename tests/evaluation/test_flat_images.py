"""The flat probe shows a model that disturbs flat ground, and clears one that does not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from wsisr.evaluation import AS_STORED, EvaluationInput, FlatProbe, measure_flat_images
from wsisr.evaluation.flat_images import make_flat_images
from wsisr.imaging.pixels import RgbBatch
from wsisr.models.upscaler import Resampling, UpscalerInfo

SOURCES = (AS_STORED, EvaluationInput("area"), EvaluationInput("bicubic"))


@dataclass(frozen=True)
class Speckled:
    """Bicubic with every fourth pixel one grey level off."""

    scale: int
    warnings: tuple[str, ...] = ()

    @property
    def info(self) -> UpscalerInfo:
        return UpscalerInfo("speckled", self.scale, receptive_field=3, hardware="in a test")

    def __call__(self, tiles: RgbBatch) -> RgbBatch:
        enlarged = Resampling("bicubic", self.scale)(tiles)
        enlarged[:, ::2, ::2] -= 1
        return enlarged


def select_probes(probes: list[FlatProbe], name: str) -> list[FlatProbe]:
    return [probe for probe in probes if probe.name == name]


@pytest.mark.parametrize("scale", [2, 4])
def test_bicubic_gains_nothing_on_flat_images(scale: int) -> None:
    probes = measure_flat_images(Resampling("bicubic", scale), SOURCES)
    assert [probe.gain for probe in probes] == [0] * len(probes)


def test_each_image_meets_each_input_once() -> None:
    probes = measure_flat_images(Resampling("bicubic", 2), SOURCES)
    assert len({(probe.name, probe.source) for probe in probes}) == len(probes) == 4 * len(SOURCES)


def test_bicubic_reproduces_white_exactly() -> None:
    probes = measure_flat_images(Resampling("bicubic", 2), SOURCES)
    white = [*select_probes(probes, "white 255"), *select_probes(probes, "white 250")]
    assert {(probe.bicubic_psnr, probe.largest_error) for probe in white} == {(float("inf"), 0)}


def test_speckles_on_white_are_a_loss_and_finite() -> None:
    for probe in select_probes(measure_flat_images(Speckled(2), SOURCES), "white 255"):
        assert -80 < probe.gain < 0
        assert probe.largest_error == 1


def test_flat_images_are_flat_and_the_same_each_time() -> None:
    once, again = make_flat_images(96), make_flat_images(96)
    assert all((once[name] == again[name]).all() for name in once)
    assert all(image.mean(axis=2).std() < 6 for image in once.values())
    assert {image.dtype for image in once.values()} == {np.dtype(np.uint8)}
