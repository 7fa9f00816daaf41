"""A view as a folder of files that any web server shows, without wsisr: the page, its library, and every tile."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from wsisr.errors import OutputError
from wsisr.files import check_output, publish_output, translate_disk_errors
from wsisr.progress import Progress
from wsisr.viewer.openlayers import LIBRARY_FILES
from wsisr.viewer.view import PAGE_FILES, View

MAX_TILES = 200_000
"""Most tiles of an exported page: more files slow every disk down."""


def export_view(view: View, folder: Path, limit_bytes: int) -> Iterator[Progress]:
    """Write a view into a new folder, which appears when it is complete; yield progress in files.

    Raises `OutputError` where the folder exists, the files would take more than `limit_bytes`, or the disk refuses;
    nothing is left then.
    """
    unfinished = next((image for image in view.images if image.unfinished), None)
    if unfinished:
        raise OutputError(f"{unfinished.info.path}: is not finished, and a page stays as it is; export it afterwards")
    if os.path.lexists(folder):
        raise OutputError(f"{folder}: exists already, and a page replaces nothing; choose another name, or remove it")
    check_output(folder, overwrite=False, marker="view.json")
    paths = [*PAGE_FILES, *LIBRARY_FILES, *_list_view_paths(view)]
    if len(paths) > MAX_TILES:
        raise OutputError(
            f"{folder}: would hold {len(paths):,} files, more than {MAX_TILES:,}; export a region's result"
        )
    with (
        translate_disk_errors(folder),
        tempfile.TemporaryDirectory(dir=folder.parent, prefix=".wsisr-view-") as partial,
    ):
        page = Path(partial) / "page"
        page.mkdir()
        total = 0
        for done, path in enumerate(paths):
            yield Progress("export", done, len(paths))
            resource = view.get_resource(path)
            if resource is None:
                raise AssertionError(f"the page has no {path}")
            total += len(resource.data)
            if total > limit_bytes:
                raise OutputError(
                    f"{folder}: would be larger than {limit_bytes / 1e9:g} GB; raise --export-limit, or export a "
                    "region's result"
                )
            target = page / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(resource.data)
        publish_output(page, folder, overwrite=False)
        yield Progress("export", len(paths), len(paths))


def _list_view_paths(view: View) -> list[str]:
    """Return the paths of everything that the page may ask for."""
    description = view.describe()
    layers = [*description["annotations"], *description["trust"]]
    paths = ["view.json", "status.json", *(layer["url"] for layer in layers)]
    for image in description["images"]:
        paths += [image["thumbnail"], image["tissue"]]
        for level in image["levels"]:
            paths += [
                level["url"].format(x=column, y=row)
                for row in range(level["rows"])
                for column in range(level["columns"])
            ]
    return paths
