"""Laws of the losses: nothing to pay for the truth itself, more for more error, gradients that lead back to it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.support.samples import make_noise
from wsisr.imaging import metrics
from wsisr.imaging.geometry import Size
from wsisr.training import losses
from wsisr.training.discriminators import UNetDiscriminator, VGGDiscriminator

OF_PAIRS = (losses.l1_loss, losses.charbonnier_loss, losses.ssim_loss, losses.fourier_loss, losses.perceptual_loss)

pairwise = pytest.mark.parametrize("loss", OF_PAIRS, ids=lambda loss: loss.__name__)
Loss = Callable[[Tensor, Tensor], Tensor]


def picture(seed: int = 0) -> Tensor:
    return torch.rand((2, 3, 16, 24), generator=torch.Generator().manual_seed(seed))


@pairwise
def test_the_truth_costs_nothing_and_error_costs_more_the_larger_it_is(loss: Loss) -> None:
    truth, error = picture(), picture(1) - 0.5
    costs = [float(loss(truth + share * error, truth)) for share in (0, 0.1, 0.3, 1)]
    assert costs == sorted(costs)
    assert costs[0] == pytest.approx(0, abs=2 * losses.CHARBONNIER_EPSILON)
    assert costs[-1] > 0.1


@pairwise
def test_going_down_the_gradient_costs_less(loss: Loss) -> None:
    truth, start = picture(), picture(1).requires_grad_()
    (slope,) = torch.autograd.grad(loss(start, truth), start)
    step = start.detach() - 0.01 * slope / slope.abs().max()
    assert loss(step, truth) < loss(start, truth)


@pairwise
def test_a_gradient_is_finite_at_the_truth(loss: Loss) -> None:
    start = picture().requires_grad_()
    (slope,) = torch.autograd.grad(loss(start, picture()), start)
    assert slope.isfinite().all()


@given(seed=st.integers(0, 99), share=st.floats(0, 1))
def test_ssim_is_the_one_that_is_reported(seed: int, share: float) -> None:
    truth = make_noise(Size(30, 20), seed)
    image = np.rint((1 - share) * truth + share * make_noise(Size(30, 20), seed + 1)).astype(np.uint8)
    planes = [torch.from_numpy(each).permute(2, 0, 1)[None].double() / 255 for each in (image, truth)]
    assert float(losses.ssim_loss(*planes)) == pytest.approx(1 - metrics.compute_ssim(image, truth), abs=1e-5)


def test_an_output_that_averages_back_to_the_input_is_consistent() -> None:
    low = picture()
    large = low.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    assert float(losses.consistency_loss(large, low)) == pytest.approx(0, abs=1e-6)
    assert float(losses.consistency_loss(large + 0.1, low)) == pytest.approx(0.1, abs=1e-6)


def test_a_sample_of_unknown_magnification_counts_for_nothing() -> None:
    logits = torch.tensor([[3.0, 0.0], [0.0, 1.0], [-5.0, 9.0]], requires_grad=True)
    known = losses.classification_loss(logits[:2], torch.tensor([0, 1]))
    assert torch.equal(losses.classification_loss(logits, torch.tensor([0, 1, losses.UNKNOWN_LABEL])), known)
    nothing = losses.classification_loss(logits, torch.full((3,), losses.UNKNOWN_LABEL))
    assert float(nothing.detach()) == 0
    (slope,) = torch.autograd.grad(nothing, logits)
    assert not slope.any()


def test_the_two_players_want_the_opposite() -> None:
    believed, caught = torch.full((4,), 3.0), torch.full((4,), -3.0)
    assert losses.adversarial_loss(caught, believed) < losses.adversarial_loss(believed, caught)
    assert losses.discriminator_loss(believed, caught) < losses.discriminator_loss(caught, believed)


@pytest.mark.parametrize("side", [(16, 16), (21, 34)])
def test_the_discriminator_judges_every_pixel(side: tuple[int, int]) -> None:
    torch.manual_seed(0)
    judged = UNetDiscriminator(4)(torch.rand((2, 3, *side)))
    assert judged.shape == (2, 1, *side)
    assert judged.std() > 0


@pytest.mark.parametrize("side", [(16, 16), (21, 34)])
def test_the_other_judges_a_patch(side: tuple[int, int]) -> None:
    torch.manual_seed(0)
    judged = VGGDiscriminator(4)(torch.rand((2, 3, *side)))
    assert judged.shape == (2, 1)
    assert judged.std() > 0
