"""Stage of a run: the folder into which slides are copied from slow storage before their turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from wsisr.cli.batch import BatchItem, EnlargeSlide
from wsisr.cli.console import print_message
from wsisr.cli.run_options import RunOptions
from wsisr.cli.run_report import ReportRow
from wsisr.errors import SlideError, WsisrError

if TYPE_CHECKING:
    from wsisr.slides.staging import SlideStage


@contextmanager
def open_stage(options: RunOptions, slides: Sequence[Path]) -> Iterator[SlideStage | None]:
    """Context: the folder in which slides are copied; None if slides are read where they lie."""
    if options.stage is None or not slides:
        yield None
        return
    from wsisr.slides.staging import SlideStage

    with closing(SlideStage(options.stage, int(options.stage_limit * 1e9), list(dict.fromkeys(slides)))) as stage:
        yield stage


def enlarge_from_stage(item: BatchItem, enlarge: EnlargeSlide, stage: SlideStage | None) -> ReportRow:
    """Enlarge a slide from its copy, if there is a stage; all that is said names the slide itself."""
    from wsisr.files import refuse_source

    if stage is None:
        return enlarge(item)
    refuse_source(item.output, item.slide)
    with ExitStack() as held:
        try:
            copy = held.enter_context(stage.hold(item.slide))
        except SlideError as error:
            print_message(f"warning: {error}; it is read where it lies")
            return enlarge(item)
        try:
            return enlarge(item._replace(slide=copy)) | {"slide": str(item.slide)}
        except WsisrError as error:
            raise type(error)(str(error).replace(str(copy), str(item.slide))) from error
