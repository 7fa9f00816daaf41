"""What is wrong with a configuration of a training whose values are of the right types."""

from __future__ import annotations

from collections.abc import Iterator

from wsisr.errors import ModelError
from wsisr.imaging.metrics import SSIM_RADIUS_PX
from wsisr.models.catalog import RUN_WEIGHTS
from wsisr.models.spec import CLASSIFYING_FAMILY, SCALES
from wsisr.training.config import DISCRIMINATOR_NAMES, PYRAMID_KERNELS, TRAINING_KERNELS, DataConfig, TrainConfig

MIN_DISCRIMINATOR_PX = 16
MIN_PERCEPTUAL_PX = 16


def find_config_faults(config: TrainConfig) -> Iterator[str]:
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
