"""Header copies: a file of this machine with the directories of a TIFF on a server, for libraries that want a path.

OpenSlide reads the facts of a TIFF from its directories. The copy has these at their places and holes in between, so
that it takes some kB of disk, whatever the slide's size.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wsisr.remote.path import is_url
from wsisr.slides.readers.tiff_structure import list_header_ranges


@contextmanager
def provide_header(path: Path, *, with_images: bool = False) -> Iterator[Path]:
    """Context: a path at which a library finds the directories of a TIFF; a file of this machine stays where it is.

    `with_images` copies label, macro and thumbnail, too. Raises `DamagedTiffError`, and `OSError` where the server
    does not answer.
    """
    if not is_url(path):
        yield path
        return
    ranges = list_header_ranges(path, with_images=with_images)
    with (
        tempfile.TemporaryDirectory(prefix="wsisr-header-") as folder,
        path.open("rb") as reading,
    ):
        copy = Path(folder, f"slide{Path(path.name).suffix}")
        with copy.open("wb") as writing:
            writing.truncate(reading.seek(0, 2))
            for offset, count in ranges:
                reading.seek(offset)
                writing.seek(offset)
                writing.write(reading.read(count))
        yield copy
