"""What of a slide `upscale` takes for tissue, by the options."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsisr.cli.upscale import Request
    from wsisr.slides import Slide
    from wsisr.upscaling.background import Background


def background_of(request: Request, slide: Slide, *, network: bool) -> Background:
    """Tissue is looked for only where something depends on it: for a filter, all of a slide is alike."""
    from wsisr.slides.wrappers.fault_tolerant import BLACK, Forgiving
    from wsisr.tissue import everywhere, tissue_of
    from wsisr.upscaling.background import Background

    white = request.background == "white"
    if request.tissue == "auto" and not (network or white or request.save_mask):
        return Background(everywhere())
    # What cannot be decoded is no proof of glass: black is taken for tissue.
    looked_at = Forgiving(slide, BLACK) if request.on_error == "white" else slide
    return Background(tissue_of(looked_at, request.tissue), white)


def save_tissue(request: Request, ground: Background) -> None:
    """The map that was used, as a picture, where it is asked for.

    Of the whole slide, whatever was enlarged of it: as `--tissue` takes it again, for this region and for any other.
    """
    from PIL import Image

    from wsisr.cli.console import remark
    from wsisr.upscaling.preview import save

    if request.save_mask:
        picture = Image.fromarray(ground.tissue.flags.astype("uint8") * 255)
        save(picture, request.save_mask, overwrite=request.overwrite)
        if not request.quiet:
            remark(
                f"{request.save_mask}: shows the tissue of the whole slide, in {picture.width} x {picture.height} px"
            )
