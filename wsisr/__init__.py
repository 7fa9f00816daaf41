"""Super-resolution for whole-slide images. The names below are the public API; each is loaded when first used."""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "Box",
    "ModelSpec",
    "Options",
    "Size",
    "Slide",
    "SlideInfo",
    "Source",
    "Upscaler",
    "WsisrError",
    "__version__",
    "load_upscaler",
    "open_slide",
    "source_of",
    "upscale",
]

if TYPE_CHECKING:
    from wsisr.errors import WsisrError
    from wsisr.geometry import Box, Size
    from wsisr.modelspec import ModelSpec
    from wsisr.planning import Options
    from wsisr.runtime import load_upscaler
    from wsisr.slides import open_slide
    from wsisr.slides.slide import Slide, SlideInfo
    from wsisr.source import Source, source_of
    from wsisr.upscaler import Upscaler
    from wsisr.upscaling import upscale
else:
    # Type checkers read the imports above. When it runs, `import wsisr` loads nothing, torch least of all.
    _HOME = {
        "Box": "wsisr.geometry",
        "ModelSpec": "wsisr.modelspec",
        "Options": "wsisr.planning",
        "Size": "wsisr.geometry",
        "Slide": "wsisr.slides.slide",
        "SlideInfo": "wsisr.slides.slide",
        "Source": "wsisr.source",
        "Upscaler": "wsisr.upscaler",
        "WsisrError": "wsisr.errors",
        "load_upscaler": "wsisr.runtime",
        "open_slide": "wsisr.slides",
        "source_of": "wsisr.source",
        "upscale": "wsisr.upscaling",
    }

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOME[name]), name)

    def __dir__() -> list[str]:
        return sorted(__all__)
