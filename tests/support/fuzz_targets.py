"""What is fuzzed: small sound files of each format, how they are damaged, and what is then done with them."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
import tifffile
from PIL import Image, ImageCms

from tests.support.czi import JPEG, JPEG_XR, RAW, ZSTD_WITH_HEADER, Block, write_czi, write_czi_pyramid
from tests.support.dicom import DicomLevel, write_dicom_level
from tests.support.formats import make_blobs, write_leica, write_philips, write_qptiff, write_trestle
from tests.support.mirax import write_mirax
from tests.support.mutations import (
    Mutation,
    cut_bytes,
    flip_bytes,
    replace_czi_number,
    replace_json_value,
    replace_numbers_in_text,
    replace_tiff_field,
    replace_words,
)
from tests.support.pairs import write_dataset
from tests.support.samples import make_noise, write_generic_pyramid, write_ome_pyramid, write_ome_zarr, write_tiff
from tests.support.vsi import JPEG as VSI_JPEG
from tests.support.vsi import JPEG_2000 as VSI_JPEG_2000
from tests.support.vsi import Scan, write_vsi
from wsisr.errors import SlideError, WsisrError
from wsisr.imaging.geometry import Box, Size
from wsisr.slides import Slide, open_slide

LEVELS = [make_blobs(Size(200, 150)), make_blobs(Size(100, 75), 1)]
MAX_READ_PX = 300_000
"""Pixels of a level up to which it is read as a whole; of others only corners and the middle."""

_READ_PX = 96

_DAMAGED_BEFORE = (ValueError, LookupError, ArithmeticError, TypeError, RecursionError, struct.error)
"""What mutations raise where an earlier one has left nothing that they could change."""

MAX_LINE = 700
"""Characters of a refusal besides the file's name."""

ANY_BYTES: tuple[Mutation, ...] = (flip_bytes, cut_bytes, replace_words)
"""Damage to files of any format."""


@dataclass(frozen=True, slots=True)
class FuzzTarget:
    """One format."""

    write_samples: Callable[[Path], Sequence[Path]]
    """Writes small sound files, or folders, into an empty folder."""
    exercise: Callable[[Path], None]
    """Does with one of them what wsisr does; raises `WsisrError` where it refuses it."""
    mutations: Sequence[Mutation] = ANY_BYTES
    text_suffixes: tuple[str, ...] = ()
    """Suffixes of files of JSON, whose values are replaced, too."""

    def write_mutant(self, sample: Path, mutant: Path, random: Random) -> None:
        """Write a damaged copy of a sample; of a folder, one or two of its files are damaged."""
        if sample.is_file():
            mutant.write_bytes(self._mutate(sample, random))
            return
        shutil.copytree(sample, mutant)
        files = sorted(path for path in mutant.rglob("*") if path.is_file())
        for path in random.sample(files, k=min(len(files), random.choice((1, 1, 2)))):
            content = self._mutate(path, random)
            if random.random() < 0.05:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(content)

    def _mutate(self, path: Path, random: Random) -> bytes:
        data = path.read_bytes()
        is_json = path.name.endswith(self.text_suffixes) if self.text_suffixes else False
        mutations = (replace_json_value, replace_json_value, replace_numbers_in_text) if is_json else self.mutations
        for _ in range(random.choice((1, 1, 1, 2, 3))):
            mutate = random.choice(mutations)
            with suppress(*_DAMAGED_BEFORE):
                data = mutate(data, random)
        return data


def _write_tiffs(folder: Path) -> Sequence[Path]:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    aperio = (
        "Aperio Image Library v11.2.1\n200x150 [0,0 200x150] (64x64) JPEG/RGB Q=70|AppMag = 20|MPP = 0.5|Date = 1/2/20"
    )
    with tifffile.TiffWriter(folder / "aperio.svs") as writer:
        options: dict[str, Any] = {"photometric": "rgb", "metadata": None, "compression": "jpeg"}
        writer.write(LEVELS[0], description=aperio, tile=(64, 64), iccprofile=icc, **options)
        writer.write(LEVELS[1], description=aperio, rowsperstrip=16, **options)
        writer.write(make_noise(Size(40, 40)), description="Aperio\nlabel 40x40", subfiletype=1, compression="lzw",
                     photometric="rgb", metadata=None)  # fmt: skip
    resolution: dict[str, Any] = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
    return [
        folder / "aperio.svs",
        write_generic_pyramid(folder / "zlib.tif", LEVELS, predictor=True, **resolution),
        write_generic_pyramid(folder / "jpeg.tif", LEVELS, compression="jpeg", **resolution),
        write_generic_pyramid(folder / "raw.tif", LEVELS, compression=None),
        write_generic_pyramid(folder / "lzw.tif", LEVELS, compression="lzw"),
        write_tiff(folder / "strips.tif", LEVELS[0], rowsperstrip=16, byteorder=">"),
        write_tiff(folder / "big.tif", LEVELS[0], tile=(64, 64), bigtiff=True, compression="zstd"),
        write_tiff(folder / "webp.tif", LEVELS[0], tile=(64, 64), compression="webp"),
        write_tiff(folder / "jpeg2000.tif", LEVELS[0], tile=(64, 64), compression="jpeg2000"),
        write_tiff(folder / "jpegxl.tif", LEVELS[0], tile=(64, 64), compression="jpegxl"),
        write_tiff(folder / "planar.tif", np.moveaxis(LEVELS[0], 2, 0), tile=(64, 64), planarconfig="separate"),
        write_leica(folder / "leica.scn", LEVELS),
        write_philips(folder / "philips.tiff", [make_blobs(Size(side, side)) for side in (128, 64)]),
        write_qptiff(folder / "qptiff.tif", LEVELS),
        write_trestle(folder / "trestle.tif", LEVELS),
    ]


def _write_ome_tiffs(folder: Path) -> Sequence[Path]:
    facts = {"PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm"}
    planes = np.moveaxis(LEVELS[0], 2, 0)
    channels = {"axes": "CYX", "Channel": {"Name": ["Red", "Green", "Blue"]}}
    tifffile.imwrite(folder / "pages.ome.tif", planes, metadata=channels, tile=(64, 64), photometric="minisblack")
    with tifffile.TiffWriter(folder / "two.ome.tif", ome=True) as writer:
        for number, level in enumerate(LEVELS):
            writer.write(level, photometric="rgb", metadata=facts | {"axes": "YXS", "Name": f"image {number}"})
    return [
        write_ome_pyramid(folder / "zlib.ome.tif", LEVELS, facts),
        write_ome_pyramid(folder / "jpeg.ome.tif", LEVELS, facts, compression="jpeg"),
        folder / "pages.ome.tif",
        folder / "two.ome.tif",
    ]


def _write_zarrs(folder: Path) -> Sequence[Path]:
    return [
        write_ome_zarr(folder / "v2.zarr", LEVELS, "0.4"),
        write_ome_zarr(folder / "v3.zarr", LEVELS, "0.5"),
        write_ome_zarr(folder / "shards.zarr", LEVELS, "0.5", shards=(3, 128, 128)),
    ]


def _write_dicoms(folder: Path) -> Sequence[Path]:
    for number, level in enumerate(LEVELS):
        write_dicom_level(
            folder / "slide" / f"{number}.dcm", level, DicomLevel(mpp=0.5 * 2**number, volume_mpp=0.5 * 2**number)
        )
    write_dicom_level(folder / "one.dcm", LEVELS[0], DicomLevel(undefined_lengths=True))
    return [folder / "slide", folder / "one.dcm"]


def _write_czis(folder: Path) -> Sequence[Path]:
    scenes = [Block(level, 300 * number, 0, dimensions={"C": 0, "S": number}) for number, level in enumerate(LEVELS)]
    return [
        *(
            write_czi_pyramid(folder / f"{codec}.czi", LEVELS, codec)
            for codec in (RAW, JPEG, JPEG_XR, ZSTD_WITH_HEADER)
        ),
        write_czi(folder / "scenes.czi", scenes),
    ]


def _write_mirax(folder: Path) -> Sequence[Path]:
    """Write a slide whose files, in a folder of their own, are damaged one by one."""
    (folder / "slide").mkdir()
    write_mirax(folder / "slide" / "a.mrxs", [make_blobs(Size(side, side)) for side in (128, 64)])
    return [folder / "slide"]


def _write_vsis(folder: Path) -> Sequence[Path]:
    """Write slides whose files, in folders of their own, are damaged one by one."""
    for codec in (VSI_JPEG, VSI_JPEG_2000):
        (folder / f"{codec}").mkdir()
        write_vsi(folder / f"{codec}" / "a.vsi", Scan(LEVELS, codec))
    return [folder / f"{VSI_JPEG}", folder / f"{VSI_JPEG_2000}"]


def _exercise_vsi(folder: Path) -> None:
    exercise_slide(folder / "a.vsi")


def _exercise_mirax(folder: Path) -> None:
    exercise_slide(folder / "a.mrxs")


def exercise_slide(path: Path) -> None:
    """Open a slide, ask for its facts, and read some of its pixels."""
    from wsisr.cli.info import slide_facts
    from wsisr.slides.files import list_slide_files
    from wsisr.slides.scanner import identify_scanner, parse_scan_date
    from wsisr.slides.wrappers.srgb import SrgbSlide
    from wsisr.upscaling.provenance import read_derived_metadata

    read_derived_metadata(path)
    with open_slide(path, estimate=True) as slide:
        info = slide.info
        json.dumps(slide_facts(info))
        list_slide_files(info)
        identify_scanner(info.vendor, info.properties)
        parse_scan_date(info.properties)
        for number in range(min(len(info.levels), 8)):
            with suppress(SlideError):
                _read_level(slide, number)
        _read_associated_images(slide)
        if info.icc:
            with suppress(SlideError):
                _read_level(SrgbSlide(slide), 0)
        if info.size.pixel_count < MAX_READ_PX:
            from wsisr.tissue import find_tissue

            find_tissue(slide)


def _read_level(slide: Slide, number: int) -> None:
    size = slide.info.levels[number].size
    right, bottom = max(0, size.width - 40), max(0, size.height - 40)
    boxes = [Box.from_size(Size(_READ_PX, _READ_PX)).translate(*at) for at in ((0, 0), (right, bottom))]
    if size.pixel_count < MAX_READ_PX:
        boxes.append(Box.from_size(size))
    for box in boxes:
        pixels = slide.read(box, number)
        assert pixels.shape == (box.height, box.width, 3)
        assert pixels.dtype == np.uint8


def _read_associated_images(slide: Slide) -> None:
    from wsisr.slides.associated import read_associated_image

    for name in list(slide.info.associated)[:4]:
        with suppress(SlideError):
            read_associated_image(slide.info, name)


def _write_geojson(folder: Path) -> Sequence[Path]:
    ring = [[10, 10], [150, 12.5], [140, 100], [10, 10]]
    hole = [[30, 30], [40, 30], [40, 40], [30, 30]]
    features: list[Any] = [
        {"type": "Feature", "id": "a", "geometry": {"type": "Polygon", "coordinates": [ring, hole]},
         "properties": {"objectType": "annotation", "classification": {"name": "Tumor", "color": [1, 2, 3]}}},
        {"type": "Feature", "geometry": {"type": "MultiPolygon", "coordinates": [[ring], [hole]]},
         "properties": {"classification": {"names": ["Ignore*"]}}},
        {"type": "Feature", "geometry": None, "properties": None},
    ]  # fmt: skip
    collection = {"type": "FeatureCollection", "features": features}
    (folder / "qupath.geojson").write_text(json.dumps(collection))
    (folder / "list.geojson").write_text(json.dumps(features))
    geometries = {"type": "GeometryCollection", "geometries": [feature["geometry"] for feature in features[:2]]}
    (folder / "geometries.json").write_text(json.dumps(geometries))
    return [folder / "qupath.geojson", folder / "list.geojson", folder / "geometries.json"]


def _write_pictures(folder: Path) -> Sequence[Path]:
    picture, exif = Image.fromarray(LEVELS[1]), Image.Exif()
    exif[274] = 6
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    opaque = picture.convert("RGBA")
    for name, image, options in (
        ("plain.png", picture, {"exif": exif, "icc_profile": icc}),
        ("opaque.png", opaque, {}),
        ("plain.jpg", picture, {"exif": exif, "icc_profile": icc}),
        ("progressive.jpg", picture, {"progressive": True}),
    ):
        image.save(folder / name, **options)
    return sorted(folder.iterdir())


def _write_masks(folder: Path) -> Sequence[Path]:
    mask = Image.fromarray(make_noise(Size(100, 75)) // 128 * 255)
    for name, picture, options in (
        ("grey.png", mask.convert("L"), {}),
        ("bits.png", mask.convert("1"), {}),
        ("palette.png", mask.convert("P"), {"transparency": 3}),
        ("colour.jpg", mask, {}),
        ("colour.tif", mask, {"compression": "tiff_lzw"}),
    ):
        picture.save(folder / name, **options)
    return sorted(folder.iterdir())


def _exercise_marks(path: Path) -> None:
    from wsisr.tissue.annotation import Canvas, read_geojson, read_mask_picture

    read = read_geojson if path.suffix in (".geojson", ".json") else read_mask_picture
    with suppress(WsisrError):
        read(path, Canvas(Size(4000, 3000), Box(100, 100, 2100, 1600)))
    read(path, Canvas(Size(200, 150))).mask_cells(Size(200, 150), Box(0, 0, 200, 150), 16)


def write_onnx_files(folder: Path) -> Sequence[Path]:
    import onnx
    from onnx import helper

    from wsisr.models.backends.onnx_file import RECEPTIVE_FIELD_KEY
    from wsisr.models.spec import ModelSpec

    weights = np.zeros((12, 3, 1, 1), np.float32)
    weights[np.arange(12), np.arange(12) // 4] = 1
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=[1, 1]),
        helper.make_node("DepthToSpace", ["c"], ["y"], blocksize=2, mode="CRD"),
    ]
    sides = (("x", ("n", 3, "h", "w")), ("y", None))
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in sides)
    graph = helper.make_graph(nodes, "test", [x], [y], [onnx.numpy_helper.from_array(weights, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    (folder / "foreign.onnx").write_bytes(model.SerializeToString())
    spec = ModelSpec("masrgan", 2, 8, 1, 5, (0.5, 1)).to_json()
    helper.set_model_props(model, {"wsisr.spec": spec, RECEPTIVE_FIELD_KEY: "1"})
    (folder / "own.onnx").write_bytes(model.SerializeToString())
    return [folder / "foreign.onnx", folder / "own.onnx"]


def _write_weights(folder: Path) -> Sequence[Path]:
    from tests.support.networks import make_small_network, make_small_spec
    from wsisr.models.weights import save_weights

    for family in ("masrgan", "mmsrnet"):
        save_weights(folder / f"{family}.safetensors", make_small_spec(family), make_small_network(family).state_dict())
    return sorted(folder.iterdir())


def _exercise_model(path: Path) -> None:
    from wsisr.models.loading import load_upscaler

    upscaler = load_upscaler(path, scale=2, device="cpu")
    enlarged = upscaler(make_noise(Size(20, 15))[None])
    assert enlarged.shape == (1, 30, 40, 3)


def _write_recipes(folder: Path) -> Sequence[Path]:
    from tests.support.samples import REPOSITORY

    for name in ("masrgan-x2", "mmsrnet-x2", "masrgan-x2-gan"):
        shutil.copy(REPOSITORY / "weights" / f"{name}.toml", folder)
    (folder / "degradation.toml").write_text(
        "kernels = { light = 0.5, area = 0.5 }\n[first.lens]\nna = [0.25, 0.4]\n[first.jpeg]\nqualities = [30, 95]\n"
        "[second]\nshare = 0.3\n[second.jpeg]\nqualities = 70\n"
    )
    return sorted(folder.iterdir())


def _exercise_recipe(path: Path) -> None:
    from wsisr.dataset.degradation import read_degradation
    from wsisr.training.stages import read_recipe

    (read_degradation if path.name.startswith("degradation") else read_recipe)(path)


def _write_datasets(folder: Path) -> Sequence[Path]:
    write_dataset(folder / "pairs", side=64)
    (folder / "pairs" / "slides.jsonl").write_text(
        '{"slide": "slide0.svs", "case": "slide0", "split": "train", "kind": "pyramid", "size": [256, 64], "mpp": 0.5, '
        '"thumbnail": "", "rejected": {"glass": {"count": 3, "examples": []}}, "relations": [], "told": {"a": "b"}}\n'
    )
    (folder / "pairs" / "dataset.json").write_text('{"wsisr": "0.1.0", "recipe": {"patch_px": "64"}, "failed": {}}\n')
    return [folder / "pairs"]


def _exercise_dataset(path: Path) -> None:
    from wsisr.dataset.packing import order_in_turns
    from wsisr.dataset.reader import PatchStore
    from wsisr.dataset.report import render_report
    from wsisr.dataset.report.contents import read_report_contents

    store = PatchStore(path)
    for record in store.records[:6]:
        assert record.to_json()
        with suppress(WsisrError):
            store.read_high(record)
            store.read_low(record)
    order_in_turns(store.records)
    render_report(read_report_contents(path))


TIFF_DAMAGE = (flip_bytes, cut_bytes, replace_words, replace_tiff_field, replace_tiff_field, replace_tiff_field)

TARGETS = {
    "tiff": FuzzTarget(_write_tiffs, exercise_slide, TIFF_DAMAGE),
    "ome-tiff": FuzzTarget(_write_ome_tiffs, exercise_slide, (*TIFF_DAMAGE, *[replace_numbers_in_text] * 4)),
    "ome-zarr": FuzzTarget(_write_zarrs, exercise_slide, text_suffixes=(".json", ".zarray", ".zattrs", ".zgroup")),
    "dicom": FuzzTarget(_write_dicoms, exercise_slide),
    "mirax": FuzzTarget(_write_mirax, _exercise_mirax, (*ANY_BYTES, *[replace_numbers_in_text] * 3)),
    "czi": FuzzTarget(_write_czis, exercise_slide, (*ANY_BYTES, replace_czi_number)),
    "vsi": FuzzTarget(_write_vsis, _exercise_vsi),
    "pictures": FuzzTarget(_write_pictures, exercise_slide),
    "geojson": FuzzTarget(_write_geojson, _exercise_marks, text_suffixes=(".json", ".geojson")),
    "masks": FuzzTarget(_write_masks, _exercise_marks),
    "onnx": FuzzTarget(write_onnx_files, _exercise_model),
    "weights": FuzzTarget(_write_weights, _exercise_model, (*ANY_BYTES, replace_numbers_in_text)),
    "recipes": FuzzTarget(_write_recipes, _exercise_recipe, (*ANY_BYTES, *[replace_numbers_in_text] * 3)),
    "datasets": FuzzTarget(_write_datasets, _exercise_dataset, text_suffixes=(".json", ".jsonl")),
}
"""Formats by the name that the bench takes."""


def make_samples(name: str, folder: Path) -> Sequence[Path]:
    """Write the samples of a format into a folder of their own, and return them."""
    samples = folder / name
    samples.mkdir()
    return TARGETS[name].write_samples(samples)


def write_mutant(name: str, samples: Sequence[Path], folder: Path, seed: str) -> Path:
    """Write one damaged file; the same for the same seed."""
    random = Random(seed)
    sample = random.choice(samples)
    mutant = folder / sample.name
    if mutant.is_dir():
        shutil.rmtree(mutant)
    TARGETS[name].write_mutant(sample, mutant, random)
    return mutant


class Verdict(NamedTuple):
    """What became of a damaged file."""

    outcome: str
    """`read`, `refused` by one clear line, or `fault`."""
    error: BaseException | None = None


def judge_mutant(name: str, mutant: Path) -> Verdict:
    """Do with a damaged file what wsisr does."""
    try:
        TARGETS[name].exercise(mutant)
    except WsisrError as error:
        line = str(error)
        is_clear = "\n" not in line and len(line) < MAX_LINE + len(str(mutant)) and not _is_caused_by_memory(error)
        return Verdict("refused" if is_clear else "fault", error)
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        return Verdict("fault", error)
    return Verdict("read")


def _is_caused_by_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False
