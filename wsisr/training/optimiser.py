"""Learning-rate schedule, parameter groups and the moving average of the weights."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from wsisr.models.architectures.mmsrnet import MMSRNet
from wsisr.training.config import ScheduleConfig


def scheduled_learning_rate(step: int, schedule: ScheduleConfig) -> float:
    """Return the learning rate of a step: a linear rise, then half a cosine down to 0."""
    if step < schedule.warm_up:
        return schedule.learning_rate * (step + 1) / schedule.warm_up
    progress = (step - schedule.warm_up) / max(1, schedule.steps - schedule.warm_up)
    return schedule.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def build_parameter_groups(network: nn.Module, schedule: ScheduleConfig) -> list[dict[str, Any]]:
    """Return parameter groups with their `share` of the learning rate; a trunk whose share is 0 is frozen instead."""
    if not isinstance(network, MMSRNet):
        return [{"params": list(network.parameters()), "share": 1.0}]
    network.trunk.requires_grad_(schedule.trunk_rate > 0)
    branch = {"params": list(network.branch.parameters()), "share": 1.0}
    trunk = {"params": list(network.trunk.parameters()), "share": schedule.trunk_rate}
    return [branch, trunk] if schedule.trunk_rate else [branch]


def update_moving_average(average: dict[str, Tensor], network: nn.Module, decay: float) -> None:
    """Update an exponential moving average of the network's tensors in place."""
    tensors = network.state_dict()
    update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    update([average[name] for name in tensors], list(tensors.values()), 0)
