"""Which library reads a slide. Facts come from whoever knows the format best, pixels from whoever gives them exactly.

OpenSlide reads what it recognises. tifffile reads TIFF that OpenSlide does not know; of a TIFF without a known scanner,
the one that sees more levels (OpenSlide sees one of an OME-TIFF with SubIFDs); and any TIFF whose levels both see alike
and whose tiles are all there: its pixels are then exact, where OpenSlide interpolates levels whose downsample is not
whole (as in nearly every Aperio slide), and come several times as fast. A folder is an OME-Zarr or a DICOM slide.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from wsisr.errors import SlideError
from wsisr.files import is_zarr
from wsisr.imaging.geometry import Size
from wsisr.slides.pixel_size import (
    COARSEST,
    FINEST,
    contradictions_of,
    doubts_of,
    estimated_pitch,
    is_plausible,
    objective_at,
)
from wsisr.slides.readers.ome_zarr import ZarrSlide, open_zarr
from wsisr.slides.readers.openslide import OpenSlideSlide, openslide_info, vendor_in_openslide
from wsisr.slides.readers.tiff import GENERIC, DamagedTiffError, Picture, TiffSlide, is_tiff, read_picture
from wsisr.slides.readers.tiff_segments import Plane
from wsisr.slides.slide import Slide, SlideInfo
from wsisr.slides.wrappers.square_pixels import Square
from wsisr.slides.wrappers.ycbcr import FromYcbcr, contradicts_itself

Planes: TypeAlias = tuple[Plane, ...]

_REMOTE = re.compile(r"[a-z][a-z0-9]+:/", re.IGNORECASE)
"""A URL; `Path` folds the two slashes into one."""

_AS_STORED = ("aperio", GENERIC)
"""Vendors whose image is its tiles side by side: others overlap them, or lay several scans onto one canvas."""


def open_slide(
    path: Path | str, mpp: float | None = None, *, estimate: bool = False, series: int | None = None
) -> Slide:
    """Open a slide of any format; a folder is an OME-Zarr or a DICOM slide.

    Pixels that are not square are seen in square ones (see `Square`). `mpp` (um/px of level 0) overrides the file's.
    Where neither is known, `estimate` takes the pitch from the objective; the info's remarks say so.
    Of a file that holds several images, `series` is the number of the one to read; the largest by default.
    Raises `SlideError` where the file is missing, damaged, of no known format, or not 8-bit RGB.
    """
    file = _slide_file(Path(path))
    given = None if mpp is None else _checked_pitch(file, mpp)
    slide = _opened(file, series, lambda info: _settled(info, given, estimate))
    if series and slide.info.series != series:
        slide.close()
        raise SlideError(f"{file}: there is no series {series}; it holds one image")
    return slide if slide.info.finer == (1.0, 1.0) else Square(slide)


def _opened(file: Path, series: int | None, settled: Callable[[SlideInfo], SlideInfo]) -> Slide:
    """By the reader that is best for it."""
    if file.is_dir():
        info, levels = open_zarr(file, series)
        return ZarrSlide(settled(info), levels)
    info, planes = _reader(file, series)
    if planes:
        return TiffSlide(settled(info), planes)
    slide = OpenSlideSlide(settled(info))
    return FromYcbcr(slide) if contradicts_itself(info) else slide


def _settled(info: SlideInfo, given: float | None, estimate: bool) -> SlideInfo:
    """Facts with the pitch that counts, and where it comes from."""
    if given is not None:
        recorded = "records none" if info.mpp is None else f"records {info.mpp:.6g} um/px"
        objective, pitch = objective_at(given, info.objective), f"given by the user; the file {recorded}"
        remarks = (*info.remarks, *contradictions_of(given, info.mpp))
        return replace(info, mpp=given, finer=(1.0, 1.0), objective=objective, pitch=pitch, remarks=remarks)
    if info.mpp is not None:
        return replace(info, remarks=(*info.remarks, *doubts_of(info.mpp, info.objective)))
    guess = estimated_pitch(info.objective) if estimate else None
    if guess is None:
        return replace(info, pitch="not recorded")
    remark = f"pixel pitch is not recorded; {guess:.4g} um/px is an estimate from the {info.objective:g}x objective"
    return replace(
        info,
        mpp=guess,
        pitch=f"estimated from the {info.objective:g}x objective",
        remarks=(*info.remarks, f"{remark} (--mpp)"),
    )


def _slide_file(path: Path) -> Path:
    """The file, or the folder of a zarr, to hand to a reader. Raises `SlideError` where there is none or nothing."""
    if _REMOTE.match(str(path)):
        raise SlideError(f"{path}: wsisr reads no remote slides; copy it to this machine")
    if is_zarr(path):
        return path
    file = _dicom_file(path) if path.is_dir() else path
    try:
        with file.open("rb") as opened:
            if opened.read(1):
                return file
    except OSError as error:
        raise SlideError(f"{path}: cannot be opened ({error.strerror}); give the path of a slide") from error
    raise SlideError(f"{path}: the file is empty; copy it again")


def _dicom_file(folder: Path) -> Path:
    """Any file of a DICOM slide stands for all of them: OpenSlide finds the others."""
    files = sorted(folder.glob("*.dcm"))
    if not files:
        raise SlideError(f"{folder}: is a folder without DICOM files (*.dcm) and no OME-Zarr; give the path of a slide")
    return files[0]


def _checked_pitch(path: Path, mpp: float) -> float:
    if not is_plausible(mpp):
        raise SlideError(f"{path}: no slide has pixels of {mpp:g} um; give {FINEST:g} to {COARSEST:g} um/px")
    return mpp


def _reader(path: Path, series: int | None) -> tuple[SlideInfo, Planes]:
    """Facts, and the planes to read through tifffile: none where OpenSlide is to read."""
    if not is_tiff(path):
        return _known(path, openslide_info(path, series)), ()
    by_scanner = vendor_in_openslide(path) not in (None, GENERIC)  # whose regions OpenSlide knows
    try:
        picture = read_picture(path, None if by_scanner else series)
    except DamagedTiffError:
        native = openslide_info(path, series)
        if native is None:
            raise
        return native, ()
    native = openslide_info(path, series if by_scanner else None)
    if native is None or (native.vendor == GENERIC and _holds_others(native, picture, series)):
        return _only_tifffile(picture)
    return _better(native, picture)


def _known(path: Path, native: SlideInfo | None) -> SlideInfo:
    if native is None:
        raise SlideError(
            f"{path}: not a slide, or in a format that neither OpenSlide nor tifffile reads; check the file"
        )
    return native


def _only_tifffile(picture: Picture) -> tuple[SlideInfo, Planes]:
    if picture.undecodable:
        raise SlideError(
            f"{picture.info.path}: {picture.undecodable}, which wsisr does not read; "
            "convert it, for example with vips tiffsave --tile --pyramid --compression jpeg"
        )
    return picture.info, picture.planes


def _holds_others(native: SlideInfo, picture: Picture, series: int | None) -> bool:
    """Whether tifffile's images are images of their own: it takes levels for some whose sizes are rounded unevenly."""
    levels_only = series is None and native.size == picture.info.size and len(native.levels) > len(picture.planes)
    return bool(picture.info.scenes) and not levels_only


def _better(native: SlideInfo, picture: Picture) -> tuple[SlideInfo, Planes]:
    """Of a TIFF that both libraries open."""
    if native.vendor == GENERIC and native.size == picture.info.size:
        if len(picture.planes) > len(native.levels):
            return picture.info, picture.planes
        native = replace(
            picture.info,
            reader=native.reader,
            levels=native.levels,
            scenes=native.scenes,
            series=native.series,
            properties={**picture.info.properties, **native.properties},
        )
    as_stored = native.vendor in _AS_STORED and picture.planes and picture.is_whole
    if as_stored and _sizes(native) == _sizes(picture.info):
        return replace(native, reader=picture.info.reader), picture.planes
    return native, ()


def _sizes(info: SlideInfo) -> list[Size]:
    return [level.size for level in info.levels]
