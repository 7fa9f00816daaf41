"""Laws of every network: small ones of each family with random weights, and each one that ships."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.support.networks import GLOBAL, LOCAL, make_small_network, make_small_spec
from tests.support.samples import make_noise
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import CUBIC_RADIUS, enlarge_image
from wsisr.models.architectures.bicubic import PillowBicubic
from wsisr.models.architectures.families import FAMILIES, TRUNKS
from wsisr.models.architectures.mmsrnet import MMSRNet
from wsisr.models.architectures.rcan import count_blocks_per_group
from wsisr.models.catalog import find_weights_folder
from wsisr.models.spec import ModelSpec
from wsisr.models.weights import build_network, load_network

Source = str | Path
SHIPPED = sorted(find_weights_folder().glob("*.safetensors"))
SMALL = [f"{family} x{scale}" for family in FAMILIES for scale in (2, 4)]
SMALL_LOCAL = [f"{family} x{scale}" for family in LOCAL for scale in (2, 4)]
COLOURS = st.tuples(*[st.integers(0, 255)] * 3)

NAMES = {
    "head.weight",
    "head.bias",
    "tail.weight",
    "tail.bias",
    *(
        f"blocks.0.{part}.{kind}"
        for part in (
            "first",
            "second",
            "attention.squeeze",
            "attention.gather",
            "attention.excite",
            "attention.locate",
            "attention.fuse",
        )
        for kind in ("weight", "bias")
    ),
}


@cache
def load_any_network(source: Source) -> nn.Module:
    """A shipped network, or a small one that is far from its start: all its weights matter."""
    if isinstance(source, Path):
        return load_network(source)[1]
    family, scale = source.split(" x")
    return make_small_network(family, int(scale))


networks = pytest.mark.parametrize("source", [*SMALL, *SHIPPED], ids=lambda source: getattr(source, "stem", source))
local_networks = pytest.mark.parametrize(
    "source", [*SMALL_LOCAL, *SHIPPED], ids=lambda source: getattr(source, "stem", source)
)


def test_networks_say_whether_they_are_local() -> None:
    assert {family for family in FAMILIES if not make_small_network(family).is_local} == set(GLOBAL)


def test_what_is_global_is_so_indeed() -> None:
    """Else its results would be warned of for nothing."""
    network, x = load_any_network("rcan x2"), make_picture(120, 120)
    x.requires_grad_()
    network(x)[..., :2, :2].sum().backward()
    assert x.grad is not None
    assert x.grad[..., -1, -1].abs().max() > 0


@pytest.mark.parametrize("blocks", range(1, 201, 7))
def test_groups_of_rcan_hold_all_of_its_blocks(blocks: int) -> None:
    lengths = count_blocks_per_group(blocks)
    assert sum(lengths) == blocks
    assert max(lengths) - min(lengths) <= 1


def test_full_size_rcan_has_the_groups_of_its_paper() -> None:
    assert count_blocks_per_group(200) == [20] * 10


@pytest.mark.parametrize(("channels", "blocks", "millions"), [(32, 4, 0.1), (48, 8, 0.4), (64, 16, 1.4), (96, 20, 3.9)])
def test_sizes_of_masrgan_are_as_told(channels: int, blocks: int, millions: float) -> None:
    with torch.device("meta"):
        parameters = build_network(ModelSpec("masrgan", 2, channels, blocks, 9, (0.5, 0.5))).parameters()
    assert sum(each.numel() for each in parameters) == pytest.approx(1e6 * millions, rel=0.08)


@pytest.mark.parametrize("trunk", TRUNKS)
def test_any_network_can_be_the_trunk_and_gives_the_pixels_it_gives_alone(trunk: str) -> None:
    spec = ModelSpec("mmsrnet", 2, 8, 2, 5, (0.5, 0.5), trunk, (5.0, 10.0))
    made = build_network(spec)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.2)
    assert isinstance(made, MMSRNet)
    alone = build_network(replace(spec, family=trunk, trunk="", magnifications=()))
    alone.load_state_dict(made.trunk.state_dict())
    x = make_picture(24, 20)
    assert torch.equal(made(x), run(alone, x))
    assert made.compute_logits(x).shape == (1, 2)


def receptive_field_of(network: nn.Module) -> int:
    return int(network.receptive_field)  # type: ignore[arg-type]


def cell_px_of(network: nn.Module) -> int:
    return int(network.cell_px)  # type: ignore[arg-type]


def scale_of(network: nn.Module) -> int:
    return int(network.scale)  # type: ignore[arg-type]


@torch.inference_mode()
def run(network: nn.Module, x: Tensor) -> Tensor:
    result: Tensor = network(x)
    return result


def make_picture(height: int, width: int, seed: int = 0) -> Tensor:
    """(1, 3, height, width) of noise in [0, 1]."""
    return torch.rand((1, 3, height, width), generator=torch.Generator().manual_seed(seed))


@networks
@settings(max_examples=5)
@given(colour=COLOURS, height=st.integers(1, 24), width=st.integers(1, 24))
def test_a_constant_stays_exactly_as_it_is(source: Source, colour: tuple[int, ...], height: int, width: int) -> None:
    network = load_any_network(source)
    x = torch.tensor(colour).view(1, 3, 1, 1).expand(1, 3, height, width).float() / 255
    y = run(network, x.contiguous())
    assert y.shape == (1, 3, height * scale_of(network), width * scale_of(network))
    # Bicubic weights add up to 1 but for rounding; the residual adds nothing at all.
    assert torch.equal(y.mul(255).round(), y.new_tensor(colour).view(1, 3, 1, 1).expand_as(y))
    assert (y - y[..., :1, :1]).abs().max() < 1e-6


@networks
def test_noise_is_changed_by_more_than_bicubic(source: Source) -> None:
    network, x = load_any_network(source), make_picture(24, 24)
    bicubic = nn.functional.interpolate(x, scale_factor=scale_of(network), mode="bicubic")
    assert (run(network, x) - bicubic).abs().max() > 1 / 255


@local_networks
def test_nothing_beyond_the_context_changes_a_pixel(source: Source) -> None:
    """Pixels of the input on which the output around its middle depends all lie within `context` px."""
    network = load_any_network(source)
    context, scale = receptive_field_of(network), scale_of(network)
    side = 2 * context + 5
    middle = side // 2
    x = make_picture(side, side).requires_grad_()
    network(x)[..., middle * scale : (middle + 1) * scale, middle * scale : (middle + 1) * scale].sum().backward()
    assert x.grad is not None
    rows, columns = x.grad.abs().sum(dim=(0, 1)).nonzero(as_tuple=True)
    reach = max(int((rows - middle).abs().max()), int((columns - middle).abs().max()))
    assert reach <= context


@pytest.mark.parametrize("source", SMALL_LOCAL)
def test_the_context_is_no_larger_than_needed(source: Source) -> None:
    """A margin too wide would be paid for with every tile."""
    network = load_any_network(source)
    context, scale = receptive_field_of(network), scale_of(network)
    cell_px = cell_px_of(network)
    # Of two pixels in the middle that belong to neighbouring cells, one looks further to the left, one to the right.
    side, middle = 2 * context + cell_px, slice(context * scale, (context + cell_px) * scale)
    x = make_picture(side, side).requires_grad_()
    network(x)[..., middle, middle].sum().backward()
    assert x.grad is not None
    assert all(
        edge.abs().max() > 0 for edge in (x.grad[..., 0, :], x.grad[..., -1, :], x.grad[..., 0], x.grad[..., -1])
    )


@local_networks
def test_a_tile_with_its_context_gives_the_pixels_of_the_whole(source: Source) -> None:
    network = load_any_network(source)
    context, scale = receptive_field_of(network), scale_of(network)
    cell_px = cell_px_of(network)
    x = make_picture(2 * context + 5 * cell_px + 1, 2 * context + 9 * cell_px + 1)
    whole = run(network, x)
    for top, left in ((0, 0), (5 * cell_px, 9 * cell_px)):
        tile = run(network, x[..., top : top + 2 * context + 1, left : left + 2 * context + 1])
        middle = slice(context * scale, (context + 1) * scale)
        row, column = (context + top) * scale, (context + left) * scale
        assert (tile[..., middle, middle] - whole[..., row : row + scale, column : column + scale]).abs().max() < 1e-5


@local_networks
@pytest.mark.parametrize(("down", "right"), [(0, 1), (3, 5)])
def test_a_shifted_input_gives_the_shifted_output(source: Source, down: int, right: int) -> None:
    network = load_any_network(source)
    context, scale = receptive_field_of(network), scale_of(network)
    down, right = (distance * cell_px_of(network) for distance in (down, right))
    x, inner = make_picture(2 * context + 14, 2 * context + 14), slice(context * scale, -context * scale)
    moved = run(network, x[..., down:, right:])[..., inner, inner]
    kept = run(network, x)[..., inner, inner][..., down * scale :, right * scale :]
    assert (kept - moved).abs().max() < 1e-5


@networks
def test_images_of_a_batch_do_not_see_each_other(source: Source) -> None:
    network, one, other = load_any_network(source), make_picture(20, 24, 1), make_picture(20, 24, 2)
    both = run(network, torch.cat([one, other]))
    assert (both - torch.cat([run(network, one), run(network, other)])).abs().max() < 1e-5


@networks
def test_the_output_is_fp32_under_autocast_too(source: Source) -> None:
    network, x = load_any_network(source), make_picture(16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        y = run(network, x)
    assert y.dtype == torch.float32
    assert (y - run(network, x)).abs().mean() < 0.05


@networks
def test_bf16_leaves_a_constant_as_it_is(source: Source) -> None:
    network, x = load_any_network(source), torch.full((1, 3, 12, 12), 243 / 255)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(run(network, x).mul(255).round(), torch.full_like(run(network, x), 243))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("scale", [2, 4])
def test_training_starts_at_pillows_bicubic(family: str, scale: int) -> None:
    pixels = make_picture(16, 16).mul(255).round().to(torch.uint8)
    fresh = build_network(make_small_spec(family, scale))
    expected = enlarge_image(pixels[0].permute(1, 2, 0).numpy(), scale, "bicubic")
    enlarged = run(fresh, pixels / 255)[0].permute(1, 2, 0).mul(255).clamp(0, 255).numpy()
    inner = np.s_[CUBIC_RADIUS * scale : -CUBIC_RADIUS * scale, CUBIC_RADIUS * scale : -CUBIC_RADIUS * scale]
    np.testing.assert_allclose(enlarged[inner], expected[inner], rtol=0, atol=0.5001)  # for Pillow's last rounding
    # At the border, where weights are no whole parts of anything, a tie in the pass before, times weights of 1.25.
    np.testing.assert_allclose(enlarged, expected, rtol=0, atol=1.75)


def test_names_of_tensors_are_those_of_shipped_files() -> None:
    assert set(build_network(ModelSpec("masrgan", 2, 8, 1, 3, (0.5, 0.5))).state_dict()) == NAMES


@given(st.sampled_from([2, 4]), st.integers(0, 99), st.integers(5, 60), st.integers(5, 40))
def test_bicubic_of_a_piece_is_that_of_the_whole_to_the_last_bit(
    scale: int, seed: int, width: int, height: int
) -> None:
    network, rows, columns = PillowBicubic(scale), slice(3, 3 + height), slice(7, 7 + width)
    whole = torch.from_numpy(make_noise(Size(90, 70), seed)).permute(2, 0, 1)[None].float() / 255
    inner = np.s_[:, :, CUBIC_RADIUS:-CUBIC_RADIUS, CUBIC_RADIUS:-CUBIC_RADIUS]
    assert torch.equal(network(whole[:, :, rows, columns])[inner], network(whole)[:, :, rows, columns][inner])
