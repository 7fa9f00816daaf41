"""The learning rate's path, and the moving average."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from wsisr.training.config import ScheduleConfig
from wsisr.training.optimiser import learning_rate_at, moving_average_weight, update_moving_average

SCHEDULES = st.builds(
    ScheduleConfig, steps=st.integers(1, 500), learning_rate=st.floats(1e-6, 1), warm_up=st.integers(0, 600)
)


@given(schedule=SCHEDULES)
def test_the_rate_rises_then_falls_and_never_leaves_its_range(schedule: ScheduleConfig) -> None:
    rates = [learning_rate_at(step, schedule) for step in range(schedule.steps)]
    peak = min(schedule.warm_up, schedule.steps)
    assert all(0 < one <= schedule.learning_rate * (1 + 1e-9) for one in rates)
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_the_rate_begins_at_a_step_of_the_rise_and_ends_near_zero() -> None:
    schedule = ScheduleConfig(steps=1000, learning_rate=0.1, warm_up=10)
    assert learning_rate_at(0, schedule) == pytest.approx(0.01)
    assert learning_rate_at(10, schedule) == 0.1
    assert learning_rate_at(999, schedule) < 1e-6


@given(decay=st.floats(0, 1))
def test_the_average_moves_by_its_share_towards_the_weights(decay: float) -> None:
    network = nn.Linear(3, 2)
    average, other = ({name: torch.zeros_like(tensor) for name, tensor in network.state_dict().items()} for _ in "12")
    update_moving_average(average, network.state_dict(), 1 - decay)
    update_moving_average(other, network.state_dict(), torch.tensor(1 - decay))
    for name, tensor in network.state_dict().items():
        assert torch.allclose(average[name], (1 - decay) * tensor, atol=1e-6)
        assert torch.equal(average[name], other[name])


@given(step=st.integers(0, 10**6), decay=st.floats(0, 0.9999))
def test_a_young_average_is_shorter_and_an_old_one_as_long_as_its_decay_says(step: int, decay: float) -> None:
    assert moving_average_weight(step, decay) >= 1 - decay
    assert moving_average_weight(0, 0.999) == pytest.approx(0.9)
    assert moving_average_weight(10**6, decay) == pytest.approx(1 - decay)
