"""The public names of wsisr: exactly these, at no cost until one is used."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import wsisr

TYPES = {
    "Advanced",
    "ArrayRequest",
    "Box",
    "FinetuneReport",
    "FinetuneRequest",
    "Finished",
    "MaskSaved",
    "ModelSpec",
    "Noted",
    "PreviewRequest",
    "Size",
    "Slide",
    "SlideInfo",
    "SlideRegion",
    "Started",
    "TrustSaved",
    "UpscaleOptions",
    "UpscaleReport",
    "UpscaleRequest",
    "UpscaleWarning",
    "Upscaler",
    "Warned",
    "WsisrError",
}

FUNCTIONS = {
    "enlarge",
    "finetune_model",
    "iterate_upscale",
    "load_upscaler",
    "open_slide",
    "preview_slide",
    "select_region",
    "upscale_region",
    "upscale_slide",
    "watch_upscale",
}

PUBLIC = TYPES | FUNCTIONS | {"__version__"}


def test_exactly_these_names_are_public() -> None:
    assert set(wsisr.__all__) == PUBLIC
    assert set(dir(wsisr)) == PUBLIC


@pytest.mark.parametrize("name", sorted(TYPES))
def test_public_types_are_classes_under_their_own_names(name: str) -> None:
    kind = getattr(wsisr, name)
    assert inspect.isclass(kind)
    assert kind.__name__ == name
    assert inspect.getdoc(kind)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_public_functions_are_annotated_and_documented(name: str) -> None:
    function = getattr(wsisr, name)
    assert inspect.isroutine(function)
    signature = inspect.signature(function)
    assert inspect.getdoc(function)
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(given.annotation is not inspect.Parameter.empty for given in signature.parameters.values())


def test_every_error_of_the_package_is_a_wsisr_error() -> None:
    from wsisr import errors

    own = {kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__}
    assert all(issubclass(kind, errors.WsisrError) for kind in own)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'wsisr' has no attribute 'upscal'"):
        _ = wsisr.upscal  # type: ignore[attr-defined]


def loaded_after(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after a statement."""
    script = f"import sys\n{statement}\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_no_library() -> None:
    assert not loaded_after("import wsisr") & {"torch", "openslide", "tifffile", "numpy", "zarr", "rich"}


def test_geometry_needs_no_library() -> None:
    assert not loaded_after("from wsisr import Box, Size, WsisrError") & {"torch", "openslide", "numpy"}


@pytest.mark.parametrize(
    "name", ["open_slide", "upscale_slide", "enlarge", "preview_slide", "iterate_upscale", "UpscaleRequest"]
)
def test_slides_and_the_main_job_need_no_torch_before_a_network_is_loaded(name: str) -> None:
    assert not loaded_after(f"from wsisr import {name}") & {"torch", "onnxruntime", "rich", "typer"}
