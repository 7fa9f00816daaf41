"""Configuration of a training run: meaning and defaults of the values that its TOML file holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from wsisr.dataset.degradation import ARCHIVE, CAPTURE, Degradation, DegradationRound
from wsisr.models.spec import ModelSpec
from wsisr.training.pixel_size_variation import PixelSizeVariation
from wsisr.training.stain_augmentation import StainVariation

DISCRIMINATOR_NAMES = ("unet", "vgg")

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
