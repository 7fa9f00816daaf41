"""What a training run is told: values in a TOML file, their defaults and meaning here. An unknown key is an error."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from wsisr.config import made, read_toml
from wsisr.dataset.degradation import CAPTURE, Degradation, Round, read_degradation
from wsisr.errors import ConfigError, ModelError
from wsisr.imaging.metrics import SSIM_REACH
from wsisr.models.spec import CLASSIFYING, SCALES, ModelSpec

SMALLEST_JUDGED_PX = 16
SMALLEST_SEEN_PX = 16
JUDGES = ("unet", "vgg")

KERNELS = ("area", "bicubic", "lanczos", "stored", "pyramid", "scan", "degraded")
"""How low resolution arises. `stored` is that of the dataset: a slide's own coarser level, the coarser capture, or what
was simulated; `pyramid` is its older name. `scan` is a blur and a JPEG, `degraded` what `degradation` describes."""

OF_PYRAMIDS = {"area": 0.4, "bicubic": 0.4, "pyramid": 0.2}
OF_CAPTURES = {"stored": 1.0}


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Shape of the network; see `ModelSpec`."""

    scale: int
    family: str = "masrgan"
    channels: int = 48
    blocks: int = 8
    window: int = 9
    trunk: str = ""
    """For the family `mmsrnet`: the network that it adds its branch to."""
    magnifications: tuple[float, ...] = ()
    """For `mmsrnet`: what its branch tells apart, such as [5, 10, 20]; 10 stands for an input of 1 um/px."""
    warm_start: tuple[Path, ...] = ()
    """Weights whose fitting tensors are the start, such as those of a smaller scale, or of the trunk alone; of several
    files their mean."""

    def spec(self, input_mpp: tuple[float, float]) -> ModelSpec:
        """The network's spec, trained on low resolution of these pitches, finest and coarsest, in um/px."""
        shape = self.family, self.scale, self.channels, self.blocks, self.window
        return ModelSpec(*shape, input_mpp, self.trunk, self.magnifications)


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Where pairs come from and how the low resolution arises."""

    dataset: Path
    patch_px: int = 48
    """Side of a low-resolution crop."""
    batch: int = 16
    kernels: dict[str, float] | None = None
    """Kernel, one of `KERNELS`, to its share of the samples. Without it `OF_PYRAMIDS`, or `OF_CAPTURES` where pairs
    were captured or simulated, because their low resolution is what the dataset is for."""
    stain_jitter: float = 0.0
    """Largest change of a colour's optical density, as a logarithm: 0.1 is 10 % up or down."""
    truth: Round | None = None
    """Degradation of the high resolution, for its `share` of the samples, before the low one is made from it: other
    scanners than those of the dataset would have blurred, sharpened and compressed it otherwise."""
    degradation: Degradation | None = None
    """Of the kernel `degraded`, as a table or the name of a TOML file; without it `CAPTURE`."""
    magnifications: tuple[float, ...] = ()
    """Train on pairs only whose input is of one of these, such as [10]; all by default."""


@dataclass(frozen=True, slots=True)
class ScheduleConfig:
    """How long and how fast."""

    steps: int
    learning_rate: float = 1e-3
    warm_up: int = 200
    """Steps in which the rate rises from 0; then it falls to 0 along a cosine."""
    accumulate: int = 1
    """Parts of a batch that are computed one after the other, where all at once is too much memory."""
    trunk_rate: float = 1.0
    """For an `mmsrnet`: the learning rate of its trunk over that of its branch. 0 leaves the trunk as it is, so that
    no loss of pixels is needed."""
    ema: float = 0.999
    """Decay of the moving average of the weights; the average is what is validated and kept."""
    validate_every: int = 500
    save_every: int = 100


@dataclass(frozen=True, slots=True)
class LossConfig:
    """What is minimised: the weight of each function of `wsisr.training.losses`; 0 leaves it out."""

    l1: float = 1.0
    charbonnier: float = 0.0
    ssim: float = 0.0
    fourier: float = 0.0
    consistency: float = 0.0
    classification: float = 0.0
    """Of the magnification, by an `mmsrnet`, which needs it."""
    perceptual: float = 0.0
    """Needs `features`."""
    adversarial: float = 0.0
    """Sets a discriminator against the network; see the table `adversary`."""
    features: Path | None = None
    """What sees for the perceptual loss: weights of an `mmsrnet`, or torchvision's file of VGG19, vgg19-*.pth."""

    @property
    def weights(self) -> dict[str, float]:
        """Name of each function that counts to its weight."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "features"}
        return {name: weight for name, weight in values.items() if weight}

    @property
    def of_pixels(self) -> bool:
        """Whether anything but the branch of an `mmsrnet` is to learn."""
        return set(self.weights) != {"classification"}


@dataclass(frozen=True, slots=True)
class AdversaryConfig:
    """The discriminator, where the adversarial loss has a weight."""

    channels: int = 32
    learning_rate: float = 1e-4
    head_start: int = 0
    """Steps in which it learns alone: before it tells anything, what it says leads the network astray."""
    judge: str = "unet"
    """`unet`, which judges every pixel, or `vgg`, which judges a patch."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """A whole training run."""

    network: NetworkConfig
    data: DataConfig
    schedule: ScheduleConfig
    loss: LossConfig = field(default_factory=LossConfig)
    adversary: AdversaryConfig = field(default_factory=AdversaryConfig)
    seed: int = 0

    def digest(self) -> str:
        """Changes with all that changes how weights move: a checkpoint belongs to one digest.

        Folders do not count, nor how often the run saves and validates. The dataset's content is `PatchStore.digest`.
        """
        values = asdict(self)
        values["network"]["warm_start"] = [path.name for path in self.network.warm_start]
        values["loss"]["features"] = self.loss.features and self.loss.features.name
        for table, key in (("data", "dataset"), ("schedule", "save_every"), ("schedule", "validate_every")):
            del values[table][key]
        values["data"]["kernels"] = self.data.kernels or OF_PYRAMIDS
        del values["data"]["degradation"]  # and no key for it, so that runs that were begun without one go on
        if self.data.truth is None:
            del values["data"]["truth"]  # likewise
        if "degraded" in values["data"]["kernels"]:
            values["degradation"] = asdict(self.data.degradation or CAPTURE)
        # Keys are not sorted: the order of the kernels decides which of them a random number means.
        return hashlib.sha256(json.dumps(values).encode()).hexdigest()


TABLES = {
    "network": NetworkConfig,
    "data": DataConfig,
    "schedule": ScheduleConfig,
    "loss": LossConfig,
    "adversary": AdversaryConfig,
}
OPTIONAL = ("loss", "adversary")


def read_config(path: Path) -> TrainConfig:
    """A TOML file with the tables `network`, `data`, `schedule`, and perhaps `loss` and `adversary`.

    Relative paths start at the file's folder.

    Raises `ConfigError` where the file cannot be read or a key or value in it cannot be meant.
    """
    values = read_toml(path)
    data = values.get("data")
    if isinstance(data, dict) and isinstance(data.get("degradation"), str):
        values["data"] = data | {"degradation": read_degradation(path.parent / data["degradation"])}
    for name, kind in TABLES.items():
        table = values.get(name, {} if name in OPTIONAL else None)
        if not isinstance(table, dict):
            raise ConfigError(f"{path}: table [{name}] is missing")
        values[name] = made(kind, table, f"{path} [{name}]", path.parent)
    config = made(TrainConfig, values, str(path), path.parent)
    for message in _faults(config):
        raise ConfigError(f"{path}: {message}")
    return config


def _faults(config: TrainConfig) -> Iterator[str]:
    """What cannot be meant, though every value has its type."""
    data, schedule = config.data, config.schedule
    yield from _kernel_faults(data)
    if min(data.magnifications, default=1.0) <= 0:
        yield "magnifications of data must be above 0"
    if config.network.scale not in SCALES:
        yield f"scale = {config.network.scale} is not one of {', '.join(map(str, SCALES))}"
    if min(data.patch_px, data.batch) < 1:
        yield "patch_px and batch must be at least 1"
    if min(schedule.steps, schedule.validate_every, schedule.save_every) < 1:
        yield "steps, validate_every and save_every must be at least 1"
    if not 0 <= data.stain_jitter <= 1:
        yield "stain_jitter must be from 0 to 1"
    if schedule.learning_rate <= 0 or schedule.warm_up < 0:
        yield "learning_rate must be above 0 and warm_up at least 0"
    if not 1 <= schedule.accumulate <= data.batch or data.batch % schedule.accumulate:
        yield f"accumulate = {schedule.accumulate} does not divide the batch of {data.batch}"
    if schedule.trunk_rate < 0:
        yield "trunk_rate must be at least 0"
    yield from _loss_faults(config)
    if not 0 <= schedule.ema < 1:
        yield "ema must be at least 0 and below 1"
    if not 0 <= config.seed < 2**63:
        yield "seed must be at least 0 and below 2^63"
    try:
        config.network.spec((1.0, 1.0))
    except ModelError as error:
        yield str(error)


def _kernel_faults(data: DataConfig) -> Iterator[str]:
    kernels = OF_PYRAMIDS if data.kernels is None else data.kernels
    unknown = sorted(set(kernels) - set(KERNELS))
    if unknown:
        yield f"unknown kernel {unknown[0]!r}; known: {', '.join(KERNELS)}"
    if not sum(kernels.values()) > 0 <= min(kernels.values(), default=0):
        yield "kernels need shares of which none is below 0 and one is above"
    if data.degradation and "degraded" not in kernels:
        yield "degradation belongs to the kernel degraded, which has no share"


def _loss_faults(config: TrainConfig) -> Iterator[str]:
    loss, classifying = config.loss, config.network.family == CLASSIFYING
    negative = [name for name, weight in loss.weights.items() if weight < 0]
    if negative or not loss.weights:
        yield "losses need weights of which none is below 0 and one is above"
    if classifying != bool(loss.classification):
        yield f"the loss classification belongs to the family {CLASSIFYING}, which needs it above 0"
    if not loss.of_pixels and config.schedule.trunk_rate:
        yield "classification alone would spoil the trunk for pixels; set trunk_rate = 0, or a loss of pixels beside it"
    if bool(loss.perceptual) != bool(loss.features):
        yield "the loss perceptual and features, what sees for it, need each other"
    if loss.perceptual and config.data.patch_px * config.network.scale < SMALLEST_SEEN_PX:
        yield f"the loss perceptual needs patches of at least {SMALLEST_SEEN_PX} px at high resolution"
    if loss.ssim and config.data.patch_px * config.network.scale <= 2 * SSIM_REACH:
        yield f"the loss ssim needs patches of more than {2 * SSIM_REACH} px at high resolution"
    if loss.adversarial and config.data.patch_px * config.network.scale < SMALLEST_JUDGED_PX:
        yield f"the loss adversarial needs patches of at least {SMALLEST_JUDGED_PX} px at high resolution"
    adversary = config.adversary
    if adversary.judge not in JUDGES:
        yield f"judge = {adversary.judge} is not one of {', '.join(JUDGES)}"
    if not 1 <= adversary.channels <= 1024 or adversary.learning_rate <= 0 or adversary.head_start < 0:
        yield "the adversary needs 1 to 1024 channels, a learning_rate above 0 and a head_start of at least 0"
