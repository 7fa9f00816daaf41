"""DICOM slides: which files of a folder are one, and what their headers record of each level.

OpenSlide 4.0.1 reads the pixels. It takes the files of the series of the one that it is given, works out downsamples
from sizes alone, and knows no pixel size but PixelSpacing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from wsisr.bounds import MAX_DICOM_FILES, MAX_DICOM_FRAMES, MAX_TIFF_SEGMENT_BYTES
from wsisr.errors import SlideError, describe_shortage
from wsisr.files import is_dicom
from wsisr.imaging.geometry import Size
from wsisr.slides.level_geometry import LevelRecord
from wsisr.slides.pixel_size import PixelSize, derive_pixel_size
from wsisr.slides.readers.dicom_header import DicomHeader, read_dicom_header
from wsisr.slides.slide import SlideInfo

_MAX_SEARCHED_FOLDERS, _MAX_LOOKED_AT = 1000, 20
"""Folders below a given one that are searched for DICOM files, and files of each that are looked at."""

_INDEX_NAME = "DICOMDIR"
"""Name of the index of a DICOM medium (PS3.10); the files that it lists lie in folders beside it."""

_MAX_NAMED = 5
"""Slides or kinds that an error names."""

_SQUARE_TOLERANCE = 0.02


def find_dicom_file(folder: Path) -> Path:
    """Return the first level, by name, of the DICOM slide in a folder; the names are free, as in archives.

    Raises `SlideError` where the folder holds no slide, or several: each series is one. `OSError` where it cannot be
    read.
    """
    files = dict(_read_headers(folder))
    slides: dict[str, list[Path]] = {}
    for path, header in files.items():
        if header and header.is_whole_slide:
            slides.setdefault(header.series, []).append(path)
    levels = {header.series for header in files.values() if header and header.is_level}
    slides = {series: paths for series, paths in slides.items() if series in levels} or slides
    if len(slides) > 1:
        raise SlideError(f"{folder}: {_describe_slides(slides, files)}")
    if slides:
        paths = next(iter(slides.values()))
        return next((path for path in paths if _is_level(files[path])), paths[0])
    _refuse_outer_folder(folder, files)
    unknown = [path for path, header in files.items() if header is None]
    if unknown:  # OpenSlide may know better, and says what is wrong
        return unknown[0]
    kinds = sorted({header.modality or "unknown" for header in files.values() if header})
    raise SlideError(
        f"{folder}: its DICOM files are no whole-slide images (modality {', '.join(kinds[:_MAX_NAMED])}); "
        "give the folder of a slide"
    )


def _is_level(header: DicomHeader | None) -> bool:
    return header is not None and header.is_level


def _refuse_outer_folder(folder: Path, files: Mapping[Path, DicomHeader | None]) -> None:
    """Raise `SlideError` where a folder holds no DICOM of its own, except an index of the folders in it."""
    if any(path.name != _INDEX_NAME for path in files):
        return
    inner = [found.relative_to(folder).as_posix() for found in islice(_find_dicom_folders(folder), _MAX_NAMED)]
    if inner:
        raise SlideError(f"{folder}: its DICOM files lie in {', '.join(inner)}; give the folder of one slide")
    raise SlideError(f"{folder}: is a folder without DICOM files and no OME-Zarr; give the path of a slide")


def _find_dicom_folders(folder: Path) -> Iterator[Path]:
    """Yield the folders in a folder that hold DICOM files, by name; only so many are searched."""
    for where, subfolders, names in islice(os.walk(folder), _MAX_SEARCHED_FOLDERS):
        subfolders.sort()
        if where != str(folder) and any(is_dicom(Path(where, name)) for name in islice(names, _MAX_LOOKED_AT)):
            yield Path(where)


def complete_dicom_facts(info: SlideInfo) -> SlideInfo:
    """Return the facts of a DICOM slide with what its headers record of each level, beyond what OpenSlide tells.

    Raises `OSError` where its folder cannot be read.
    """
    series = info.properties.get("dicom.SeriesInstanceUID")
    headers = _list_level_headers(info.path.parent, series)
    records = tuple(_make_level_record(level.size, headers.get(level.size)) for level in info.levels)
    base = headers.get(info.size)
    pixel_size = PixelSize() if info.mpp is not None or base is None else _derive_pixel_size(base)
    if pixel_size.mpp is not None:
        info = replace(info, mpp=pixel_size.mpp, pixel_aspect=pixel_size.pixel_aspect)
    return replace(info, level_records=records)


def refuse_excessive_tiles(path: Path) -> None:
    """Raise `SlideError` where tiles of a file's series are larger, or more, than any scanner's: OpenSlide asks for
    memory for them, and ends the process where there is not enough.

    Raises `OSError` where its folder cannot be read.
    """
    header = read_dicom_header(path)
    headers = [found for _, found in _read_headers(path.parent) if found and header and found.series == header.series]
    tile = max((found.tile for found in headers if found.tile), key=lambda size: size.pixel_count, default=Size(0, 0))
    if tile.pixel_count * 3 > MAX_TIFF_SEGMENT_BYTES:
        raise SlideError(f"{path}: its tiles of {tile} px are larger than any scanner's; copy the slide again")
    frames = max((found.frames for found in headers), default=0)
    if frames > MAX_DICOM_FRAMES:
        raise SlideError(f"{path}: counts {frames:.4g} frames, more than any scanner takes; copy the slide again")


def _read_headers(folder: Path) -> Iterator[tuple[Path, DicomHeader | None]]:
    """Yield each DICOM file of a folder, by name, with its header; None for one that cannot be read."""
    for path in sorted(islice(folder.iterdir(), MAX_DICOM_FILES)):
        try:
            if is_dicom(path):
                yield path, read_dicom_header(path)
        except OSError as error:
            if describe_shortage(error):
                raise
            # a file beside the slide that may not be read is none of it


def _describe_slides(slides: Mapping[str, Sequence[Path]], headers: Mapping[Path, DicomHeader | None]) -> str:
    examples = [_describe_slide(paths, headers) for paths in islice(slides.values(), _MAX_NAMED)]
    more = "" if len(slides) <= _MAX_NAMED else f" and {len(slides) - _MAX_NAMED} more"
    return f"holds {len(slides)} DICOM slides; give a file of the one to read: {', '.join(examples)}{more}"


def _describe_slide(paths: Sequence[Path], headers: Mapping[Path, DicomHeader | None]) -> str:
    found = [header.size for path in paths if (header := headers[path]) and header.is_level and header.size]
    largest = max(found, key=lambda size: size.pixel_count, default=None)
    return paths[0].name if largest is None else f"{paths[0].name} ({largest} px)"


def list_level_files(folder: Path, series: str | None) -> dict[Path, DicomHeader]:
    """Return the files of a folder that hold levels of a series, by name, with their headers.

    Raises `OSError` where the folder cannot be read.
    """
    headers = _read_headers(folder)
    return {path: header for path, header in headers if header and header.is_level and header.series == series}


def _list_level_headers(folder: Path, series: str | None) -> dict[Size, DicomHeader]:
    """Return the header of the first file of each level of a series, by the level's size."""
    headers: dict[Size, DicomHeader] = {}
    for header in list_level_files(folder, series).values():
        if header.size:
            headers.setdefault(header.size, header)
    return headers


def _make_level_record(size: Size, header: DicomHeader | None) -> LevelRecord:
    if header is None:
        return LevelRecord(size)
    spacing = header.spacing
    if spacing is None and header.volume_spacing is not None:
        # Padding may be counted in or not; where both sides agree, it is of no matter.
        across, down = header.volume_spacing
        spacing = (across, down) if abs(across - down) <= _SQUARE_TOLERANCE * max(across, down) else None
    return LevelRecord(size, header.tile, spacing, header.origin)


def _derive_pixel_size(header: DicomHeader) -> PixelSize:
    """Return the pixel size by PixelSpacing, or where that is missing or impossible by the size of the imaged area."""
    sizes = (derive_pixel_size(x_mm * 1000, y_mm * 1000) for x_mm, y_mm in _list_spacings(header))
    return next((pixel_size for pixel_size in sizes if pixel_size.mpp is not None), PixelSize())


def _list_spacings(header: DicomHeader) -> Iterator[tuple[float, float]]:
    if header.spacing is not None:
        yield header.spacing
    if header.volume_spacing is not None:
        across, down = header.volume_spacing
        # Where the imaged area was counted without the padding of the last tiles, each side comes out too small.
        yield (max(across, down),) * 2 if _is_padding(header, max(across, down)) else (across, down)


def _is_padding(header: DicomHeader, spacing: float) -> bool:
    """Whether less than a tile of padding explains that the imaged area is smaller than the pixels along a side."""
    if header.tile is None or header.volume is None or header.size is None or not header.tile.pixel_count:
        return False
    sides = (
        (header.volume[0], header.size.width, header.tile.width),
        (header.volume[1], header.size.height, header.tile.height),
    )
    return all(px % tile == 0 and px - mm / spacing < tile for mm, px, tile in sides)
