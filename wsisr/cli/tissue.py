"""What of a slide `upscale` takes for tissue, by the options."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsisr.cli.upscale import Request
    from wsisr.slides import Slide
    from wsisr.upscaling.background import BackgroundOptions


def background_of(request: Request, slide: Slide, *, network: bool) -> BackgroundOptions:
    """Tissue is looked for only where something depends on it: for a filter, all of a slide is alike."""
    from wsisr.slides.wrappers.fault_tolerant import BLACK, FaultTolerantSlide
    from wsisr.tissue import find_tissue, make_full_map
    from wsisr.upscaling.background import BackgroundOptions

    white = request.background == "white"
    if request.tissue == "auto" and not (network or white or request.save_mask):
        return BackgroundOptions(make_full_map())
    # What cannot be decoded is no proof of glass: black is taken for tissue.
    looked_at = FaultTolerantSlide(slide, BLACK) if request.on_error == "white" else slide
    return BackgroundOptions(find_tissue(looked_at, request.tissue), white)


def save_tissue(request: Request, ground: BackgroundOptions) -> None:
    """The map that was used, as a picture, where it is asked for.

    Of the whole slide, whatever was enlarged of it: as `--tissue` takes it again, for this region and for any other.
    """
    from PIL import Image

    from wsisr.cli.console import print_message
    from wsisr.upscaling.preview import save_png

    if request.save_mask:
        picture = Image.fromarray(ground.tissue.mask.astype("uint8") * 255)
        save_png(picture, request.save_mask, overwrite=request.overwrite)
        if not request.quiet:
            print_message(
                f"{request.save_mask}: shows the tissue of the whole slide, in {picture.width} x {picture.height} px"
            )
