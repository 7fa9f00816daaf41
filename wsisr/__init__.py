"""Super-resolution for whole-slide images. The names below are the public API; each is loaded when first used."""

from importlib import import_module
from typing import TYPE_CHECKING

from wsisr.version import __version__

__all__ = [
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
    "__version__",
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
]

if TYPE_CHECKING:
    from wsisr.api import UpscaleWarning, enlarge, iterate_upscale, preview_slide, upscale_slide
    from wsisr.cli.watching import watch_upscale
    from wsisr.errors import WsisrError
    from wsisr.finetuning.job import finetune_model
    from wsisr.finetuning.report import FinetuneReport
    from wsisr.finetuning.request import FinetuneRequest
    from wsisr.imaging.geometry import Box, Size
    from wsisr.models.loading import load_upscaler
    from wsisr.models.spec import ModelSpec
    from wsisr.models.upscaler import Upscaler
    from wsisr.slides import open_slide
    from wsisr.slides.region import SlideRegion, select_region
    from wsisr.slides.slide import Slide, SlideInfo
    from wsisr.upscaling.array import ArrayRequest
    from wsisr.upscaling.engine import upscale_region
    from wsisr.upscaling.job import Advanced, Finished, MaskSaved, Noted, Started, Warned
    from wsisr.upscaling.plan import UpscaleOptions
    from wsisr.upscaling.preview_request import PreviewRequest
    from wsisr.upscaling.report import UpscaleReport
    from wsisr.upscaling.request import UpscaleRequest
    from wsisr.upscaling.trust.summary import TrustSaved
else:
    # Type checkers read the imports above. When it runs, `import wsisr` loads nothing, torch least of all.
    _HOME = {
        "Advanced": "wsisr.upscaling.job",
        "ArrayRequest": "wsisr.upscaling.array",
        "Box": "wsisr.imaging.geometry",
        "FinetuneReport": "wsisr.finetuning.report",
        "FinetuneRequest": "wsisr.finetuning.request",
        "Finished": "wsisr.upscaling.job",
        "MaskSaved": "wsisr.upscaling.job",
        "ModelSpec": "wsisr.models.spec",
        "Noted": "wsisr.upscaling.job",
        "PreviewRequest": "wsisr.upscaling.preview_request",
        "Size": "wsisr.imaging.geometry",
        "Slide": "wsisr.slides.slide",
        "SlideInfo": "wsisr.slides.slide",
        "SlideRegion": "wsisr.slides.region",
        "Started": "wsisr.upscaling.job",
        "TrustSaved": "wsisr.upscaling.trust.summary",
        "UpscaleOptions": "wsisr.upscaling.plan",
        "UpscaleReport": "wsisr.upscaling.report",
        "UpscaleRequest": "wsisr.upscaling.request",
        "UpscaleWarning": "wsisr.api",
        "Upscaler": "wsisr.models.upscaler",
        "Warned": "wsisr.upscaling.job",
        "WsisrError": "wsisr.errors",
        "enlarge": "wsisr.api",
        "finetune_model": "wsisr.finetuning.job",
        "iterate_upscale": "wsisr.api",
        "load_upscaler": "wsisr.models.loading",
        "open_slide": "wsisr.slides",
        "preview_slide": "wsisr.api",
        "select_region": "wsisr.slides.region",
        "upscale_region": "wsisr.upscaling.engine",
        "upscale_slide": "wsisr.api",
        "watch_upscale": "wsisr.cli.watching",
    }

    def __getattr__(name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOME[name]), name)

    def __dir__() -> list[str]:
        return sorted(__all__)
