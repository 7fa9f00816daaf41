"""The models that ship with wsisr: `weights/NAME.safetensors`, each with its card `NAME.md` and recipe `NAME.toml`."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from wsisr.errors import ModelError, ModelNotFoundError, OptionError
from wsisr.models.spec import CLASSIFYING_FAMILY, SCALES, ModelSpec
from wsisr.models.weights_header import read_model_spec

FILTER_MODELS = ("bicubic", "lanczos")
"""Names of models that are filters, not networks."""

PICKLE_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".pkl")
"""Suffixes of files that hold pickled weights."""

RUN_WEIGHTS = ("best", "last")
"""Stems of the weights files in the folder of a training run."""

RUN_LOG = "metrics.jsonl"
"""The log of a training run, by which its folder is known."""

GAN_SUFFIX = "-gan"
"""Suffix of the name of a GAN variant: the same network, trained further with the adversarial loss to look crisp."""

FAST_SUFFIX, BEST_SUFFIX = "-fast", "-best"
"""Suffixes of the names of a smaller network, for a CPU, and of a larger one, for a GPU."""


@dataclass(frozen=True, slots=True)
class Model:
    """A weights file and the spec in its header."""

    name: str
    path: Path
    spec: ModelSpec

    @property
    def is_opt_in(self) -> bool:
        """Whether it is never the default: GAN variants and fast models are less true, best models are slow."""
        return self.name.endswith((GAN_SUFFIX, FAST_SUFFIX, BEST_SUFFIX))

    @property
    def gan_variant_path(self) -> Path:
        """Path at which its GAN variant lies, if there is one."""
        return self.path.with_name(f"{self.path.stem}{GAN_SUFFIX}.safetensors")


def find_weights_folder() -> Path:
    """Return the folder of the shipped weights: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    installed, checkout = package / "weights", package.parent / "weights"
    return installed if installed.is_dir() else checkout


def list_shipped_models() -> list[Model]:
    """Return all shipped models, sorted by name."""
    return [read_model(path) for path in _list_shipped_files()]


def list_model_names() -> list[str]:
    """Return what `--model` takes by name: the filters and the shipped models. No file is read."""
    return [*FILTER_MODELS, *(path.stem for path in _list_shipped_files())]


def _list_shipped_files() -> list[Path]:
    return sorted(find_weights_folder().glob("*.safetensors"))


def list_weights_files(model: str | Path | None) -> list[Path]:
    """Return the weights files that a model may mean: the file at a path, else all that ship."""
    shipped = _list_shipped_files()
    return shipped if model is None or str(model) in {path.stem for path in shipped} else [Path(model)]


def read_model(path: Path) -> Model:
    """Read the header of a weights file, shipped or not. Raises `ModelError`."""
    return Model(derive_model_name(path), path, read_model_spec(path))


def derive_model_name(path: Path) -> str:
    """Return the name of a weights file's model: the file's, or that of the training run in whose folder it lies.

    `runs/mine/best.safetensors` is `mine`, `runs/mine/stage-2/last.safetensors` is `mine-stage-2-last`. Moved out of
    the folder of its run, a file is called as it is named.
    """
    if path.stem not in RUN_WEIGHTS or not path.with_name(RUN_LOG).is_file():
        return path.stem
    folder = path.resolve().parent
    is_stage = re.fullmatch(r"stage-\d+", folder.name) is not None
    words = [folder.parent.name, folder.name] if is_stage else [folder.name]
    return "-".join([*filter(None, words), *(["last"] if path.stem == "last" else [])])


def locate_weights(word: str, folder: Path) -> Path:
    """Return the file of a shipped model by its name, else the path that `word` is, relative to `folder`.

    Raises `ModelNotFoundError`, which lists the names, for a word that is neither such a name nor a file.
    """
    shipped = {path.stem: path for path in _list_shipped_files()}
    path = (folder / word).resolve()
    if word in shipped:
        return shipped[word]
    if Path(word).name == word and not Path(word).suffix and not os.path.isfile(path):  # noqa: PTH113 - of any length
        similar = get_close_matches(word, shipped)
        names = f"similar names: {', '.join(similar)}" if similar else f"choose from {', '.join(shipped)}"
        raise ModelNotFoundError(f"no model is called {word[:80]!r}; {names}, or give a .safetensors file")
    return path


def find_model(model: str | Path, accepted_files: str = ".safetensors", other_names: Sequence[str] = ()) -> Model:
    """Find a shipped model by its name, or read the weights file at a path. Raises `ModelError`.

    The error message names the suffixes `accepted_files`, and `other_names` beside the shipped models.
    """
    shipped = {path.stem: path for path in _list_shipped_files()}
    if str(model) in shipped:
        return read_model(shipped[str(model)])
    if str(model) in FILTER_MODELS:
        raise ModelError(f"{model} is a filter without weights; give a network")
    if Path(model).suffix.lower() in PICKLE_SUFFIXES:
        raise ModelError(f"{model}: a pickle, which could run any code; save its tensors as .safetensors")
    if Path(model).suffix != ".safetensors":
        names = [*other_names, *shipped]
        similar = get_close_matches(str(model), names)
        proposal = f"similar names: {', '.join(similar)}" if similar else f"choose from {', '.join(names)}"
        raise ModelNotFoundError(
            f"no model is called {str(model)!r}; {proposal}, or give a {accepted_files} file (see wsisr models)"
        )
    return read_model(Path(model))


def choose_default_model(scale: int, mpp: float | None) -> Model:
    """Return the shipped model that is used if the user names none; see `choose_default_among`."""
    return choose_default_among(list_shipped_models(), scale, mpp)


def choose_default_among(models: Sequence[Model], scale: int, mpp: float | None) -> Model:
    """Return the model of that scale whose training range of pixel sizes is nearest to `mpp`, in um/px of the input.

    Among equally near ones, a model that classifies magnifications comes first, because it warns of a wrong pixel size;
    then the first by name. Opt-in models are left out. Raises `ModelError` if no model has that scale.
    """
    candidates = [model for model in models if model.spec.scale == scale and not model.is_opt_in]
    if not candidates:
        scales = ", ".join(str(scale) for scale in sorted({model.spec.scale for model in models}))
        raise ModelError(f"no shipped model has scale {scale}; choose from {scales}, or give a file with --model")

    def rank(model: Model) -> tuple[float, bool, str]:
        return model.spec.mpp_misfit(mpp), model.spec.family != CLASSIFYING_FAMILY, model.name

    return min(candidates, key=rank)


def choose_default_scale(mpp: float | None, model: str | None = None) -> int:
    """Return the scale of a shipped model, given its name; else the largest scale whose default model fits `mpp`.

    `mpp` is in um/px of the input. If no model was trained on it, the scale of the model with the nearest range wins.
    """
    named_scales = [shipped.spec.scale for shipped in list_shipped_models() if shipped.name == model]

    def misfit(scale: int) -> float:
        spec = choose_default_model(scale, mpp).spec
        return 0.0 if mpp is None or spec.covers_mpp(mpp) else spec.mpp_misfit(mpp)

    return named_scales[0] if named_scales else min(reversed(SCALES), key=misfit)


def describe_purpose(model: Model, models: Sequence[Model]) -> str:
    """Return in a few words when to use a model, one of `models`."""
    if model.name.endswith(GAN_SUFFIX):
        return f"--perception of {model.name.removesuffix(GAN_SUFFIX)}: crisp, less true"
    if model.name.endswith(FAST_SUFFIX):
        return "speed on a CPU, when named"
    if model.name.endswith(BEST_SUFFIX):
        return "least error, for a GPU, when named"
    is_default = choose_default_among(models, model.spec.scale, None) == model
    purpose = "the default" if is_default else "mix-attention, when named"
    return f"{purpose}; may warn of a wrong pixel size" if model.spec.family == CLASSIFYING_FAMILY else purpose


def read_gan_variant(model: Model) -> Model:
    """Read the GAN variant that lies beside a weights file. Raises `OptionError` if there is none."""
    path = model.gan_variant_path
    if not path.is_file():
        advice = "train one from it with the adversarial loss, or leave --perception out"
        raise OptionError(f"{model.name} has no GAN variant, {path} is missing; {advice}", option="--perception")
    return read_model(path)


def resolve_model(model: str | Path | None, scale: int, mpp: float | None) -> Model | None:
    """Return the model that `--model` names, or the default one if it names none; None for a filter.

    Raises `ModelError` if there is no such model or it has another scale.
    """
    if model in FILTER_MODELS:
        return None
    chosen = (
        choose_default_model(scale, mpp) if model is None else find_model(model, ".safetensors or .onnx", FILTER_MODELS)
    )
    check_model_scale(chosen.name, chosen.spec.scale, scale)
    return chosen


def check_model_scale(name: str, model_scale: int, wanted_scale: int) -> None:
    """Raise `ModelError` if a model has another scale than the wanted one."""
    if model_scale != wanted_scale:
        reason = f"{name} enlarges by {model_scale}, not by {wanted_scale}; choose another model or scale"
        raise OptionError(reason, option="--model")
