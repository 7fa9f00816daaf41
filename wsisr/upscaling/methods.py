"""Methods paragraph: how a result was made, from the metadata that it stores, ready for a paper or a data sheet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from wsisr.errors import SlideError
from wsisr.upscaling.provenance import SOURCE_KEY, UNREADABLE_KEY
from wsisr.writing import read_metadata

DERIVED_STATEMENT = (
    "This image is derived: its pixels were computed from a scanned slide. Structures finer than the pixels of the "
    "scan are an estimate, not an observation. For research use only, not for diagnosis."
)

RESAMPLED_STATEMENT = (
    "This image is derived: its pixels were computed from a scanned slide by plain resampling, which adds no detail. "
    "For research use only, not for diagnosis."
)

NO_WEIGHTS = "none"
"""What a result records for the weights of a filter."""


def read_methods(path: Path) -> str:
    """Return the paragraph of a result. Raises `SlideError` for a file that wsisr did not write."""
    metadata = read_metadata(path)
    if not metadata:
        raise SlideError(
            f"{path}: wsisr did not write it, so it does not say how it was made; give a result of upscale"
        )
    return describe_methods(metadata)


def describe_methods(metadata: Mapping[str, str]) -> str:
    """Return the paragraph of a result, given its metadata; it leaves out what these do not hold."""
    sentences = [
        _describe_enlargement(metadata),
        _describe_source(metadata),
        *_describe_treatment(metadata),
        _describe_storage(metadata),
        choose_statement(metadata),
    ]
    return " ".join(filter(None, sentences))


def choose_statement(metadata: Mapping[str, str]) -> str:
    """Return what every reader must know of a result: a network's detail is an estimate, resampling adds none."""
    return DERIVED_STATEMENT if uses_network(metadata) else RESAMPLED_STATEMENT


def uses_network(metadata: Mapping[str, str]) -> bool:
    return metadata.get("weights sha256", NO_WEIGHTS) != NO_WEIGHTS


def _describe_enlargement(metadata: Mapping[str, str]) -> str:
    software, scale = metadata.get("software", "wsisr"), metadata.get("scale", "1")
    sizes = _describe_pixel_sizes(metadata)
    if scale == "1":
        return f"The slide was resampled {sizes} with {software}, without a network."
    if not uses_network(metadata):
        return (
            f"The slide was enlarged {scale} times along each axis, {sizes}, by {_name_model(metadata)} ({software})."
        )
    blend = f", with {metadata['perception']}" if "perception" in metadata else ""
    return (
        f"The slide was enlarged {scale} times along each axis, {sizes}, by super-resolution with the network "
        f"{_name_model(metadata)} of {software} (SHA-256 of its weights {metadata['weights sha256']}{blend}), computed "
        f"{metadata.get('computed', 'on an unknown device')}."
    )


def _name_model(metadata: Mapping[str, str]) -> str:
    return metadata.get("model", "an unknown model")


def _describe_pixel_sizes(metadata: Mapping[str, str]) -> str:
    return f"from {metadata.get('source mpp', 'unknown')} to {metadata.get('mpp', 'unknown')} um/px"


def _describe_source(metadata: Mapping[str, str]) -> str:
    level, size = metadata.get("source level", "0"), metadata.get("source size", "")
    scanner = " ".join(metadata[key] for key in ("scanner maker", "scanner model") if key in metadata)
    scan = f" of a scan by {scanner}" if scanner else ""
    digest = f" (SHA-256 of the slide {metadata[SOURCE_KEY]})" if SOURCE_KEY in metadata else ""
    pitch = metadata.get("source pitch", "recorded")
    return f"Its input was level {level}{scan}, {size}{digest}; the pixel size of the slide was {pitch}."


def _describe_treatment(metadata: Mapping[str, str]) -> Iterator[str]:
    """Yield what was done to some of the pixels, and what the run warned of."""
    if uses_network(metadata) and "background" in metadata:
        yield f"Background: {metadata['background']}."
    if "guard" in metadata:
        yield "Where the output of the network, averaged back, contradicted its input, bicubic interpolation was shown."
    if "overlap" in metadata:
        yield f"Tiles overlapped by {metadata['overlap']}."
    if UNREADABLE_KEY in metadata:
        yield f"Places of the slide that could not be decoded were {metadata[UNREADABLE_KEY]}."
    warnings = [metadata[key] for key in ("source remarks", "warning", "remarks") if key in metadata]
    if warnings:
        yield f"The software warned: {'; '.join(warnings)}."


def _describe_storage(metadata: Mapping[str, str]) -> str:
    return f"The result, {metadata.get('size', 'of unknown size')}, is stored as {metadata.get('codec', 'pixels')}."
