"""Laws of networks as upscalers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.models.contract import UpscalerContract
from tests.support.networks import LOCAL, make_small_network, make_small_spec
from tests.support.samples import make_noise, upscale_pixels
from wsisr.errors import DeviceError, ModelError, OutOfMemoryError
from wsisr.imaging.geometry import Size
from wsisr.models.backends.device import select_device, select_precision
from wsisr.models.backends.out_of_memory import MemoryBoundedUpscaler
from wsisr.models.backends.spandrel import ThirdPartyNetwork
from wsisr.models.backends.torch import TorchUpscaler
from wsisr.models.catalog import Model, choose_default_model, list_shipped_models
from wsisr.models.loading import load_upscaler
from wsisr.models.probing import NetworkPlanes, probe_model
from wsisr.models.upscaler import Resampling, Upscaler
from wsisr.models.weights import save_weights
from wsisr.upscaling.plan import UpscaleOptions

TILES = np.stack([make_noise(Size(20, 15), seed) for seed in range(3)])
CPU = torch.device("cpu")


class Repeating(nn.Module):
    """Nearest neighbour as a network, with a factor that may break it and a precision in which it is broken."""

    scale, receptive_field, is_local = 2, 0, True

    def __init__(self, factor: float = 1.0, broken_in_bf16: bool = False, levels: int = 0) -> None:
        """With `levels`, results are rounded and clipped to 0 to `levels`, as networks with such values do."""
        super().__init__()
        self.levels = levels
        self.factor = nn.Parameter(torch.tensor(factor))
        self.broken_in_bf16 = broken_in_bf16

    def forward(self, x: Tensor) -> Tensor:
        enlarged = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3) * self.factor
        if self.levels:
            enlarged = enlarged.round().clamp(0, self.levels)
        broken = self.broken_in_bf16 and torch.is_autocast_enabled("cpu")
        return enlarged * torch.nan if broken else enlarged


@pytest.fixture(params=list_shipped_models(), ids=lambda model: model.name)
def model(request: pytest.FixtureRequest) -> Model:
    chosen: Model = request.param
    return chosen


class TestSmallNetworks(UpscalerContract):
    tolerance = 1

    @pytest.fixture(scope="class", params=[*((family, "fp32") for family in LOCAL), ("mmsrnet", "bf16")], ids=str)
    @classmethod
    def upscaler(cls, request: pytest.FixtureRequest) -> Upscaler:
        family, precision = request.param
        return TorchUpscaler(family, make_small_network(family), CPU, precision)


class TestThirdPartyNetworks(UpscalerContract):
    """A network whose values go from 0 to 255, measured and wrapped; the scale and the range are in no file."""

    @pytest.fixture(scope="class")
    @classmethod
    def upscaler(cls) -> Upscaler:
        network = Repeating(levels=255).eval()

        @torch.inference_mode()
        def run(planes: NetworkPlanes) -> NetworkPlanes:
            enlarged: NetworkPlanes = network(torch.from_numpy(np.ascontiguousarray(planes))).numpy()
            return enlarged

        probed = probe_model("a.safetensors", run)
        assert probed.value_range == (0, 255)
        return TorchUpscaler("third party", ThirdPartyNetwork(network, probed), CPU, "fp32", None, ["measured"])


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_pixels_come_back_as_they_went_in(precision: str) -> None:
    enlarged = TorchUpscaler("repeat", Repeating(), CPU, precision)(TILES)
    np.testing.assert_array_equal(enlarged, TILES.repeat(2, axis=1).repeat(2, axis=2))


@pytest.mark.parametrize("name", ["cpu", "cuda"])
def test_threads_do_not_mix_up_what_they_ask_of_one_device(name: str) -> None:
    """On a GPU, pixels of one cross the bus while those of others are computed."""
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    repeat = TorchUpscaler("repeat", Repeating(), torch.device(name), "fp32")
    asked = [np.stack([make_noise(Size(300 + number, 200), number)]) for number in range(24)]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(repeat, asked))
    for tiles, pixels in zip(asked, found, strict=True):
        np.testing.assert_array_equal(pixels, tiles.repeat(2, axis=1).repeat(2, axis=2))


def test_values_beyond_white_are_white() -> None:
    assert (TorchUpscaler("bright", Repeating(300.0), CPU, "fp32")(np.maximum(TILES, 1)) == 255).all()


def test_what_fails_in_bf16_alone_is_computed_in_fp32_and_said_once() -> None:
    fragile = TorchUpscaler("fragile", Repeating(broken_in_bf16=True), CPU, "bf16")
    for _ in range(2):
        np.testing.assert_array_equal(fragile(TILES), TILES.repeat(2, axis=1).repeat(2, axis=2))
    assert fragile.warnings == ["fragile gave NaN or infinity for some tiles in bf16; they were computed in fp32"]


def test_what_does_not_fail_is_not_remarked_on() -> None:
    upscaler = TorchUpscaler("sound", Repeating(), CPU, "bf16")
    upscaler(TILES)
    assert upscaler.warnings == []


def test_a_network_that_averages_over_tiles_is_remarked_on_for_every_slide(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_weights(path, make_small_spec("rcan"), make_small_network("rcan").state_dict())
    for _ in range(2):
        upscaler = load_upscaler(path, scale=2, device="cpu")
        assert [remark.partition(",")[0] for remark in upscaler.warnings] == ["mine averages over whole tiles"]


class Hungry(Repeating):
    """Wants more memory than there is for anything larger than so many values."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def forward(self, x: Tensor) -> Tensor:
        if x.numel() > self.most:
            torch.empty(1 << 50)
        return super().forward(x)


def test_the_end_of_memory_has_a_type() -> None:
    with pytest.raises(OutOfMemoryError, match="3 tiles of 20 x 15 px"):
        TorchUpscaler("hungry", Hungry(0), CPU, "fp32")(TILES)


def test_less_at_a_time_goes_where_all_at_once_does_not() -> None:
    modest = MemoryBoundedUpscaler(TorchUpscaler("hungry", Hungry(TILES[0].size), CPU, "fp32"))
    np.testing.assert_array_equal(modest(TILES), TILES.repeat(2, axis=1).repeat(2, axis=2))
    assert len(modest.warnings) == 1


def test_a_tile_that_gives_no_numbers_is_named() -> None:
    class Touchy(Repeating):
        def forward(self, x: Tensor) -> Tensor:
            black = (x == 0).all(dim=(1, 2, 3), keepdim=True)
            return super().forward(x).masked_fill(black, torch.nan)

    picture = make_noise(Size(300, 200))
    picture[128:, 128:256] = 0
    with pytest.raises(ModelError, match=r"NaN or infinity.* \(tile of 128 x 72 px at 128, 128 of the input\)"):
        upscale_pixels(picture, TorchUpscaler("touchy", Touchy(), CPU, "fp32"), UpscaleOptions(tile_px=128, batch=3))


@pytest.mark.parametrize(
    "words", ["CUDA error: unspecified launch failure", "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"]
)
def test_a_gpu_that_is_lost_is_one_line_that_says_how_to_go_on(words: str) -> None:
    class Lost(Repeating):
        def forward(self, _x: Tensor) -> Tensor:
            raise RuntimeError(f"{words}\nCUDA kernel errors might be asynchronously reported")

    with pytest.raises(DeviceError, match=r"stopped working \(.*; the same command goes on") as caught:
        TorchUpscaler("lost", Lost(), CPU, "fp32")(TILES)
    assert "\n" not in str(caught.value)


def test_a_bug_in_a_network_is_no_lost_gpu() -> None:
    class Buggy(Repeating):
        def forward(self, _x: Tensor) -> Tensor:
            raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes do not fit"):
        TorchUpscaler("buggy", Buggy(), CPU, "fp32")(TILES)


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_never_pixels(factor: float) -> None:
    with pytest.raises(ModelError, match="NaN or infinity"):
        TorchUpscaler("broken", Repeating(factor), CPU, "bf16")(TILES)


def test_pixels_that_must_not_be_written_to_are_read(model: Model) -> None:
    tiles = TILES.copy()
    tiles.setflags(write=False)
    load_upscaler(model.path, scale=model.spec.scale, device="cpu")(tiles)


def test_a_batch_is_its_tiles_one_by_one(model: Model) -> None:
    upscaler = load_upscaler(model.name, scale=model.spec.scale, device="cpu", precision="fp32")
    one_by_one = np.concatenate([upscaler(tile[None]) for tile in TILES])
    assert np.abs(upscaler(TILES).astype(int) - one_by_one).max() <= 1


def test_bf16_is_within_a_few_grey_levels_of_fp32(model: Model) -> None:
    fast, exact = (
        load_upscaler(model.name, scale=model.spec.scale, device="cpu", precision=precision)(TILES).astype(int)
        for precision in ("bf16", "fp32")
    )
    assert np.abs(fast - exact).max() <= 6
    assert np.abs(fast - exact).mean() < 0.5


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_ground_with_next_to_no_contrast_comes_out_as_pillows_bicubic(model: Model, precision: str) -> None:
    grain = np.random.default_rng(0).integers(0, 9, (1, 40, 30, 3)).astype(np.uint8) + np.uint8(240)
    upscaler = load_upscaler(model.name, scale=model.spec.scale, device="cpu", precision=precision)
    difference = np.abs(upscaler(grain).astype(int) - Resampling("bicubic", model.spec.scale)(grain))
    assert difference.max() <= 1  # where a value lies half-way between two grey levels
    assert difference.mean() < 0.01


def test_the_model_nearest_in_pitch_is_chosen(model: Model) -> None:
    finest, coarsest = model.spec.input_mpp
    chosen = choose_default_model(model.spec.scale, (finest + coarsest) / 2)
    assert chosen.spec.mpp_misfit((finest + coarsest) / 2) == 0


def test_a_weights_file_is_as_good_as_a_name(model: Model, tmp_path: Path) -> None:
    copy = tmp_path / "mine.safetensors"
    copy.write_bytes(model.path.read_bytes())
    by_name, by_file = (load_upscaler(m, scale=model.spec.scale, device="cpu") for m in (model.name, copy))
    np.testing.assert_array_equal(by_name(TILES), by_file(TILES))
    assert by_file.info.name == "mine"


@pytest.mark.parametrize("name", ["quantum", "cuda:99", "cpu:x", "meta", "mps"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(DeviceError, match="cpu"):
        select_device(name)


def test_a_precision_that_is_not_there_is_refused(model: Model) -> None:
    with pytest.raises(DeviceError, match="bf16"):
        load_upscaler(model.name, scale=model.spec.scale, device="cpu", precision="fp8")


def test_fp16_is_for_gpus() -> None:
    with pytest.raises(DeviceError, match="bf16"):
        select_precision("fp16", CPU)


def test_a_scale_without_a_model_is_refused() -> None:
    with pytest.raises(ModelError, match="scale 3"):
        load_upscaler(scale=3)
