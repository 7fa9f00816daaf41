"""Opening a slide with the library that suits its format.

Facts come from the library that knows the format best, pixels from the one that returns them exactly:

- OpenSlide reads the formats that it recognises, unless one of the next rules holds.
- tifffile reads TIFF that OpenSlide does not recognise.
- A TIFF without a known scanner is read by the library that finds more levels: OpenSlide finds one in an OME-TIFF with
  SubIFDs.
- A TIFF in a codec that libtiff lacks is read by tifffile.
- A TIFF in which both find the same levels, with all tiles stored, is read by tifffile. Its pixels are exact, where
  OpenSlide interpolates levels whose downsample is not whole (in nearly every Aperio slide), and come several times as
  fast.

A folder is an OME-Zarr or a DICOM slide. Zeiss CZI is read from its blocks, as OpenSlide lacks JPEG XR; an Olympus VSI,
a TIFF of a preview, from the tiles of the files beside it. A PNG or JPEG is a field of a microscope, and decoded as a
whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from wsisr.bounds import MAX_ICC_BYTES, MAX_LEVELS, MAX_SLIDE_PX
from wsisr.errors import SlideError, SlideNotFoundError, WsisrError, describe_shortage
from wsisr.files import VSI_SUFFIX, describe_special_file, is_zarr
from wsisr.imaging.geometry import Size
from wsisr.remote.path import is_url, make_path
from wsisr.slides.files import read_file_state
from wsisr.slides.level_geometry import LevelRecord
from wsisr.slides.pixel_size import (
    COARSEST_MPP,
    FINEST_MPP,
    check_given_mpp,
    check_recorded_mpp,
    correct_objective,
    estimate_mpp,
    is_plausible_mpp,
)
from wsisr.slides.readers.openslide import OpenSlideSlide, detect_vendor, read_openslide_info
from wsisr.slides.readers.signatures import detect_picture, is_czi
from wsisr.slides.readers.tiff import (
    GENERIC_TIFF,
    ORIENTATION_PROPERTY,
    TiffImage,
    TiffSlide,
    is_tiff,
    read_tiff_image,
)
from wsisr.slides.readers.tiff_segments import TiffLevel
from wsisr.slides.readers.tiff_structure import DamagedTiffError
from wsisr.slides.slide import Slide, SlideInfo
from wsisr.slides.unrecognised import describe_inner_folder, describe_unrecognised_file, refuse_renamed_vsi
from wsisr.slides.wrappers.aligned_levels import align_levels
from wsisr.slides.wrappers.orientation import TURNS, TurnedSlide
from wsisr.slides.wrappers.square_pixels import SquarePixelSlide
from wsisr.slides.wrappers.unchanged import UnchangedSlide
from wsisr.slides.wrappers.ycbcr import correct_colours

TiffLevels: TypeAlias = tuple[TiffLevel, ...]

OTHER_COLOURS_WARNING = "the header and the JPEG tiles say different things about their colours; the tiles are believed"

_TILES_ARE_THE_IMAGE = ("aperio", GENERIC_TIFF)
"""Vendors whose image is its tiles side by side; others store tiles that overlap, or several scans on one canvas."""

_CHECKED_VENDORS = (None, *_TILES_ARE_THE_IMAGE, "philips")
"""Vendors whose headers must agree with their tables; of the others OpenSlide finds out when it reads. It shows white
where a Philips slide has no tile, so that a table that is too short is not seen."""


def open_slide(
    path: Path | str, mpp: float | None = None, *, estimate: bool = False, series: int | None = None
) -> Slide:
    """Open a slide of any format; a folder is an OME-Zarr or a DICOM slide.

    Pixels that are not square are resampled to square ones (see `SquarePixelSlide`). `mpp` (um/px of level 0)
    overrides the file's pixel size. Where neither is known, `estimate` derives it from the objective, with a warning
    in the slide's info. Of a file that holds several images, `series` is the number of the one to read, by default the
    largest. A slide whose files change or go after this raises `SlideError` when it is read.
    Raises `SlideError` where the file is missing, damaged, of no known format, or not 8-bit RGB.
    """
    path = make_path(path)
    with _tell_shortage(path):
        return _open_slide(path, mpp, estimate, series)


@contextmanager
def _tell_shortage(path: Path) -> Iterator[None]:
    """Context: where the machine is short of something, whatever a library makes of it, that is the error."""
    try:
        yield
    except (WsisrError, OSError, RuntimeError) as error:
        shortage = describe_shortage(error)
        if shortage:
            raise SlideError(f"{path}: cannot be opened: {shortage}") from error
        if isinstance(error, OSError) and is_url(path):
            raise SlideError(f"{path}: {error.strerror}") from None  # its words are about the server
        if isinstance(error, OSError):
            raise SlideError(f"{path}: cannot be opened ({error.strerror}); look after its disk") from error
        raise


def _open_slide(path: Path, mpp: float | None, estimate: bool, series: int | None) -> Slide:
    file = _resolve_slide_file(path)
    given = None if mpp is None else _require_plausible_mpp(file, mpp)
    state_before = None if file.is_dir() else read_file_state(file)
    slide = _open_with_best_reader(file, series, lambda info: _resolve_pixel_size(_limit(info), given, estimate))
    slide = UnchangedSlide(slide, state_before)
    if series and slide.info.series_number != series:
        slide.close()
        raise SlideError(f"{file}: there is no series {series}; it holds one image")
    slide = align_levels(slide)
    orientation = slide.info.properties.get(ORIENTATION_PROPERTY, "1")
    if orientation.isdecimal() and int(orientation) in TURNS:
        slide = TurnedSlide(slide, int(orientation))
    return slide if slide.info.pixel_aspect == (1.0, 1.0) else SquarePixelSlide(slide)


def _limit(info: SlideInfo) -> SlideInfo:
    """Return the facts without a colour profile larger than any. Raises `SlideError` for a size that no slide has."""
    if info.size.pixel_count > MAX_SLIDE_PX or not info.size.pixel_count:
        raise SlideError(f"{info.path}: claims {info.size} px, which no slide has; the file is damaged, copy it again")
    if len(info.levels) > MAX_LEVELS:
        raise SlideError(f"{info.path}: has {len(info.levels)} levels, more than {MAX_LEVELS}; give a slide")
    if info.icc is None or len(info.icc) <= MAX_ICC_BYTES:
        return info
    warning = f"its colour profile of {len(info.icc)} bytes, more than {MAX_ICC_BYTES}, is left out"
    return replace(info, icc=None, warnings=(*info.warnings, warning))


def _open_with_best_reader(
    file: Path, series: int | None, settle_pixel_size: Callable[[SlideInfo], SlideInfo]
) -> Slide:
    """Open a file with the reader that suits it best.

    Only the readers of TIFF are imported at the start, as most slides are one: the others take as long again.
    """
    if file.is_dir():
        from wsisr.slides.readers.ome_zarr import ZarrSlide, open_zarr, select_stored_levels  # noqa: PLC0415

        info, zarr_levels = select_stored_levels(*open_zarr(file, series))
        return ZarrSlide(settle_pixel_size(info), zarr_levels)
    is_vsi = file.suffix.lower() == VSI_SUFFIX and is_tiff(file)
    if is_url(file) and (is_vsi or not is_tiff(file)):
        raise _make_local_only_error(file)
    if is_vsi:
        from wsisr.slides.readers.vsi import VsiSlide, open_vsi  # noqa: PLC0415

        info, ets_levels, scan = open_vsi(file, series)
        return VsiSlide(settle_pixel_size(info), ets_levels, scan)
    if is_czi(file):
        from wsisr.slides.readers.czi import CziSlide, open_czi  # noqa: PLC0415

        info, czi_levels = open_czi(file, series)
        return CziSlide(settle_pixel_size(info), czi_levels)
    picture = detect_picture(file)
    if picture:
        from wsisr.slides.readers.array import ArraySlide  # noqa: PLC0415
        from wsisr.slides.readers.picture import read_picture  # noqa: PLC0415

        info, pixels = read_picture(file, picture)
        return ArraySlide(settle_pixel_size(info), pixels)
    info, tiff_levels = _choose_reader(file, series)
    if tiff_levels:
        return TiffSlide(settle_pixel_size(info), tiff_levels)
    if is_url(file):
        raise _make_local_only_error(file)
    slide = OpenSlideSlide(settle_pixel_size(info))
    try:
        return correct_colours(slide)
    except SlideError:
        slide.close()
        raise


def _make_local_only_error(file: Path) -> SlideError:
    return SlideError(
        f"{file}: is in a format that is read on this machine only, not by URL; copy it here, or let upscale do so "
        "with --stage FOLDER"
    )


def _resolve_pixel_size(info: SlideInfo, given: float | None, estimate: bool) -> SlideInfo:
    """Return the facts with the pixel size that counts, and where it comes from."""
    if given is not None:
        recorded = "records none" if info.mpp is None else f"records {info.mpp:.6g} um/px"
        return replace(
            info,
            mpp=given,
            pixel_aspect=(1.0, 1.0),
            objective=correct_objective(given, info.objective),
            mpp_origin=f"given by the user; the file {recorded}",
            warnings=(*info.warnings, *check_given_mpp(given, info.mpp)),
        )
    if info.mpp is not None:
        return replace(info, warnings=(*info.warnings, *check_recorded_mpp(info.mpp, info.objective)))
    estimated = estimate_mpp(info.objective) if estimate else None
    if estimated is None:
        return replace(info, mpp_origin="not recorded")
    # Results store this text, like all warnings of a slide.
    warning = (
        f"pixel pitch is not recorded; {estimated:.4g} um/px is an estimate from the {info.objective:g}x objective"
    )
    return replace(
        info,
        mpp=estimated,
        mpp_origin=f"estimated from the {info.objective:g}x objective",
        warnings=(*info.warnings, f"{warning} (--mpp)"),
    )


def _resolve_slide_file(path: Path) -> Path:
    """Return the file, or the folder of a zarr, for a reader. Raises `SlideError` where it is missing or empty."""
    if is_zarr(path):
        return path
    special = describe_special_file(path)
    if special:
        raise SlideError(f"{path}: is {special}, and slides are read in any order; copy it into a file")
    try:
        file = _find_dicom_file(path) if path.is_dir() else path
        with file.open("rb") as opened:
            if opened.read(1):
                return file
    except OSError as error:
        if describe_shortage(error):
            raise
        if is_url(path) and not isinstance(error, FileNotFoundError):
            raise
        if isinstance(error, FileNotFoundError):
            from wsisr.slides.missing import describe_missing_slide  # noqa: PLC0415 - only for what is not there

            raise SlideNotFoundError(describe_missing_slide(path, error)) from error
        raise SlideError(f"{path}: cannot be opened ({error.strerror}); give the path of a slide") from error
    raise SlideError(f"{path}: the file is empty; copy it again")


def _find_dicom_file(folder: Path) -> Path:
    from wsisr.slides.readers.dicom import find_dicom_file  # noqa: PLC0415

    inner = describe_inner_folder(folder)
    if inner:
        raise SlideError(f"{folder}: {inner}")
    return find_dicom_file(folder)


def _require_plausible_mpp(path: Path, mpp: float) -> float:
    if not is_plausible_mpp(mpp):
        raise SlideError(f"{path}: no slide has pixels of {mpp:g} um; give {FINEST_MPP:g} to {COARSEST_MPP:g} um/px")
    return mpp


def _choose_reader(path: Path, series: int | None) -> tuple[SlideInfo, TiffLevels]:
    """Return the facts, and the levels to read through tifffile; no levels where OpenSlide is to read."""
    if not is_tiff(path):
        return _require_recognised(path, read_openslide_info(path, series)), ()
    # Of a known scanner's file, `series` counts OpenSlide's scanned regions, else tifffile's images.
    refuse_renamed_vsi(path)
    vendor = detect_vendor(path)
    has_known_scanner = vendor not in (None, GENERIC_TIFF)
    try:
        # Aperio's first image is the scan; a label may be larger than a small crop of one.
        tiff_image = read_tiff_image(path, 0 if vendor == "aperio" else None if has_known_scanner else series)
    except DamagedTiffError:
        openslide_info = read_openslide_info(path, series)
        if openslide_info is None:
            raise
        return openslide_info, ()
    are_tiles_the_image = vendor in (None, *_TILES_ARE_THE_IMAGE)
    if vendor in _CHECKED_VENDORS and tiff_image.contradiction and tiff_image.contradiction.is_fatal:
        raise SlideError(f"{path}: {tiff_image.contradiction.words}; the file is damaged, copy it again")
    info, levels = _choose_reader_for_tiff(path, tiff_image, vendor, series)
    return (_add_warnings(info, tiff_image) if are_tiles_the_image else info), levels


def _choose_reader_for_tiff(
    path: Path, tiff_image: TiffImage, vendor: str | None, series: int | None
) -> tuple[SlideInfo, TiffLevels]:
    """Return the facts of a TIFF, and the levels to read through tifffile; none where OpenSlide is to read."""
    try:
        openslide_info = read_openslide_info(path, None if vendor == GENERIC_TIFF else series)
    except SlideError:
        # libtiff lacks WebP, JPEG 2000 and JPEG XL in most builds, and OpenSlide then refuses the file.
        if tiff_image.is_common or vendor not in _TILES_ARE_THE_IMAGE:
            raise
        if tiff_image.obstacle:
            return _require_tifffile(tiff_image)
        facts = tiff_image.info
        return (replace(facts, vendor=vendor) if vendor != GENERIC_TIFF else facts), tiff_image.levels
    if openslide_info is None:
        return _require_tifffile(tiff_image)
    if openslide_info.vendor == GENERIC_TIFF and _holds_separate_images(openslide_info, tiff_image, series):
        return _require_tifffile(tiff_image)
    return _choose_where_both_open(openslide_info, tiff_image)


def _add_warnings(info: SlideInfo, tiff_image: TiffImage) -> SlideInfo:
    """Return the facts of a TIFF with warnings of segments that are missing or too many, and with its orientation."""
    contradiction = tiff_image.contradiction.words if tiff_image.contradiction else ""
    doubts = (text for text in (contradiction, tiff_image.empty_segments) if text)
    orientation = {name: text for name, text in tiff_image.info.properties.items() if name == ORIENTATION_PROPERTY}
    return replace(info, warnings=(*info.warnings, *doubts), properties={**info.properties, **orientation})


def _require_recognised(path: Path, openslide_info: SlideInfo | None) -> SlideInfo:
    if openslide_info is None:
        raise SlideError(f"{path}: {describe_unrecognised_file(path)}")
    return openslide_info


def _require_tifffile(tiff_image: TiffImage) -> tuple[SlideInfo, TiffLevels]:
    if tiff_image.obstacle:
        raise SlideError(
            f"{tiff_image.info.path}: {tiff_image.obstacle}, which wsisr does not read; "
            "convert it, for example with vips tiffsave --tile --pyramid --compression jpeg"
        )
    return tiff_image.info, tiff_image.levels


def _holds_separate_images(openslide_info: SlideInfo, tiff_image: TiffImage, series: int | None) -> bool:
    """Whether the images that tifffile lists are separate ones: it lists levels as images if their sizes are rounded
    unevenly, and OpenSlide then finds more levels in the same image."""
    levels_only = (
        series is None
        and openslide_info.size == tiff_image.info.size
        and len(openslide_info.levels) > len(tiff_image.levels)
    )
    return bool(tiff_image.info.all_series) and not levels_only


def _choose_where_both_open(openslide_info: SlideInfo, tiff_image: TiffImage) -> tuple[SlideInfo, TiffLevels]:
    """Choose facts and reader of a TIFF that both libraries open."""
    info = openslide_info
    if info.vendor == GENERIC_TIFF and info.size == tiff_image.info.size:
        if len(tiff_image.levels) > len(info.levels):
            return tiff_image.info, tiff_image.levels
        info = replace(
            tiff_image.info,
            reader=openslide_info.reader,
            levels=openslide_info.levels,
            level_records=_match_level_records(openslide_info, tiff_image.page_records),
            all_series=openslide_info.all_series,
            series_number=openslide_info.series_number,
            properties={**tiff_image.info.properties, **openslide_info.properties},
        )
    elif info.vendor in _TILES_ARE_THE_IMAGE:
        # OpenSlide works the levels of the other scanners out by itself.
        info = replace(info, level_records=_match_level_records(info, tiff_image.page_records))
    has_same_levels = bool(tiff_image.levels) and _level_sizes(info) == _level_sizes(tiff_image.info)
    is_untold_ome = info.vendor == "ome" and not tiff_image.has_other_colours
    are_tiles_the_image = tiff_image.is_complete and (info.vendor in _TILES_ARE_THE_IMAGE or is_untold_ome)
    if has_same_levels and tiff_image.is_common and are_tiles_the_image:
        return replace(info, reader=tiff_image.info.reader), tiff_image.levels
    if has_same_levels and tiff_image.has_other_colours and info.vendor in (*_TILES_ARE_THE_IMAGE, "ome"):
        warnings = (*info.warnings, OTHER_COLOURS_WARNING)
        return replace(info, reader=tiff_image.info.reader, warnings=warnings), tiff_image.levels
    return info, ()


def _match_level_records(openslide_info: SlideInfo, page_records: Sequence[LevelRecord]) -> tuple[LevelRecord, ...]:
    """Return what the file records of OpenSlide's levels; of several pages of one size the first counts."""
    records = {record.size: record for record in reversed(page_records)}
    return tuple(records.get(level.size, LevelRecord(level.size)) for level in openslide_info.levels)


def _level_sizes(info: SlideInfo) -> list[Size]:
    return [level.size for level in info.levels]
