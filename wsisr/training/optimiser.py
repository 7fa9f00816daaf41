"""Learning-rate schedule, parameter groups and the moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from wsisr.models.architectures.mmsrnet import MMSRNet
from wsisr.training.config import ScheduleConfig

DEVICE_FLAGS = ("foreach", "capturable", "fused")
"""Keys of a parameter group that say how its device takes a step."""


def learning_rate_at(step: int, schedule: ScheduleConfig) -> float:
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


def build_optimiser(
    network: nn.Module, schedule: ScheduleConfig, device: torch.device, *, captured: bool
) -> torch.optim.AdamW:
    """Return the optimiser of a network; if its steps are `captured` on a CUDA GPU, its rates are tensors there."""
    in_graph = captured and device.type == "cuda"
    optimiser = torch.optim.AdamW(
        build_parameter_groups(network, schedule), weight_decay=0.0, capturable=in_graph, fused=in_graph or None
    )
    if in_graph:
        for group in optimiser.param_groups:
            group["lr"] = torch.zeros((), device=device)
    return optimiser


def adapt_optimiser_state(state: dict[str, Any], groups: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return an optimiser's state dict as one on this device has it, for `groups` of the optimiser that takes it over.

    A checkpoint may come from another device, where steps are captured or not. Raises `ValueError` or `KeyError` if it
    is of another optimiser.
    """
    adapted = []
    for saved, own in zip(state["param_groups"], groups, strict=True):
        rate = own["lr"] if isinstance(own["lr"], Tensor) else float(saved["lr"])
        adapted.append(saved | {key: own[key] for key in DEVICE_FLAGS} | {"lr": rate})
    return state | {"param_groups": adapted}


def set_learning_rates(groups: Sequence[dict[str, Any]], learning_rate: float) -> None:
    """Give each parameter group its share of the rate, in place where a CUDA graph reads it from a tensor."""
    for group in groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(group["share"] * learning_rate)
        else:
            group["lr"] = group["share"] * learning_rate


def moving_average_weight(step: int, decay: float) -> float:
    """Return the share of the new weights in their moving average.

    Early on the average is shorter than `decay` says, so that the initial weights are soon forgotten.
    """
    return 1 - min(decay, (1 + step) / (10 + step))


def update_moving_average(average: dict[str, Tensor], tensors: Mapping[str, Tensor], weight: float | Tensor) -> None:
    """Move an exponential moving average towards a network's tensors, in place.

    A `weight` that is read by a CUDA graph is a tensor without dimensions on the device.
    """
    weights = [weight] * len(tensors) if isinstance(weight, Tensor) else weight
    torch._foreach_lerp_([average[name] for name in tensors], list(tensors.values()), weights)
