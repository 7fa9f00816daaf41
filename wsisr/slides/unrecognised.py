"""Files that no reader opens: what they are, as far as their first bytes say, and what to do with them."""

from __future__ import annotations

import os
from pathlib import Path

from wsisr.errors import SlideError
from wsisr.files import MIRAX_SUFFIX, VSI_SUFFIX
from wsisr.remote.path import is_url
from wsisr.slides.readers.dicom_header import read_dicom_header
from wsisr.slides.readers.mirax_index import SLIDEDAT
from wsisr.slides.readers.signatures import ETS_MAGIC, JPEG_MAGIC

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

_MAKERS_EXPORT = "export it as OME-TIFF, DICOM or SVS with its maker's software"
_BIO_FORMATS = (
    "convert it to OME-TIFF with QuPath, or by Bio-Formats "
    "(bfconvert -noflat -tilex 512 -tiley 512 -compression JPEG {name} {stem}.ome.tif)"
)
_LIBISYNTAX = "convert it by libisyntax (isyntax-to-tiff {name} {stem}.tiff --quality 95)"
_BRIGHTFIELD = "give a brightfield slide"
_AS_PNG = "save it as PNG, and give its pixel size by --mpp"

_FORMATS_WITHOUT_READER = {
    ".kfb": ("a KFBIO slide", _MAKERS_EXPORT),
    ".tmap": ("a Unic TMAP slide", _MAKERS_EXPORT),
    ".sdpc": ("an SQRay slide", _MAKERS_EXPORT),
    ".isyntax": ("a Philips iSyntax slide", _LIBISYNTAX),
    ".i2syntax": ("a Philips iSyntax slide of the second kind", _MAKERS_EXPORT),
    ".mds": ("a Motic slide", _MAKERS_EXPORT),
    ".mdsx": ("a Motic slide", _MAKERS_EXPORT),
    ".oir": ("an Olympus OIR image", _BIO_FORMATS),
    ".zvi": ("a Zeiss ZVI image", _BIO_FORMATS),
    ".lif": ("a Leica LIF image", _BIO_FORMATS),
    ".nd2": ("a Nikon ND2 image", _BIO_FORMATS),
    ".ndpis": ("a list of the channels of a Hamamatsu fluorescence scan", _BRIGHTFIELD),
    ".afi": ("a list of the channels of an Aperio fluorescence scan", _BRIGHTFIELD),
    ".bmp": ("a BMP picture", _AS_PNG),
    ".gif": ("a GIF picture", _AS_PNG),
    ".webp": ("a WebP picture", _AS_PNG),
    ".jp2": ("a JPEG 2000 picture", _AS_PNG),
}
"""Formats that no reader opens, by suffix, and what to do. Of some there are open readers, but no brightfield slide was
at hand to test them on."""

_LIST_SUFFIXES = (".txt", ".list", ".lst")
_MOST_NAME_BYTES = 4095
"""Bytes of the longest path that a system takes."""

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
    if head.startswith(ETS_MAGIC):
        return _describe_vsi_pixels(path.parent.parent)
    header = read_dicom_header(path)
    if header is not None and not header.is_whole_slide:
        return f"is DICOM, but no whole-slide image (modality {header.modality or 'unknown'}); give a slide"
    if path.suffix.lower() == MIRAX_SUFFIX and (head.startswith(JPEG_MAGIC) or path.with_suffix("").is_dir()):
        return _describe_mirax(path)
    return (
        _describe_list(path, head)
        or describe_format_without_reader(path)
        or "not a slide, or in a format that neither OpenSlide nor tifffile reads; check the file"
    )


def _describe_list(path: Path, head: bytes) -> str | None:
    """Return what to give where a file is text whose first word is a path, or a list by its suffix; else None."""
    lines = [line.strip() for line in head.split(b"\n")]
    words = [line for line in lines if line and not line.startswith(b"#")]
    if b"\0" in head or not words:
        return None
    names_a_path = os.path.lexists(path.parent / os.fsdecode(words[0][:_MOST_NAME_BYTES]))
    is_list = path.suffix.lower() in _LIST_SUFFIXES or names_a_path
    return f"is text, no slide; if its lines name slides, give @{path}" if is_list else None


def describe_format_without_reader(path: Path) -> str | None:
    """Return what a file is by its name, and what to do; None for any other suffix."""
    kind, advice = _FORMATS_WITHOUT_READER.get(path.suffix.lower(), ("", ""))
    how = advice.format(name=path.name, stem=path.stem)
    return f"is {kind} by its name, which wsisr does not read; {how}" if kind else None


def describe_inner_folder(folder: Path) -> str | None:
    """Return in words of which slide a folder holds the scan, and what to give instead; None for any other folder."""
    if (folder / SLIDEDAT).is_file():
        slide = folder.with_name(folder.name + MIRAX_SUFFIX)
        return f"holds the scan of a MIRAX slide; give {slide.name} {_say_where(slide)}"
    if _holds_ets(folder):
        return _describe_vsi_pixels(folder)
    return None


def refuse_renamed_vsi(path: Path) -> None:
    """Raise `SlideError` for a TIFF that lies beside the scan of an Olympus VSI, and is nothing but its preview."""
    if _holds_ets(path.with_name(f"_{path.stem}_")):
        name = path.with_suffix(VSI_SUFFIX).name
        raise SlideError(f"{path}: is an Olympus VSI, by the folder _{path.stem}_ beside it; name it {name}")


def advise_bio_formats(path: Path) -> str:
    """Return how to convert a file that Bio-Formats reads."""
    return _BIO_FORMATS.format(name=path.name, stem=path.stem)


def _holds_ets(folder: Path) -> bool:
    """Return whether a folder is that of a VSI, which is named after it between underscores."""
    return not is_url(folder) and folder.match("_*_") and folder.is_dir() and any(folder.glob("*/*.ets"))


def _describe_vsi_pixels(folder: Path) -> str:
    """Describe what a folder holds that is named after its slide, between underscores."""
    if not folder.match("_*_"):
        return "holds the scan of an Olympus VSI; give the .vsi, beside the folder of this one's folder"
    slide = folder.with_name(folder.name[1:-1] + VSI_SUFFIX)
    return f"holds the scan of an Olympus VSI; give {slide.name} {_say_where(slide)}"


def _describe_mirax(path: Path) -> str:
    """Describe a file with the suffix of MIRAX that OpenSlide does not recognise: only the picture of the glass."""
    folder = path.with_suffix("")
    if not (folder / SLIDEDAT).is_file():
        missing = f"{SLIDEDAT} in the folder {folder.name}" if folder.is_dir() else f"the folder {folder.name}"
        return f"is a MIRAX slide without its scan, as {missing} is missing; copy all of that folder beside it"
    return f"is a MIRAX slide, which OpenSlide knows by the suffix {MIRAX_SUFFIX} only; rename it, in small letters"


def _say_where(path: Path) -> str:
    return "beside it" if path.is_file() else "beside it, which is missing"
