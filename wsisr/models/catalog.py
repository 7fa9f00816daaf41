"""The models that ship with wsisr: `weights/NAME.safetensors`, each with its card `NAME.md` and recipe `NAME.toml`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from wsisr.errors import ModelError
from wsisr.models.spec import CLASSIFYING_FAMILY, SCALES, ModelSpec
from wsisr.models.weights_header import read_model_spec

FILTER_MODELS = ("bicubic", "lanczos")
"""Names that mean a filter, not a network."""


PICKLE_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".pkl")
"""Suffixes under which weights are pickled."""

GAN_SUFFIX = "-gan"
"""What is added to a model's name for its twin: the same network, trained on to look crisp."""

FAST_SUFFIX, BEST_SUFFIX = "-fast", "-best"
"""What is added to a model's name for a smaller network, for a CPU, and for a larger one, for a GPU."""


@dataclass(frozen=True, slots=True)
class Model:
    """A weights file and what it says of itself."""

    name: str
    path: Path
    spec: ModelSpec

    @property
    def is_opt_in(self) -> bool:
        """Whether only its name chooses it: a twin is crisp instead of true, a fast one less true, a best one slow."""
        return self.name.endswith((GAN_SUFFIX, FAST_SUFFIX, BEST_SUFFIX))

    @property
    def gan_variant_path(self) -> Path:
        """Where its twin would be."""
        return self.path.with_name(f"{self.path.stem}{GAN_SUFFIX}.safetensors")


def find_weights_folder() -> Path:
    """Where the shipped weights are: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    installed, checkout = package / "weights", package.parent / "weights"
    return installed if installed.is_dir() else checkout


def list_shipped_models() -> list[Model]:
    """All shipped models, by name."""
    return [read_model(path) for path in sorted(find_weights_folder().glob("*.safetensors"))]


def read_model(path: Path) -> Model:
    """A weights file as a model, shipped or not."""
    return Model(path.stem, path, read_model_spec(path))


def find_model(model: str | Path, accepted_files: str = ".safetensors") -> Model:
    """A model by the name of a shipped one, or by the path of a weights file. Raises `ModelError`.

    `files` is what the error says of files that are taken.
    """
    for candidate in list_shipped_models():
        if candidate.name == str(model):
            return candidate
    if str(model) in FILTER_MODELS:
        raise ModelError(f"{model}: a filter, which has no weights; give a network")
    if Path(model).suffix.lower() in PICKLE_SUFFIXES:
        raise ModelError(f"{model}: a pickle, which could run any code; save its tensors as .safetensors elsewhere")
    if Path(model).suffix != ".safetensors":
        names = [*FILTER_MODELS, *(candidate.name for candidate in list_shipped_models())]
        alike = get_close_matches(str(model), names)
        known = f"{' or '.join(alike)} may be meant" if alike else f"there are {', '.join(names)}"
        raise ModelError(
            f"no model is called {str(model)!r}; {known}, or give a {accepted_files} file (see wsisr models)"
        )
    return read_model(Path(model))


def choose_default_model(scale: int, mpp: float | None) -> Model:
    """The shipped model that is taken where none is named; see `best_among`."""
    return choose_default_among(list_shipped_models(), scale, mpp)


def choose_default_among(models: Sequence[Model], scale: int, mpp: float | None) -> Model:
    """The model of that scale whose trained pixel pitches are nearest to `mpp`, in um/px of the input.

    Of alike ones the one that also tells magnifications apart, for it warns of a wrong pitch; then the first by name.
    Twins, fast and best ones have to be asked for by name. Raises `ModelError` if none has that scale.
    """
    fitting = [model for model in models if model.spec.scale == scale and not model.is_opt_in]
    if not fitting:
        scales = ", ".join(str(scale) for scale in sorted({model.spec.scale for model in models}))
        raise ModelError(f"no shipped model has scale {scale}; there are scales {scales}, and --model takes a file")
    return min(
        fitting, key=lambda model: (model.spec.mpp_misfit(mpp), model.spec.family != CLASSIFYING_FAMILY, model.name)
    )


def choose_default_scale(mpp: float | None, model: str | None = None) -> int:
    """That of a shipped model by its name; else the largest whose default was trained on a pixel pitch, in um/px.

    Where none was, the one whose pitches are nearest.
    """
    named = [each.spec.scale for each in list_shipped_models() if each.name == model]

    def misfit(scale: int) -> float:
        spec = choose_default_model(scale, mpp).spec
        return 0.0 if mpp is None or spec.covers_mpp(mpp) else spec.mpp_misfit(mpp)

    return named[0] if named else min(reversed(SCALES), key=misfit)


def describe_purpose(model: Model, models: Sequence[Model]) -> str:
    """What one of the models is for, in a few words."""
    if model.name.endswith(GAN_SUFFIX):
        return f"--perception of {model.name.removesuffix(GAN_SUFFIX)}: crisp, less true"
    if model.name.endswith(FAST_SUFFIX):
        return "speed on a CPU, when named"
    if model.name.endswith(BEST_SUFFIX):
        return "least error, for a GPU, when named"
    wanted = (
        "the default" if choose_default_among(models, model.spec.scale, None) == model else "mix-attention, when named"
    )
    return f"{wanted}; may warn of a wrong pitch" if model.spec.family == CLASSIFYING_FAMILY else wanted


def read_gan_variant(model: Model) -> Model:
    """What lies beside a weights file under its name and `TWIN`. Raises `ModelError` where that is nothing."""
    if not model.gan_variant_path.is_file():
        raise ModelError(
            f"{model.name} has no twin to look crisp, {model.gan_variant_path} is missing; train one from it with the adversarial "
            "loss, or leave --perception out"
        )
    return read_model(model.gan_variant_path)


def resolve_model(model: str | Path | None, scale: int, mpp: float | None) -> Model | None:
    """What `--model` means: a model of that scale, the best shipped one if not named, None for a filter's name.

    Raises `ModelError` if there is no such model or it has another scale.
    """
    if model in FILTER_MODELS:
        return None
    chosen = choose_default_model(scale, mpp) if model is None else find_model(model, ".safetensors or .onnx")
    check_model_scale(chosen.name, chosen.spec.scale, scale)
    return chosen


def check_model_scale(name: str, model_scale: int, wanted_scale: int) -> None:
    """Raises `ModelError` where a model does not enlarge as asked."""
    if model_scale != wanted_scale:
        raise ModelError(f"{name} enlarges by {model_scale}, not by {wanted_scale}; choose another model or scale")
