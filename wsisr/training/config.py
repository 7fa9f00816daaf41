"""Configuration of a training run: the TOML file holds values, this module defaults and meaning.

An unknown key is an error that lists the known ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from wsisr.config import describe_unknown_key, parse_table, read_toml
from wsisr.dataset.degradation import ARCHIVE, CAPTURE, Degradation, DegradationRound, choose_degradation
from wsisr.errors import ConfigError, ModelError, ModelNotFoundError
from wsisr.imaging.metrics import SSIM_RADIUS_PX
from wsisr.models.catalog import RUN_WEIGHTS, locate_weights
from wsisr.models.spec import CLASSIFYING_FAMILY, SCALES, ModelSpec
from wsisr.training.pixel_size_variation import PixelSizeVariation
from wsisr.training.stain_augmentation import StainVariation

MIN_DISCRIMINATOR_PX = 16
MIN_PERCEPTUAL_PX = 16
DISCRIMINATOR_NAMES = ("unet", "vgg")

WEIGHTS_KEYS = (("network", "warm_start"), ("loss", "features"))
"""Tables and keys that take weights files, and shipped models by name."""

UNDIGESTED_KEYS = (
    ("data", "dataset"),
    ("data", "processes"),
    ("schedule", "save_every"),
    ("schedule", "validate_every"),
    ("schedule", "stop_after"),
    ("schedule", "cuda_graphs"),
)
"""Tables and keys that change nothing in how weights move."""

ADDED_STEPS = ("defocus", "chroma_shift")
"""Steps of a degradation that came after the first runs were begun: left out of a digest where they are None."""

TRAINING_KERNELS = ("area", "bicubic", "lanczos", "stored", "pyramid", "scan", "archive", "degraded")
"""How the low resolution is made. `stored` takes the dataset's own: the slide's coarser level, the coarser capture, or
the simulated image; `pyramid` is its older name. `scan` and `archive` are presets of `wsisr.dataset.degradation`,
`degraded` is what the table `data.degradation` describes."""

PYRAMID_KERNELS = {"area": 0.4, "bicubic": 0.4, "pyramid": 0.2}
CAPTURE_KERNELS = {"stored": 1.0}

DATA_PRESETS: dict[str, dict[str, Any]] = {
    "archive": {
        "kernels": {"archive": 0.4, "area": 0.22, "bicubic": 0.2, "stored": 0.18},
        "truth": {
            "share": 0.5,
            "blur": {"sigma_px": [0.0, 1.2], "share": 0.7},
            "jpeg": {"qualities": [25, 95], "subsamplings": ["4:2:0", "4:4:4"]},
        },
        "stain_jitter": 0.2,
        "stain": {"density": [0.1, 1.5], "density_share": 0.5, "mixing": 0.15},
        "pixel_size": {"largest_factor": 2.0, "share": 0.3},
    },
}
"""Values of the table `data` by the name that its key `preset` gives; keys that the table has itself replace them.
`archive` is for slides as archives hold them. All numbers are ours. Truths are blurred and stored as JPEG, as scans of
0.25 um/px are: a network that saw none so soft sharpens what is soft by nature (docs/training.md)."""


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Shape of the network; see `ModelSpec`."""

    scale: int
    family: str = "masrgan"
    channels: int = 48
    blocks: int = 8
    window: int = 9
    trunk: str = ""
    """For the family `mmsrnet`: family of the network to which the classification branch is added."""
    magnifications: tuple[float, ...] = ()
    """For `mmsrnet`: the classes of its branch, such as [5, 10, 20]; 10 stands for an input of 1 um/px."""
    warm_start: tuple[Path, ...] = ()
    """Weights files, or names of shipped models, to start from: tensors whose name and shape fit are copied, such as
    those of a smaller scale or of the trunk alone. Several files start from the mean of their weights."""
    fold: bool = False
    """Fold the attention of `warm_start`, weights of a `masrgan`, into the convolutions of this network, a
    `masrgan-none`; see `wsisr.training.folding`."""
    reparameterise: bool = False
    """Train each 3x3 kernel as a sum of branches that are merged exactly; see `wsisr.training.reparameterisation`."""

    def build_spec(self, input_mpp: tuple[float, float]) -> ModelSpec:
        """Return the network's spec; `input_mpp` is the finest and coarsest pixel size of the training input, um/px."""
        shape = self.family, self.scale, self.channels, self.blocks, self.window
        return ModelSpec(*shape, input_mpp, self.trunk, self.magnifications)


@dataclass(frozen=True, slots=True)
class DataConfig:
    """The dataset of pairs and how the low resolution is made."""

    dataset: Path
    patch_px: int = 48
    """Side of a low-resolution crop."""
    batch: int = 16
    kernels: dict[str, float] | None = None
    """Maps kernels, each one of `TRAINING_KERNELS`, to their share of the samples. By default `PYRAMID_KERNELS`, or
    `CAPTURE_KERNELS` for captured or simulated pairs, whose stored low resolution is what the dataset is for."""
    stain_jitter: float = 0.0
    """Largest change of a colour channel's optical density, as a logarithm: 0.1 is 10 % up or down."""
    stain: StainVariation | None = None
    """Stains of other strength and colour, in the truth and the input alike."""
    pixel_size: PixelSizeVariation | None = None
    """Pixel sizes between those of the slides' levels."""
    truth: DegradationRound | None = None
    """Degradation of the high resolution, for its `share` of the samples, before the low resolution is made from it:
    scanners other than those of the dataset blur, sharpen and compress differently."""
    degradation: Degradation | None = None
    """What the kernel `degraded` does, as a table, or as the name of a preset or TOML file; `CAPTURE` by default."""
    processes: int = 0
    """Processes that make batches; with 0, threads do."""
    magnifications: tuple[float, ...] = ()
    """Train only on pairs whose input has one of these magnifications, such as [10]; on all by default."""


@dataclass(frozen=True, slots=True)
class ScheduleConfig:
    """Number of steps, learning rate and how often the run is validated and saved."""

    steps: int
    """Steps over which the learning rate runs its course; 0 only takes the warm start, such as a mean, as it is."""
    stop_after: int = 0
    """Ends the run after this many steps, in the middle of the learning rate's course; 0 after all `steps`."""
    learning_rate: float = 1e-3
    warm_up: int = 200
    """Steps over which the rate rises linearly from 0; then it falls to 0 along a cosine."""
    accumulate: int = 1
    """Parts of a batch computed one after the other, if the whole batch does not fit into memory."""
    trunk_rate: float = 1.0
    """For an `mmsrnet`: learning rate of its trunk divided by that of its branch. 0 freezes the trunk, so that no pixel
    loss is needed."""
    ema: float = 0.999
    """Decay of the moving average of the weights; the average is what is validated and saved."""
    cuda_graphs: bool = False
    """On a CUDA GPU, record the training step once and replay it; see `wsisr.training.cuda_graphs`. The run says so if
    that is impossible."""
    validate_every: int = 500
    save_every: int = 100

    @property
    def last_step(self) -> int:
        """Number of steps after which the run is finished."""
        return min(self.steps, self.stop_after or self.steps)


@dataclass(frozen=True, slots=True)
class LossConfig:
    """Weight of each loss in `wsisr.training.losses`; 0 leaves it out."""

    l1: float = 1.0
    charbonnier: float = 0.0
    ssim: float = 0.0
    fourier: float = 0.0
    consistency: float = 0.0
    classification: float = 0.0
    """Cross-entropy of the magnification; the family `mmsrnet` needs it, other families have none."""
    perceptual: float = 0.0
    """Distance in the feature space of `features`, which it needs."""
    adversarial: float = 0.0
    """Trains a discriminator against the network; see the table `adversary`."""
    features: Path | None = None
    """Feature network of the perceptual loss: weights of an `mmsrnet`, or torchvision's VGG19 file, vgg19-*.pth."""

    @property
    def weights(self) -> dict[str, float]:
        """Names of the losses whose weight is not 0, with their weights."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "features"}
        return {name: weight for name, weight in values.items() if weight}

    @property
    def trains_pixels(self) -> bool:
        """Whether any loss compares pixels; otherwise only the branch of an `mmsrnet` learns."""
        return set(self.weights) != {"classification"}


@dataclass(frozen=True, slots=True)
class AdversaryConfig:
    """The discriminator, used if the adversarial loss has a weight."""

    channels: int = 32
    learning_rate: float = 1e-4
    head_start: int = 0
    """Steps in which only the discriminator learns: an untrained one misleads the network."""
    judge: str = "unet"
    """`unet`, with one logit a pixel, or `vgg`, with one logit a patch."""


@dataclass(frozen=True, slots=True)
class ResultConfig:
    """The weights that a run is made for; a later stage of the recipe starts from them."""

    weights: str = "best"
    """`best`, those of the best validation, or `last`, those after the last step, which no validation chose."""
    half: bool = False
    """Save weights rounded to half precision."""


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """A whole training run."""

    network: NetworkConfig
    data: DataConfig
    schedule: ScheduleConfig
    loss: LossConfig = field(default_factory=LossConfig)
    adversary: AdversaryConfig = field(default_factory=AdversaryConfig)
    result: ResultConfig = field(default_factory=ResultConfig)
    seed: int = 0

    def compute_digest(self, start_digests: Sequence[str] = ()) -> str:
        """Return a hash of everything that changes the trained weights; a checkpoint belongs to one digest.

        `start_digests` are those of the stages that the run starts from. Leaves out folders, when the run saves,
        validates and ends, and which weights are its result. `PatchStore.digest` covers the dataset's content.
        """
        values = asdict(self)
        values["network"]["warm_start"] = [path.name for path in self.network.warm_start]
        values["loss"]["features"] = self.loss.features and self.loss.features.name
        for table, key in UNDIGESTED_KEYS:
            del values[table][key]
        values["data"]["kernels"] = self.data.kernels or PYRAMID_KERNELS
        del values["result"], values["data"]["degradation"]
        # Keys that were added later are left out at their default, so that runs begun before can resume.
        for key in ("truth", "stain", "pixel_size"):
            if values["data"][key] is None:
                del values["data"][key]
        for key in ("fold", "reparameterise"):
            if not values["network"][key]:
                del values["network"][key]
        if start_digests:
            values["start"] = list(start_digests)
        if "degraded" in values["data"]["kernels"]:
            values["degradation"] = asdict(self.data.degradation or CAPTURE)
        if "archive" in values["data"]["kernels"]:
            values["archive"] = asdict(ARCHIVE)
        values = _without_added_steps(values)
        # Keys are not sorted: the order of the kernels decides which kernel a random number selects.
        return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _without_added_steps(values: dict[str, Any]) -> dict[str, Any]:
    """Return nested values without those of `ADDED_STEPS` that are None."""
    nested = {key: _without_added_steps(value) if isinstance(value, dict) else value for key, value in values.items()}
    return {key: value for key, value in nested.items() if key not in ADDED_STEPS or value is not None}


CONFIG_TABLES: dict[str, type] = {
    "network": NetworkConfig,
    "data": DataConfig,
    "schedule": ScheduleConfig,
    "loss": LossConfig,
    "adversary": AdversaryConfig,
    "result": ResultConfig,
}
OPTIONAL_TABLES = ("loss", "adversary", "result")


def read_train_config(path: Path) -> TrainConfig:
    """Read a recipe of one stage: a TOML file with the tables `CONFIG_TABLES`; see also `stages.read_recipe`.

    Relative paths start at the file's folder.

    Raises `ConfigError` if the file cannot be read or a key or value in it is invalid.
    """
    return parse_train_config(read_toml(path), str(path), path.parent)


def parse_train_config(values: dict[str, Any], where: str, folder: Path) -> TrainConfig:
    """Parse the tables of one stage. Raises `ConfigError` that begins with `where`."""
    known = [item.name for item in fields(TrainConfig)]
    for key in sorted(set(values) - set(known)):  # before a table counts as missing whose name is mistyped
        raise ConfigError(f"{where}: {describe_unknown_key(key, known)}")
    data = values.get("data")
    if isinstance(data, dict):
        values = values | {"data": resolve_data_names(data, f"{where} [data]", folder)}
    values = values | _locate_named_weights(values, where, folder)
    tables: dict[str, Any] = {}
    for name, kind in CONFIG_TABLES.items():
        table = values.get(name, {} if name in OPTIONAL_TABLES else None)
        if not isinstance(table, dict):
            raise ConfigError(f"{where}: table [{name}] is missing")
        tables[name] = parse_table(kind, table, f"{where} [{name}]", folder)
    config = parse_table(TrainConfig, values | tables, where, folder)
    for message in _find_faults(config):
        raise ConfigError(f"{where}: {message}")
    return config


def resolve_data_names(data: dict[str, Any], where: str, folder: Path) -> dict[str, Any]:
    """Return the table with the values of its preset, and with the degradation that it names."""
    name = data.get("preset")
    if name is not None and name not in DATA_PRESETS:
        raise ConfigError(f"{where}: unknown preset {name!r}; known: {', '.join(DATA_PRESETS)}")
    preset = {} if name is None else DATA_PRESETS[name]
    values = preset | {key: value for key, value in data.items() if key != "preset"}
    if isinstance(values.get("degradation"), str):
        values["degradation"] = choose_degradation(values["degradation"], folder)
    return values


def _locate_named_weights(values: dict[str, Any], where: str, folder: Path) -> dict[str, Any]:
    """Return the tables that name weights, with the path in place of each name of a shipped model."""
    located: dict[str, Any] = {}
    for table, key in WEIGHTS_KEYS:
        content = values.get(table)
        if not isinstance(content, dict):
            continue
        words: Any = content.get(key)
        listed: list[Any] = words if isinstance(words, list) else [words]
        if not all(isinstance(word, str) for word in listed):
            continue  # what is wrong with it is said where it is parsed
        try:
            paths = [str(locate_weights(word, folder)) for word in listed]
        except ModelNotFoundError as error:
            raise ConfigError(f"{where} [{table}]: {key}: {error}") from error
        located[table] = content | {key: paths if isinstance(words, list) else paths[0]}
    return located


def _find_faults(config: TrainConfig) -> Iterator[str]:
    """Yield a message for each value that is invalid although its type is right."""
    data = config.data
    yield from _find_kernel_faults(data)
    if min(data.magnifications, default=1.0) <= 0:
        yield "magnifications of data must be above 0"
    if config.network.scale not in SCALES:
        yield f"scale = {config.network.scale} is not one of {', '.join(map(str, SCALES))}"
    if min(data.patch_px, data.batch) < 1 or data.processes < 0:
        yield "patch_px and batch must be at least 1, processes at least 0"
    if config.network.fold and not config.network.warm_start:
        yield "fold needs a warm_start, whose attention is folded"
    if config.result.weights not in RUN_WEIGHTS:
        yield f"weights = {config.result.weights} is not one of {', '.join(RUN_WEIGHTS)}"
    if not 0 <= data.stain_jitter <= 1:
        yield "stain_jitter must be from 0 to 1"
    yield from _find_schedule_faults(config)
    yield from _find_loss_faults(config)
    if not 0 <= config.seed < 2**63:
        yield "seed must be at least 0 and below 2^63"
    try:
        config.network.build_spec((1.0, 1.0))
    except ModelError as error:
        yield str(error)


def _find_schedule_faults(config: TrainConfig) -> Iterator[str]:
    data, schedule = config.data, config.schedule
    least_steps = 0 if config.network.warm_start else 1
    if schedule.steps < least_steps or min(schedule.validate_every, schedule.save_every) < 1:
        yield "steps, validate_every and save_every must be at least 1; with a warm_start, steps may be 0"
    if schedule.stop_after < 0:
        yield "stop_after must be at least 0"
    if schedule.learning_rate <= 0 or schedule.warm_up < 0:
        yield "learning_rate must be above 0 and warm_up at least 0"
    if not 1 <= schedule.accumulate <= data.batch or data.batch % schedule.accumulate:
        yield f"accumulate = {schedule.accumulate} does not divide the batch of {data.batch}"
    if schedule.trunk_rate < 0:
        yield "trunk_rate must be at least 0"
    if config.network.reparameterise and not schedule.trunk_rate:
        yield "reparameterise is for a trunk that learns; set trunk_rate above 0, or reparameterise = false"
    if not 0 <= schedule.ema < 1:
        yield "ema must be at least 0 and below 1"


def _find_kernel_faults(data: DataConfig) -> Iterator[str]:
    kernels = PYRAMID_KERNELS if data.kernels is None else data.kernels
    unknown = sorted(set(kernels) - set(TRAINING_KERNELS))
    if unknown:
        yield f"unknown kernel {unknown[0]!r}; known: {', '.join(TRAINING_KERNELS)}"
    if not sum(kernels.values()) > 0 <= min(kernels.values(), default=0):
        yield "the shares of kernels must be at least 0, and one of them above 0"
    if data.degradation and "degraded" not in kernels:
        yield "degradation belongs to the kernel degraded, which has no share"


def _find_loss_faults(config: TrainConfig) -> Iterator[str]:
    loss, classifying = config.loss, config.network.family == CLASSIFYING_FAMILY
    negative = [name for name, weight in loss.weights.items() if weight < 0]
    if negative or not loss.weights:
        yield "losses need weights of which none is below 0 and one is above"
    if classifying != bool(loss.classification):
        yield f"the loss classification belongs to the family {CLASSIFYING_FAMILY}, which needs it above 0"
    if not loss.trains_pixels and config.schedule.trunk_rate:
        yield "classification alone would spoil the trunk's pixels; set trunk_rate = 0, or add a loss of pixels"
    if bool(loss.perceptual) != bool(loss.features):
        yield "the perceptual loss needs `features`, and `features` needs the perceptual loss"
    if loss.perceptual and config.data.patch_px * config.network.scale < MIN_PERCEPTUAL_PX:
        yield f"the loss perceptual needs patches of at least {MIN_PERCEPTUAL_PX} px at high resolution"
    if loss.ssim and config.data.patch_px * config.network.scale <= 2 * SSIM_RADIUS_PX:
        yield f"the loss ssim needs patches of more than {2 * SSIM_RADIUS_PX} px at high resolution"
    if loss.adversarial and config.data.patch_px * config.network.scale < MIN_DISCRIMINATOR_PX:
        yield f"the loss adversarial needs patches of at least {MIN_DISCRIMINATOR_PX} px at high resolution"
    adversary = config.adversary
    if adversary.judge not in DISCRIMINATOR_NAMES:
        yield f"judge = {adversary.judge} is not one of {', '.join(DISCRIMINATOR_NAMES)}"
    if not 1 <= adversary.channels <= 1024 or adversary.learning_rate <= 0 or adversary.head_start < 0:
        yield "the adversary needs 1 to 1024 channels, a learning_rate above 0 and a head_start of at least 0"
