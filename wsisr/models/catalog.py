"""The models that ship with wsisr: `weights/NAME.safetensors`, each with its card `NAME.md` and recipe `NAME.toml`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from wsisr.errors import ModelError
from wsisr.models.spec import CLASSIFYING, SCALES, ModelSpec
from wsisr.models.weights_header import spec_in

FILTERS = ("bicubic", "lanczos")
"""Names that mean a filter, not a network."""


PICKLES = (".pth", ".pt", ".ckpt", ".bin", ".pkl")
"""Suffixes under which weights are pickled."""

TWIN = "-gan"
"""What is added to a model's name for its twin: the same network, trained on to look crisp."""

FAST, BEST = "-fast", "-best"
"""What is added to a model's name for a smaller network, for a CPU, and for a larger one, for a GPU."""


@dataclass(frozen=True, slots=True)
class Model:
    """A weights file and what it says of itself."""

    name: str
    path: Path
    spec: ModelSpec

    @property
    def asked_for(self) -> bool:
        """Whether only its name chooses it: a twin is crisp instead of true, a fast one less true, a best one slow."""
        return self.name.endswith((TWIN, FAST, BEST))

    @property
    def twin(self) -> Path:
        """Where its twin would be."""
        return self.path.with_name(f"{self.path.stem}{TWIN}.safetensors")


def weights_folder() -> Path:
    """Where the shipped weights are: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    installed, checkout = package / "weights", package.parent / "weights"
    return installed if installed.is_dir() else checkout


def shipped() -> list[Model]:
    """All shipped models, by name."""
    return [described(path) for path in sorted(weights_folder().glob("*.safetensors"))]


def described(path: Path) -> Model:
    """A weights file as a model, shipped or not."""
    return Model(path.stem, path, spec_in(path))


def find(model: str | Path, files: str = ".safetensors") -> Model:
    """A model by the name of a shipped one, or by the path of a weights file. Raises `ModelError`.

    `files` is what the error says of files that are taken.
    """
    for candidate in shipped():
        if candidate.name == str(model):
            return candidate
    if str(model) in FILTERS:
        raise ModelError(f"{model}: a filter, which has no weights; give a network")
    if Path(model).suffix.lower() in PICKLES:
        raise ModelError(f"{model}: a pickle, which could run any code; save its tensors as .safetensors elsewhere")
    if Path(model).suffix != ".safetensors":
        names = [*FILTERS, *(candidate.name for candidate in shipped())]
        alike = get_close_matches(str(model), names)
        known = f"{' or '.join(alike)} may be meant" if alike else f"there are {', '.join(names)}"
        raise ModelError(f"no model is called {str(model)!r}; {known}, or give a {files} file (see wsisr models)")
    return described(Path(model))


def best_for(scale: int, mpp: float | None) -> Model:
    """The shipped model that is taken where none is named; see `best_among`."""
    return best_among(shipped(), scale, mpp)


def best_among(models: Sequence[Model], scale: int, mpp: float | None) -> Model:
    """The model of that scale whose trained pixel pitches are nearest to `mpp`, in um/px of the input.

    Of alike ones the one that also tells magnifications apart, for it warns of a wrong pitch; then the first by name.
    Twins, fast and best ones have to be asked for by name. Raises `ModelError` if none has that scale.
    """
    fitting = [model for model in models if model.spec.scale == scale and not model.asked_for]
    if not fitting:
        scales = ", ".join(str(scale) for scale in sorted({model.spec.scale for model in models}))
        raise ModelError(f"no shipped model has scale {scale}; there are scales {scales}, and --model takes a file")
    return min(fitting, key=lambda model: (model.spec.misfit(mpp), model.spec.family != CLASSIFYING, model.name))


def scale_for(mpp: float | None, model: str | None = None) -> int:
    """That of a shipped model by its name; else the largest whose default was trained on a pixel pitch, in um/px.

    Where none was, the one whose pitches are nearest.
    """
    named = [each.spec.scale for each in shipped() if each.name == model]

    def misfit(scale: int) -> float:
        spec = best_for(scale, mpp).spec
        return 0.0 if mpp is None or spec.covers(mpp) else spec.misfit(mpp)

    return named[0] if named else min(reversed(SCALES), key=misfit)


def purpose(model: Model, models: Sequence[Model]) -> str:
    """What one of the models is for, in a few words."""
    if model.name.endswith(TWIN):
        return f"--perception of {model.name.removesuffix(TWIN)}: crisp, less true"
    if model.name.endswith(FAST):
        return "speed on a CPU, when named"
    if model.name.endswith(BEST):
        return "least error, for a GPU, when named"
    wanted = "the default" if best_among(models, model.spec.scale, None) == model else "mix-attention, when named"
    return f"{wanted}; may warn of a wrong pitch" if model.spec.family == CLASSIFYING else wanted


def twin_of(model: Model) -> Model:
    """What lies beside a weights file under its name and `TWIN`. Raises `ModelError` where that is nothing."""
    if not model.twin.is_file():
        raise ModelError(
            f"{model.name} has no twin to look crisp, {model.twin} is missing; train one from it with the adversarial "
            "loss, or leave --perception out"
        )
    return described(model.twin)


def pick(model: str | Path | None, scale: int, mpp: float | None) -> Model | None:
    """What `--model` means: a model of that scale, the best shipped one if not named, None for a filter's name.

    Raises `ModelError` if there is no such model or it has another scale.
    """
    if model in FILTERS:
        return None
    chosen = best_for(scale, mpp) if model is None else find(model, ".safetensors or .onnx")
    refuse_other_scale(chosen.name, chosen.spec.scale, scale)
    return chosen


def refuse_other_scale(name: str, own: int, scale: int) -> None:
    """Raises `ModelError` where a model does not enlarge as asked."""
    if own != scale:
        raise ModelError(f"{name} enlarges by {own}, not by {scale}; choose another model or scale")
