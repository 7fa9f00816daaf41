"""Laws of trying a network out: what it is comes out, and what no tiling could hold is refused in one line."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest

from wsisr.errors import ModelError
from wsisr.models.probing import NetworkFunction, NetworkPlanes, ProbedModel, probe_model

Line: TypeAlias = npt.NDArray[Any]


def make_blur(reach: int, scale: int, white: int = 1) -> NetworkFunction:
    """Partly the mean over a square of 2*reach + 1 px, in 510 steps to white, then nearest neighbour."""

    def mean(line: Line) -> Line:
        return np.convolve(np.pad(line, reach), np.full(2 * reach + 1, 1 / (2 * reach + 1)), "valid")

    def network(pixels: NetworkPlanes) -> NetworkPlanes:
        around = np.apply_along_axis(mean, 3, np.apply_along_axis(mean, 2, pixels))
        steps = np.round((0.9 * pixels + 0.1 * around) * (510 / white))
        stepped: NetworkPlanes = np.clip(steps * (white / 510), 0, white).astype(np.float32)
        return stepped.repeat(scale, axis=2).repeat(scale, axis=3)

    return network


def check_refusal(network: NetworkFunction, words: str) -> None:
    with pytest.raises(ModelError, match=f"a.onnx: .*{words}") as error:
        probe_model("a.onnx", network)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("white", [1, 255])
@pytest.mark.parametrize(("reach", "scale"), [(0, 2), (5, 4), (20, 3)])
def test_what_a_network_is_comes_out(reach: int, scale: int, white: int) -> None:
    assert probe_model("a.onnx", make_blur(reach, scale, white)) == ProbedModel(scale, (0, white), reach)


def test_a_network_that_sees_farther_is_tried_on_wider_images() -> None:
    assert 95 <= probe_model("a.onnx", make_blur(100, 2)).receptive_field <= 100


def test_a_network_whose_values_do_not_matter_gets_the_first_of_them() -> None:
    assert probe_model("a.onnx", lambda pixels: pixels.repeat(2, axis=2).repeat(2, axis=3)).value_range == (0, 1)


def test_pooling_over_all_of_an_image_is_refused() -> None:
    def network(pixels: NetworkPlanes) -> NetworkPlanes:
        mixed: NetworkPlanes = 0.5 * pixels + 0.5 * pixels.mean(axis=(2, 3), keepdims=True)
        return mixed.repeat(2, axis=2).repeat(2, axis=3)

    check_refusal(network, "would depend on the tiles")


def test_what_depends_on_the_size_of_the_image_is_refused() -> None:
    def network(pixels: NetworkPlanes) -> NetworkPlanes:
        ramped: NetworkPlanes = 0.8 * pixels + np.linspace(0, 0.2, pixels.shape[3], dtype=np.float32)
        return ramped.repeat(2, axis=2).repeat(2, axis=3)

    check_refusal(network, "would depend on the tiles")


def test_a_network_that_shows_something_else_is_refused() -> None:
    check_refusal(
        lambda pixels: 1 - 2 * pixels.repeat(2, axis=2).repeat(2, axis=3), "consistency error is .* grey levels"
    )
    check_refusal(lambda pixels: np.full_like(pixels, np.nan), "consistency error is inf grey levels")


@pytest.mark.parametrize(
    "shape", [(1, 1, 122, 134), (1, 3, 122, 67), (1, 3, 100, 100), (3, 122, 134), (1, 3, 610, 670)]
)
def test_what_is_no_enlarged_picture_is_refused(shape: tuple[int, ...]) -> None:
    check_refusal(lambda _: np.zeros(shape, np.float32), "no enlarged picture")
