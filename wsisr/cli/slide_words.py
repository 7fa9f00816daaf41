"""Slide words: what a person gives as slides on the command line, as a list of slides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsisr.slides.listing import SlideList

SLIDES_HELP = "Slides, folders, patterns, @list.txt, a CSV."
"""docs/operations.md explains the words; here they must fit on one line of 80 columns."""


def list_given_slides(words: Sequence[Path], *, results: bool = False) -> SlideList:
    """List the slides that the words stand for; say what was left out of folders, and which columns are not used.

    `results` lists what wsisr wrote, too. Raises `WsisrError`.
    """
    from wsisr.cli.console import print_message
    from wsisr.progress import format_count
    from wsisr.slides.listing import list_slides
    from wsisr.upscaling.finished import is_written_by_wsisr

    slides = list_slides(words, None if results else is_written_by_wsisr)
    if slides.left_out:
        print_message(
            f"{format_count(len(slides.left_out), 'file')} that wsisr wrote, left out: {slides.left_out[0]}"
            + (", ..." if len(slides.left_out) > 1 else "")
        )
    for name in slides.unused_columns:
        print_message(f"{name}: a column that is not used; path, mpp, case and output are")
    return slides
