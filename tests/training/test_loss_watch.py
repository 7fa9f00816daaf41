"""Laws of the watch for exploding losses."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from wsisr.training.loss_watch import EXPLODED_RATIO, LEAST_EXPLODED_LOSS, WINDOW_STEPS, LossWatch

usual_losses = st.lists(st.floats(0.1, 1), min_size=1, max_size=30)


def watch_all(losses: list[float]) -> LossWatch:
    watch = LossWatch()
    for loss in losses:
        watch.add(loss)
        assert not watch.has_exploded
    return watch


@settings(max_examples=30)
@given(usual_losses, st.floats(1e3, 1e30))
def test_a_loss_that_has_jumped_up_for_most_of_the_window_has_exploded(usual: list[float], jumped: float) -> None:
    watch = watch_all(usual)
    for _ in range(WINDOW_STEPS // 2 + 1):
        watch.add(jumped)
        assert watch.is_suspect
    assert watch.has_exploded


@settings(max_examples=30)
@given(usual_losses, st.lists(st.floats(1e3, 1e30), max_size=WINDOW_STEPS // 2))
def test_single_batches_of_any_loss_are_no_explosion(usual: list[float], odd: list[float]) -> None:
    watch = watch_all([1.0] * WINDOW_STEPS + usual)
    for loss in odd:
        watch.add(loss)
        assert not watch.has_exploded


@settings(max_examples=30)
@given(st.lists(st.floats(0, LEAST_EXPLODED_LOSS), min_size=1, max_size=60))
def test_small_losses_never_explode_however_they_vary(losses: list[float]) -> None:
    watch_all(losses)


@settings(max_examples=30)
@given(st.floats(1, 1e6), st.lists(st.floats(1, EXPLODED_RATIO), min_size=1, max_size=60))
def test_what_counts_is_the_ratio_whatever_the_scale_of_the_losses(scale: float, ratios: list[float]) -> None:
    watch_all([scale * ratio for ratio in ratios])


@settings(max_examples=30)
@given(st.lists(st.floats(0.01, 1e3), min_size=2, max_size=40), st.data())
def test_a_resumed_watch_notices_what_an_uninterrupted_one_does(losses: list[float], data: st.DataObject) -> None:
    stop = data.draw(st.integers(1, len(losses) - 1))
    whole, first = LossWatch(), LossWatch()
    for loss in losses[:stop]:
        whole.add(loss)
        first.add(loss)
    resumed = LossWatch.restore(first.export_values())
    for loss in losses[stop:]:
        whole.add(loss)
        resumed.add(loss)
        assert (resumed.has_exploded, resumed.is_suspect) == (whole.has_exploded, whole.is_suspect)
