import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsisr.dataset.registration.affine import Affine, corner_points, enclosing_box, mean_corner_distance
from wsisr.imaging.geometry import Size

angles = st.floats(-179, 179)
scales = st.floats(0.2, 8)
SIZE = Size(30, 20)


@st.composite
def similarities(draw: st.DrawFn) -> Affine:
    turn = Affine.similarity(draw(scales), draw(angles), draw(st.booleans()))
    return turn.translate(draw(st.floats(-50, 50)), draw(st.floats(-50, 50)))


@given(similarities(), similarities())
def test_one_map_after_another_is_their_composition(first: Affine, second: Affine) -> None:
    np.testing.assert_allclose(
        second.compose(first)(corner_points(SIZE)), second(first(corner_points(SIZE))), atol=1e-6
    )


@given(similarities())
def test_the_inverse_leads_back(place: Affine) -> None:
    np.testing.assert_allclose(place.inverse(place(corner_points(SIZE))), corner_points(SIZE), atol=1e-6)


@given(similarities())
def test_a_map_is_fitted_to_the_points_it_gives(place: Affine) -> None:
    assert mean_corner_distance(Affine.fit(corner_points(SIZE), place(corner_points(SIZE))), place, SIZE) < 1e-6


@given(scales, angles, st.booleans())
def test_a_similarity_has_the_scale_turn_and_side_it_was_made_with(scale: float, degrees: float, flip: bool) -> None:
    place = Affine.similarity(scale, degrees, flip)
    assert place.scale == pytest.approx(scale)
    assert place.degrees == pytest.approx(degrees)
    assert place.is_mirrored == flip
    assert place.stretch == pytest.approx(1)


@given(similarities(), st.floats(0.5, 4), st.floats(0.5, 4))
def test_shrinking_both_images_keeps_what_lies_on_what(place: Affine, source: float, target: float) -> None:
    points = corner_points(SIZE)
    np.testing.assert_allclose(place.rescale(source, target)(points / source) * target, place(points), atol=1e-6)


@given(similarities())
def test_a_piece_of_the_source_maps_where_it_did(place: Affine) -> None:
    np.testing.assert_allclose(
        place.shift_origin(7, -3)(corner_points(SIZE) - [7, -3]), place(corner_points(SIZE)), atol=1e-6
    )


def test_an_enclosing_box_holds_its_points_and_a_margin() -> None:
    box = enclosing_box(np.array([[1.5, 2.0], [7.0, 3.2]]), 1)
    assert (box.left, box.top, box.right, box.bottom) == (0, 1, 8, 5)
