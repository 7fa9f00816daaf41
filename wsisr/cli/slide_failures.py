"""Slide failures: which slides of several could not be used, while the command goes on with the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from wsisr.cli.console import print_message
from wsisr.cli.exit_codes import EXIT_PARTLY_FAILED
from wsisr.errors import SlideError
from wsisr.progress import format_count


class SlideFailures:
    """The errors of slides by their paths."""

    def __init__(self, slide_count: int) -> None:
        self.errors: dict[Path, str] = {}
        self._slide_count = slide_count

    @contextmanager
    def catch(self, slide: Path) -> Iterator[None]:
        """Context of work on a slide: its error is printed and kept. That of the only slide is raised."""
        try:
            yield
        except SlideError as error:
            if self._slide_count == 1:
                raise
            print_message(f"error: {error}")
            self.errors[slide] = str(error)

    def check_each(self, slides: Iterable[Path], check: Callable[[Path], object]) -> None:
        """Call a check for each slide, which raises for one that cannot be used."""
        for slide in slides:
            with self.catch(slide):
                check(slide)

    def to_json(self) -> list[dict[str, str]]:
        """Return the name and the error of each slide that failed."""
        return [{"slide": path.name, "error": error} for path, error in self.errors.items()]

    def exit_if_any(self) -> None:
        """Say how many slides failed, and exit as partly failed; do nothing if none did."""
        if self.errors:
            failed = f"{len(self.errors)} of {format_count(self._slide_count, 'slide')} failed"
            print_message(f"{failed}, so the scores are without: {', '.join(map(str, self.errors))}")
            raise typer.Exit(EXIT_PARTLY_FAILED)
