"""Ways in which a slide changes while it is read; none of them is seen by whoever has opened it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

SlideChange = Callable[[Path], None]


def overwrite_in_place(path: Path) -> None:
    """Write other bytes into a file, and set its date back: neither size nor date tell."""
    before = path.stat()
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(len(content) // 2)
        file.write(bytes(byte ^ 255 for byte in content[len(content) // 2 :]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def rename_over(path: Path) -> None:
    """Give the name of a file to another of the same size and date."""
    other = path.with_name("other")
    shutil.copy2(path, other)
    overwrite_in_place(other)
    other.replace(path)


def remove_file(path: Path) -> None:
    path.unlink()


SLIDE_CHANGES: dict[str, SlideChange] = {
    "overwritten in place": overwrite_in_place,
    "renamed over": rename_over,
    "removed": remove_file,
}


def find_largest_file(slide: Path) -> Path:
    """Return the file of a slide that holds most of its pixels: itself, or of a folder the largest."""
    files = [file for file in slide.rglob("*") if file.is_file()] if slide.is_dir() else [slide]
    return max(files, key=lambda file: file.stat().st_size)


def read_tree(folder: Path) -> dict[str, bytes | Path | None]:
    """Return the content of every file, the target of every link, and None for every folder."""
    return {
        str(path.relative_to(folder)): path.readlink()
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else None
        for path in folder.rglob("*")
    }
