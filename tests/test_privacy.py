"""Nothing of a patient is in a result: secrets planted wherever a slide has words are sought in all that is written."""

from __future__ import annotations

import json
import struct
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.support.czi import Block, describe_czi, write_czi
from tests.support.formats import write_leica, write_philips, write_qptiff, write_trestle
from tests.support.samples import InMemorySlide, make_noise, write_ome_pyramid, write_ome_zarr, write_tiff
from wsisr.imaging.geometry import Box, Size
from wsisr.models.upscaler import Resampling
from wsisr.slides import Slide, open_slide
from wsisr.slides.region import SlideRegion, select_region
from wsisr.slides.scanner import identify_scanner
from wsisr.upscaling.engine import upscale_region
from wsisr.upscaling.plan import UpscaleOptions, plan_upscaling

SECRET = "S24-0815-Mustermann"
"""An accession number and a name; of a made-up person."""

LEVELS = [make_noise(Size(256, 256)), make_noise(Size(128, 128), 1)]
LABEL = make_noise(Size(90, 60), 7)
OUTPUTS = ["a.ome.tif", "a.svs", "a.ome.zarr"]
DICOM = "a.dcm"
"""Of a DICOM slide it has the patient, unless the result is to be deidentified; of others nothing."""

BICUBIC = Resampling("bicubic", 2)

# DocumentName, Make, Model, PageName, Software, Artist, HostComputer, XMP, Copyright, IPTC, Photoshop, MakerNote.
_TEXT_TAGS = (269, 271, 272, 285, 305, 315, 316, 700, 33432, 33723, 34377, 37500)
_DATE_TIME = 306
TAGS = [(tag, 2, 0, SECRET, True) for tag in (*_TEXT_TAGS, _DATE_TIME)]
CM: dict[str, Any] = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}


def aperio(path: Path) -> Path:
    names = (
        "Filename",
        "User",
        "Title",
        "Barcode",
        "ImageID",
        "ScanScope ID",
        "DSR ID",
        "Date",
        "Patient",
        "OriginalW",
    )
    words = f"Aperio Image Library {SECRET}\r\n256x256 [0,0 256x256] ({SECRET})|AppMag = 20|MPP = 0.5"
    words += "".join(f"|{name} = {SECRET}" for name in names)
    with tifffile.TiffWriter(path) as writer:
        options: dict[str, Any] = {"photometric": "rgb", "metadata": None, "extratags": TAGS, **CM}
        writer.write(LEVELS[0], tile=(64, 64), compression="jpeg", description=words, subfiletype=0, **options)
        writer.write(LEVELS[1][:60, :60], description=words, subfiletype=0, **options)
        writer.write(LABEL, description=f"Aperio Image\r\nlabel {SECRET}", subfiletype=1, **options)
        writer.write(LABEL, description=f"Aperio Image\r\nmacro {SECRET}", subfiletype=9, **options)
    return path


def plain(path: Path) -> Path:
    return write_tiff(path, LEVELS[0], tile=(64, 64), description=SECRET, extratags=TAGS, **CM)


def ome(path: Path) -> Path:
    um = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    write_ome_pyramid(path, LEVELS, {"Name": SECRET, "Description": SECRET, **um}, extratags=TAGS[:-1])
    words = str(tifffile.tiffcomment(path))
    people = f'<Experimenter ID="Experimenter:0" UserName="{SECRET}" LastName="{SECRET}"/>'
    noted = f'<StructuredAnnotations><CommentAnnotation ID="Annotation:9"><Value>{SECRET}</Value></CommentAnnotation>'
    more = people + f"{noted}</StructuredAnnotations></OME>"
    tifffile.tiffcomment(path, words.replace("</OME>", more).encode())
    return path


def zarr(version: str) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        write_ome_zarr(path, LEVELS, version, scale=0.5)
        file = path / ("zarr.json" if version == "0.5" else ".zattrs")
        group = json.loads(file.read_bytes())
        attributes = group.get("attributes", group)
        attributes |= {"patient": SECRET, "omero": {"name": SECRET}, SECRET: SECRET}
        attributes.get("ome", attributes)["multiscales"][0]["name"] = SECRET
        file.write_text(json.dumps(group))
        return path

    return write


def described(write: Callable[[Path, list[np.ndarray]], Path], before: str, planted: str) -> Callable[[Path], Path]:
    """A slide of a scanner, with more in its description."""

    def written(path: Path) -> Path:
        write(path, LEVELS)
        words = str(tifffile.tiffcomment(path))
        assert before in words
        tifffile.tiffcomment(path, words.replace(before, planted + before, 1).encode())
        return path

    return written


PHILIPS = (
    f'<Attribute Name="DICOM_DEVICE_SERIAL_NUMBER" Group="0x0018" Element="0x1000" PMSVR="IString">{SECRET}</Attribute>'
)


def zeiss(path: Path) -> Path:
    words = f"<Document><UserName>{SECRET}</UserName><Title>{SECRET}</Title></Document></Information>"
    metadata = describe_czi(0.5, 20, microscope=SECRET).replace("</Information>", words)
    assert metadata.count(SECRET) == 3
    return write_czi(path, [Block(LEVELS[0]), Block(LEVELS[1], downsample=2)], metadata)


def picture(path: Path) -> Path:
    """Words in EXIF, XMP and comments of a PNG or JPEG."""
    exif, texts = Image.Exif(), PngInfo()
    exif[271] = exif[270] = SECRET  # maker and description
    texts.add_text("Author", SECRET)
    options = {"pnginfo": texts} if path.suffix == ".png" else {"comment": SECRET, "xmp": SECRET.encode()}
    Image.fromarray(LEVELS[0]).save(path, exif=exif, **options)
    return path


SLIDES: dict[str, Callable[[Path], Path]] = {
    f"{SECRET}.svs": aperio,
    f"{SECRET}.tif": plain,
    f"{SECRET}.ome.tif": ome,
    f"{SECRET}.4.zarr": zarr("0.4"),
    f"{SECRET}.5.zarr": zarr("0.5"),
    f"{SECRET}.scn": described(write_leica, "<image ", f"<barcode>{SECRET}</barcode>"),
    f"{SECRET}.tiff": described(write_philips, '<Attribute Name="PIM_DP_SC', PHILIPS),
    f"{SECRET}.qptiff": described(write_qptiff, "<Objective>", f"<SlideID>{SECRET}</SlideID>"),
    f"{SECRET}.czi": zeiss,
    f"{SECRET}.png": picture,
    f"{SECRET}.jpg": picture,
    f"{SECRET}.trestle.tif": described(write_trestle, "Objective", f"Patient={SECRET};"),
}


def everything(output: Path) -> Iterator[bytes]:
    """Names and bytes of all files, what is compressed in them, and pictures beside the levels."""
    for file in [output, *output.rglob("*")]:
        yield file.name.encode()
        if file.is_file():
            yield file.read_bytes()
    if output.is_file() and output.suffix not in (".json", ".czi", ".png", ".jpg"):
        with tifffile.TiffFile(output) as tiff:
            yield from (page.asarray().tobytes() for page in tiff.pages if not page.aspage().is_tiled)


def shown(output: Path, words: set[str]) -> set[str]:
    """Those of the words that are anywhere in it."""
    contents = [content.lower() for content in everything(output)]
    spelled = {each: [each.lower().encode(form) for form in ("utf-8", "utf-16-le", "utf-16-be")] for each in words}
    return {each for each in words if any(form in content for content in contents for form in spelled[each])}


def shows(output: Path, words: str) -> bool:
    return bool(shown(output, {words}))


def made(slide: Slide, output: Path, area: Box | None = None, options: UpscaleOptions | None = None) -> Path:
    """The result, with its work folder beside it."""
    source, options = select_region(slide, area=area), options or UpscaleOptions()
    folder = plan_upscaling(source, BICUBIC, options).work_folder(keep=True)
    deque(upscale_region(source, BICUBIC, output, options=options, folder=folder), 0)
    return output


@pytest.mark.parametrize("name", SLIDES)
def test_no_word_of_a_slide_is_in_a_result_or_its_work_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / SECRET).mkdir()
    slide = SLIDES[name](tmp_path / SECRET / name)
    assert shows(slide, SECRET)
    with open_slide(slide, mpp=0.5) as opened:
        for output in (*OUTPUTS, DICOM):
            (tmp_path / output).parent.mkdir(exist_ok=True)
            made(opened, tmp_path / output)
            assert not shows(tmp_path / output, SECRET)
            work = tmp_path / f"{output}.wsisr-part"
            assert (work / "run.json").exists()
            assert not shows(work, SECRET)


@pytest.mark.parametrize("output", ["a.ome.tif", "a.svs"])
def test_pixels_of_the_label_are_there_only_if_asked_for(tmp_path: Path, output: str) -> None:
    with open_slide(aperio(tmp_path / "slide.svs")) as slide:
        for keep in ((), ("label",)):
            path = made(slide, tmp_path / f"{len(keep)}{output}", options=UpscaleOptions(keep_images=keep))
            rows = [row.tobytes() for row in LABEL]
            found = sum(any(row in content for content in everything(path)) for row in rows)
            assert found == (len(rows) if keep else 0)


def said(slide: Slide) -> set[str]:
    """Words of a header that are no scanner's name, and that OpenSlide has not made itself."""
    kept = identify_scanner(slide.info.vendor, slide.info.properties).values()
    own = (value for name, value in slide.info.properties.items() if not name.startswith("openslide."))
    return {value for value in own if len(value) > 5} - set(kept)


def copied(slide: Slide, folder: Path) -> set[str]:
    """What results say that they would not say of any slide."""
    words, found = {*said(slide), slide.info.path.stem}, set()
    for output in OUTPUTS:
        written, other = made(slide, folder / output, Box(0, 0, 300, 200)), folder / f"other{output}"
        deque(upscale_region(SlideRegion(InMemorySlide(make_noise(Size(300, 200))), 0), BICUBIC, other), 0)
        found |= shown(written, words) - shown(other, words)
    return found


def test_what_a_real_slide_says_of_itself_is_not_copied(tmp_path: Path, cmu_slide: Path) -> None:
    with open_slide(cmu_slide) as slide:
        assert len(said(slide)) > 5
        assert copied(slide, tmp_path) == set()


@pytest.mark.parametrize("name", ["dicom-cmu-1", "dicom-jpeg.dcm"])
def test_what_vendors_slides_say_is_not_copied(tmp_path: Path, shared_slides: Path, name: str) -> None:
    with open_slide(shared_slides / "vendor" / name, mpp=0.5) as slide:
        assert len(said(slide)) > 5
        assert copied(slide, tmp_path) == set()


def test_a_patients_name_in_dicom_is_not_copied(tmp_path: Path, shared_slides: Path) -> None:
    data = (shared_slides / "vendor" / "dicom-jpeg.dcm").read_bytes()
    at, planted = _patient(data), b""
    for element, kind in ((0x10, b"PN"), (0x20, b"LO"), (0x4000, b"LT")):
        planted += struct.pack("<HH2sH", 0x10, element, kind, len(SECRET) + 1) + f"{SECRET} ".encode()
    slide = tmp_path / "slide.dcm"
    slide.write_bytes(data[:at] + planted + data[at:])
    with open_slide(slide, mpp=0.5) as opened:
        assert SECRET in str(opened.info.properties)
        for output in (*OUTPUTS, DICOM):
            options = UpscaleOptions(deidentify=output == DICOM)
            assert not shows(made(opened, tmp_path / output, Box(0, 0, 120, 100), options), SECRET)
        assert shows(made(opened, tmp_path / "patient.dcm", Box(0, 0, 120, 100)), SECRET)


def _patient(data: bytes) -> int:
    """Where elements of the patient begin in a DICOM file of explicit, little-endian elements."""
    at = 132
    while True:
        group, kind, count = *struct.unpack_from("<H2x2s", data, at), struct.unpack_from("<H", data, at + 6)[0]
        if group >= 0x10:
            return at
        long = kind in (b"OB", b"OW", b"SQ", b"UN", b"UT")
        at += 12 + struct.unpack_from("<I", data, at + 8)[0] if long else 8 + count
