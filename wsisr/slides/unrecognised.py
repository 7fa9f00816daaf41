"""Files that no reader opens: what they are, as far as their first bytes say, and what to do with them."""

from __future__ import annotations

from pathlib import Path

from wsisr.errors import SlideError
from wsisr.slides.readers.dicom_header import read_dicom_header

_ARCHIVES = {
    b"PK\x03\x04": "a zip archive",
    b"PK\x05\x06": "an empty zip archive",
    b"\x1f\x8b": "packed by gzip",
    b"BZh": "packed by bzip2",
    b"\xfd7zXZ\0": "packed by xz",
    b"\x28\xb5\x2f\xfd": "packed by zstd",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
}
"""Kinds by the first bytes of a file."""

_FORMATS_WITHOUT_READER = {
    ".kfb": "a KFBIO slide",
    ".tmap": "a Unic TMAP slide",
    ".sdpc": "an SQRay slide",
    ".isyntax": "a Philips iSyntax slide",
    ".mds": "a Motic slide",
    ".mdsx": "a Motic slide",
}
"""Formats, by suffix, for which there is no open reader that could be tested on a brightfield slide at hand."""

_ETS_MAGIC = b"SIS\0"
_CONVERSION = "export it as OME-TIFF, DICOM or SVS with its maker's software"
_VSI_CONVERSION = "convert the .vsi to OME-TIFF with QuPath or Bio-Formats (bfconvert)"

_TAR_MAGIC, _TAR_MAGIC_OFFSET = b"ustar", 257
_ZIPPED_ZARR_NAMES = (b".zattrs", b".zgroup", b"zarr.json")
_HEAD_BYTES = 2**16
"""Bytes from the start that are looked at: in a zipped OME-Zarr the metadata of the group come first, or soon."""


def describe_unrecognised_file(path: Path) -> str:
    """Return in words what a file is and what to do. Raises `OSError` where it cannot be read."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    archive = next((kind for magic, kind in _ARCHIVES.items() if head.startswith(magic)), None)
    if head[_TAR_MAGIC_OFFSET : _TAR_MAGIC_OFFSET + len(_TAR_MAGIC)] == _TAR_MAGIC:
        archive = "a tar archive"
    holds_zarr = path.suffix.lower() == ".ozx" or any(name in head for name in _ZIPPED_ZARR_NAMES)
    if archive == "a zip archive" and holds_zarr:
        return "is a zipped OME-Zarr; unzip it and give the folder"
    if archive:
        return f"is {archive}; unpack it and give the slide in it"
    if head.startswith(_ETS_MAGIC):
        return f"holds the pixels of an Olympus VSI, which wsisr does not read; {_VSI_CONVERSION}"
    header = read_dicom_header(path)
    if header is not None and not header.is_whole_slide:
        return f"is DICOM, but no whole-slide image (modality {header.modality or 'unknown'}); give a slide"
    name = _FORMATS_WITHOUT_READER.get(path.suffix.lower())
    if name:
        return f"is {name} by its name, which wsisr does not read; {_CONVERSION}"
    return "not a slide, or in a format that neither OpenSlide nor tifffile reads; check the file"


def refuse_olympus_vsi(path: Path) -> None:
    """Raise `SlideError` for an Olympus VSI, which is a TIFF of nothing but a preview.

    The slide itself lies in `.ets` files in a folder named after it. Of those only a fluorescence one was at hand to
    test a reader on.
    """
    pixels = path.parent / f"_{path.stem}_"
    if path.suffix.lower() == ".vsi" or (pixels.is_dir() and any(pixels.glob("*/*.ets"))):
        raise SlideError(
            f"{path}: is an Olympus VSI, of which wsisr could read no more than the preview; {_VSI_CONVERSION}"
        )
