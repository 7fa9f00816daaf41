"""Super-resolution for whole-slide images. The names below are the public API; each is loaded when first used."""

from importlib import import_module
from typing import TYPE_CHECKING

from wsisr.version import __version__

__all__ = [
    "Box",
    "ModelSpec",
    "Size",
    "Slide",
    "SlideInfo",
    "SlideRegion",
    "UpscaleOptions",
    "Upscaler",
    "WsisrError",
    "__version__",
    "load_upscaler",
    "open_slide",
    "select_region",
    "upscale_region",
]

if TYPE_CHECKING:
    from wsisr.errors import WsisrError
    from wsisr.imaging.geometry import Box, Size
    from wsisr.models.loading import load_upscaler
    from wsisr.models.spec import ModelSpec
    from wsisr.models.upscaler import Upscaler
    from wsisr.slides import open_slide
    from wsisr.slides.region import SlideRegion, select_region
    from wsisr.slides.slide import Slide, SlideInfo
    from wsisr.upscaling.engine import upscale_region
    from wsisr.upscaling.plan import UpscaleOptions
else:
    # Type checkers read the imports above. When it runs, `import wsisr` loads nothing, torch least of all.
    _HOME = {
        "Box": "wsisr.imaging.geometry",
        "ModelSpec": "wsisr.models.spec",
        "UpscaleOptions": "wsisr.upscaling.plan",
        "Size": "wsisr.imaging.geometry",
        "Slide": "wsisr.slides.slide",
        "SlideInfo": "wsisr.slides.slide",
        "SlideRegion": "wsisr.slides.region",
        "Upscaler": "wsisr.models.upscaler",
        "WsisrError": "wsisr.errors",
        "load_upscaler": "wsisr.models.loading",
        "open_slide": "wsisr.slides",
        "select_region": "wsisr.slides.region",
        "upscale_region": "wsisr.upscaling.engine",
    }

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOME[name]), name)

    def __dir__() -> list[str]:
        return sorted(__all__)
