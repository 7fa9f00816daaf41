"""Small slides in formats without a real sample here, with the tags and XML of the vendors' files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from tests.support.samples import make_noise
from wsisr.imaging.geometry import Size
from wsisr.imaging.pixels import Rgb

TILED: dict[str, Any] = {"tile": (64, 64), "photometric": "rgb", "metadata": None, "compression": "jpeg"}

_SCN = "http://www.leica-microsystems.com/scn/2010/10/01"


def write_leica(path: Path, levels: Sequence[Rgb], mpp: float = 0.5, second: Sequence[Rgb] = ()) -> Path:
    """Write an SCN: a macro image of the whole glass, a scan 20 px from its corner, optionally another at 300 px."""
    nanometres = round(mpp * 1000)
    glass = Size(400 * nanometres, 600 * nanometres)
    macro = make_noise(Size(40, 60))

    def scan(images: Sequence[Rgb], first: int, px: int) -> str:
        height, width = images[0].shape[:2]
        return _scn_image(images, first, Size(width * nanometres, height * nanometres), px * nanometres, 20)

    xml = (
        f'<?xml version="1.0"?><scn xmlns="{_SCN}"><collection name="a" sizeX="{glass.width}" sizeY="{glass.height}">'
        + _scn_image([macro], 0, glass, 0, 1.25)
        + scan(levels, 1, 20)
        + (scan(second, 1 + len(levels), 300) if second else "")
        + "</collection></scn>"
    )
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for number, image in enumerate([macro, *levels, *second]):
            density = 10_000 / (mpp * 2 ** max(number - 1, 0))
            writer.write(
                image,
                description=xml if number == 0 else None,
                resolution=(density, density),
                resolutionunit="CENTIMETER",
                **TILED,
            )
    return path


def _scn_image(levels: Sequence[Rgb], first: int, view: Size, offset: int, objective: float) -> str:
    sizes = [f'sizeX="{image.shape[1]}" sizeY="{image.shape[0]}"' for image in levels]
    dimensions = "".join(
        f'<dimension r="{number}" ifd="{first + number}" {size}/>' for number, size in enumerate(sizes)
    )
    return (
        '<image name="image"><creationDate>2020-01-01T00:00:00Z</creationDate><device model="Leica SCN400" '
        f'version="1.4"/><pixels {sizes[0]}>{dimensions}</pixels><view sizeX="{view.width}" sizeY="{view.height}" '
        f'offsetX="{offset}" offsetY="{offset}"/><scanSettings><objectiveSettings><objective>{objective}</objective>'
        "</objectiveSettings><illuminationSettings><numericalAperture>0.4</numericalAperture><illuminationSource>"
        "brightfield</illuminationSource></illuminationSettings></scanSettings></image>"
    )


def write_philips(path: Path, levels: Sequence[Rgb], mpp: float = 0.5) -> Path:
    """Write a Philips TIFF: every level is padded to whole tiles and has its pixel spacing in mm."""

    def attribute(name: str, kind: str, value: str) -> str:
        return f'<Attribute Name="{name}" Group="0x0028" Element="0x0030" PMSVR="{kind}">{value}</Attribute>'

    def spaced(number: int) -> str:
        spacing = f"&quot;{mpp * 2**number / 1000}&quot; &quot;{mpp * 2**number / 1000}&quot;"
        return (
            '<DataObject ObjectType="PixelDataRepresentation">'
            + attribute("DICOM_PIXEL_SPACING", "IDoubleArray", spacing)
            + attribute("PIIM_PIXEL_DATA_REPRESENTATION_NUMBER", "IUInt16", str(number))
            + "</DataObject>"
        )

    spacings = "".join(spaced(number) for number in range(len(levels)))
    sequence = attribute("PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE", "IDataObjectArray", f"<Array>{spacings}</Array>")
    image = (
        '<DataObject ObjectType="DPScannedImage">'
        + attribute("PIM_DP_IMAGE_TYPE", "IString", "WSI")
        + attribute("DICOM_PIXEL_SPACING", "IDoubleArray", f"&quot;{mpp / 1000}&quot; &quot;{mpp / 1000}&quot;")
        + sequence
        + "</DataObject>"
    )
    xml = (
        '<?xml version="1.0" encoding="UTF-8" ?><DataObject ObjectType="DPUfsImport">'
        + attribute("PIM_DP_SCANNED_IMAGES", "IDataObjectArray", f"<Array>{image}</Array>")
        + "</DataObject>"
    )
    with tifffile.TiffWriter(path) as writer:
        for number, pixels in enumerate(levels):
            writer.write(
                pixels,
                description=xml if number == 0 else None,
                software="Philips DP v1.0",
                subfiletype=min(number, 1),
                **TILED,
            )
    return path


def write_trestle(path: Path, levels: Sequence[Rgb], mpp: float = 0.5) -> Path:
    """Write a Trestle slide: MedScan's description, no overlap, um/px in the tags of the TIFF resolution."""
    overlaps = " ".join(["0 0"] * len(levels))
    description = (
        "Background Color=FFFFFF;White Balance=1,1,1;Objective Magnification=20;JPEG Quality=90;"
        f"OverlapsXY= {overlaps};"
    )
    with tifffile.TiffWriter(path) as writer:
        for number, pixels in enumerate(levels):
            writer.write(
                pixels,
                description=description,
                software="MedScan",
                resolution=(mpp * 2**number, mpp * 2**number),
                resolutionunit="NONE",
                **TILED,
            )
    return path


def write_qptiff(path: Path, levels: Sequence[Rgb], mpp: float = 0.5) -> Path:
    """Write Akoya's QPTIFF of a brightfield scan: level 0, a thumbnail, the other levels, a label."""

    def description(kind: str) -> str:
        return (
            '<?xml version="1.0" encoding="utf-16"?><PerkinElmer-QPI-ImageDescription><DescriptionVersion>2'
            f"</DescriptionVersion><ImageType>{kind}</ImageType><Objective>20x</Objective>"
            "</PerkinElmer-QPI-ImageDescription>"
        )

    def page(writer: Any, pixels: Rgb, kind: str, number: int) -> None:
        density = 10_000 / (mpp * 2**number)
        layout = TILED if kind in ("FullResolution", "ReducedResolution") else TILED | {"tile": None}
        writer.write(
            pixels,
            description=description(kind),
            software="PerkinElmer-QPI",
            resolution=(density, density),
            resolutionunit="CENTIMETER",
            subfiletype=int(kind == "ReducedResolution"),
            **layout,
        )

    with tifffile.TiffWriter(path) as writer:
        page(writer, levels[0], "FullResolution", 0)
        page(writer, make_noise(Size(50, 40)), "Thumbnail", 0)
        for number, pixels in enumerate(levels[1:], start=1):
            page(writer, pixels, "ReducedResolution", number)
        page(writer, make_noise(Size(40, 40)), "Label", 0)
    return path


def make_blobs(size: Size, seed: int = 0) -> Rgb:
    """Return (h, w, 3) of 16 px blocks, which JPEG stores almost without loss."""
    coarse = make_noise(Size(size.width // 16 + 2, size.height // 16 + 2), seed)
    return np.asarray(np.kron(coarse, np.ones((16, 16, 1), np.uint8)))[: size.height, : size.width]
