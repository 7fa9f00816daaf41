"""The DICOM layout: what validators, readers and archives find in it, and what it takes over from a DICOM slide."""

from __future__ import annotations

import shutil
import subprocess
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, config, dcmread
from pydicom.encaps import generate_frames
from typer.testing import CliRunner
from wsidicom import WsiDicom

from tests.support.dicom import DicomLevel, write_dicom_level
from tests.support.formats import make_blobs
from tests.support.samples import InMemorySlide, write_tiff
from wsisr import upscale_slide
from wsisr.cli.app import app
from wsisr.errors import OutputError, SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.slides import open_slide
from wsisr.slides.dicom_context import read_dicom_context
from wsisr.slides.region import SlideRegion
from wsisr.slides.wrappers.srgb import CONVERTED_TO_SRGB
from wsisr.upscaling.dicom_output import context_metadata
from wsisr.upscaling.provenance import refuse_derived
from wsisr.writing import Codec, PyramidSpec, PyramidWriter, read_metadata
from wsisr.writing.layouts import dicom_frames
from wsisr.writing.layouts.catalog import LAYOUTS
from wsisr.writing.verification import Expectation, describe_faults, verify_pyramid

SIZE = Size(200, 120)
IMAGE = make_blobs(SIZE)
MACRO = make_blobs(Size(120, 50), 3)
METADATA = {"derived": "super-resolved", "model": "m", "size": f"{SIZE} px", "mpp": "0.25", "source sha256": "a" * 64}
SPEC = PyramidSpec(SIZE, 0.25, 64, magnification=40, icc=bytes(500), title="super-resolved x2", metadata=METADATA)
LOSSLESS = LAYOUTS["dicom"].select_codec("jpeg2000")
CODECS = [Codec(), Codec(subsampling="420"), LOSSLESS]
STUDY, FRAME_OF_REFERENCE = "2.25.1234567890", "2.25.2345678901"
SECRETS = ("Müller^Änne", "ACC-0815", "SLIDE-4711", "Dr^Ziegler")


def write(folder: Path, spec: PyramidSpec = SPEC, image: np.ndarray[Any, Any] = IMAGE) -> Path:
    with PyramidWriter(folder, spec, overwrite=True) as writer:
        writer.write(Box.from_size(spec.size), image)
        deque(writer.finish(), 0)
    return folder


def read_instances(folder: Path) -> list[Dataset]:
    return [dcmread(path) for path in sorted(folder.iterdir())]


def find_faults(path: Path) -> set[str]:
    return {finding.check for finding in verify_pyramid(path) if not finding.good}


@pytest.fixture(scope="module", params=CODECS, ids=lambda codec: codec.description)
def codec(request: pytest.FixtureRequest) -> Codec:
    chosen: Codec = request.param
    return chosen


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, codec: Codec) -> Path:
    return write(tmp_path_factory.mktemp("dicom") / "a.dcm", replace(SPEC, codec=codec))


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("damaged") / "a.dcm")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DICOM slide of two levels, of a made-up patient, at a place on the glass of its own."""
    folder = tmp_path_factory.mktemp("source")
    levels = [DicomLevel(origin=(11.0, 22.0)), DicomLevel(mpp=1.0, volume_mpp=1.0, origin=(11.0, 22.0))]
    for number, level in enumerate(levels):
        path = write_dicom_level(folder / f"{number}.dcm", make_blobs(Size(256 >> number, 256 >> number)), level)
        dataset = dcmread(path)
        dataset.SpecificCharacterSet = "ISO_IR 100"
        dataset.PatientName, dataset.AccessionNumber, dataset.ContainerIdentifier = SECRETS[:3]
        dataset.ReferringPhysicianName, dataset.Manufacturer = SECRETS[3], "Hamamatsu"
        dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = STUDY, FRAME_OF_REFERENCE
        dataset.LossyImageCompression, dataset.LossyImageCompressionRatio = "01", 7.5
        dataset.LossyImageCompressionMethod = "ISO_10918_1"
        dataset.save_as(path)
    return folder


@pytest.fixture(scope="module")
def carried(source: Path) -> Path:
    options: dict[str, Any] = {"scale": 2, "model": "bicubic", "region": (20, 40, 100, 80), "layout": "dicom"}
    report = upscale_slide(source, output=source.with_name(f"{source.name}-carried"), **options)
    return Path(report.output)


def validate(path: Path) -> list[str]:
    validator = shutil.which("dciodvfy")
    if validator is None:
        pytest.skip("no dciodvfy (dicom3tools)")
    output = subprocess.run([validator, path], capture_output=True, text=True, check=False).stderr
    assert "VLWholeSlideMicroscopyImage" in output
    return [line for line in output.splitlines() if line.startswith("Error")]


def test_a_validator_finds_no_error(folder: Path) -> None:
    assert [validate(path) for path in sorted(folder.iterdir())] == [[], [], []]


def test_a_validator_finds_no_error_in_what_a_dicom_slide_gave(carried: Path) -> None:
    assert validate(carried / "level-0.dcm") == []


def test_every_level_is_an_instance_of_one_series_in_powers_of_two(folder: Path) -> None:
    instances = read_instances(folder)
    assert len({instance.SOPInstanceUID for instance in instances}) == len(instances) == 3
    assert len({(instance.StudyInstanceUID, instance.SeriesInstanceUID) for instance in instances}) == 1
    for number, instance in enumerate(instances):
        assert instance.SOPClassUID == "1.2.840.10008.5.1.4.1.1.77.1.6"
        assert instance.ImageType == ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED" if number else "NONE"]
        assert instance.DimensionOrganizationType == "TILED_FULL"
        measures = instance.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        assert measures.PixelSpacing == [0.00025 * 2**number] * 2
        assert instance.ImagedVolumeWidth == pytest.approx(0.05, rel=0.05)
        frames = list(generate_frames(instance.PixelData, number_of_frames=instance.NumberOfFrames))
        assert len(frames) == instance.NumberOfFrames == (8, 2, 1)[number]
        assert "super-resolved" in instance.DerivationDescription
        assert "super-resolved" in instance.SeriesDescription


def test_colours_and_losses_are_named_as_the_frames_have_them(folder: Path, codec: Codec) -> None:
    for instance in read_instances(folder):
        named = (str(instance.file_meta.TransferSyntaxUID), instance.PhotometricInterpretation)
        if codec == LOSSLESS:
            assert named == ("1.2.840.10008.1.2.4.90", "RGB")
            assert instance.LossyImageCompression == "00"
        else:
            assert named == ("1.2.840.10008.1.2.4.50", "YBR_FULL_422")
            assert (instance.LossyImageCompression, instance.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
            assert 1 < instance.LossyImageCompressionRatio < 1000


def read_with_openslide(folder: Path) -> list[np.ndarray[Any, Any]]:
    with openslide.OpenSlide(folder / "level-0.dcm") as slide:
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.25)
        assert slide.properties["openslide.objective-power"] == "40"
        sizes = enumerate(slide.level_dimensions)
        return [np.asarray(slide.read_region((0, 0), number, size))[..., :3] for number, size in sizes]


def read_with_wsidicom(folder: Path) -> list[np.ndarray[Any, Any]]:
    with WsiDicom.open(folder) as slide:
        assert (slide.mpp.width, slide.mpp.height) == pytest.approx((0.25, 0.25))
        sizes = ((level.level, (level.size.width, level.size.height)) for level in slide.levels)
        return [np.asarray(slide.read_region((0, 0), number, size)) for number, size in sizes]


def test_openslide_and_wsidicom_see_the_same_levels_at_the_pixel_size(folder: Path, codec: Codec) -> None:
    first, second = read_with_openslide(folder), read_with_wsidicom(folder)
    assert [level.shape for level in first] == [level.shape for level in second]
    assert len(first) == 3
    for seen, other in zip(first, second, strict=True):
        np.testing.assert_allclose(seen.astype(int), other, atol=1)
    if codec == LOSSLESS:
        np.testing.assert_array_equal(first[0], IMAGE)


@pytest.fixture(scope="module")
def with_pictures(tmp_path_factory: pytest.TempPathFactory, codec: Codec) -> Path:
    pictures = {"label": make_blobs(Size(101, 67)), "macro": MACRO}
    return write(tmp_path_factory.mktemp("pictures") / "a.dcm", replace(SPEC, codec=codec, associated_images=pictures))


def test_label_and_macro_are_instances_of_the_series(with_pictures: Path, codec: Codec) -> None:
    kinds = {path.name: dcmread(path).ImageType[2] for path in with_pictures.iterdir()}
    levels = {f"level-{number}.dcm": "VOLUME" for number in range(3)}
    assert kinds == levels | {"label.dcm": "LABEL", "macro.dcm": "OVERVIEW"}
    assert find_faults(with_pictures) == set()
    with open_slide(with_pictures) as opened:
        assert (opened.info.path.name, opened.info.associated["macro"]) == ("level-0.dcm", Size(120, 50))
    with openslide.OpenSlide(with_pictures / "level-0.dcm") as slide, WsiDicom.open(with_pictures) as other:
        assert slide.level_count == len(other.levels) == 3
        macros = (slide.associated_images["macro"].convert("RGB"), other.read_overview())
        for macro in macros:
            largest = 0 if codec == LOSSLESS else 40
            assert np.abs(np.asarray(macro).astype(int) - MACRO).max() <= largest
        # The words that say that the image is derived stand below a copied label.
        assert slide.associated_images["label"].height > 67
        assert slide.associated_images["label"].size == other.read_label().size


def test_a_validator_finds_no_error_in_label_and_macro(with_pictures: Path) -> None:
    assert [validate(with_pictures / name) for name in ("label.dcm", "macro.dcm")] == [[], []]


def test_offsets_beyond_32_bits_are_in_the_extended_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_frames, "MAX_BASIC_OFFSET", 5000)
    folder = write(tmp_path / "a.dcm")
    extended = ["ExtendedOffsetTable" in instance for instance in read_instances(folder)]
    assert extended == [True, False, False]
    for seen, other in zip(read_with_openslide(folder), read_with_wsidicom(folder), strict=True):
        np.testing.assert_allclose(seen.astype(int), other, atol=1)
    assert find_faults(folder) == set()


def test_an_image_has_the_same_uids_again_and_another_has_others(tmp_path: Path) -> None:
    changed = IMAGE.copy()
    changed[:64, :64] = 0
    folders = [
        write(tmp_path / "a.dcm"),
        write(tmp_path / "b.dcm"),
        write(tmp_path / "c.dcm", image=changed),
        write(tmp_path / "d.dcm", replace(SPEC, metadata=METADATA | {"model": "n"})),
    ]
    firsts = [dcmread(folder / "level-0.dcm") for folder in folders]
    for name in ("SOPInstanceUID", "SeriesInstanceUID", "PyramidUID"):
        first, again, *others = (str(instance[name].value) for instance in firsts)
        assert first == again
        assert len({first, *others}) == 3
    assert len({(instance.StudyInstanceUID, instance.FrameOfReferenceUID) for instance in firsts}) == 1


def test_what_wsisr_writes_passes_and_what_differs_is_found(folder: Path, codec: Codec) -> None:
    spec = replace(SPEC, codec=codec)
    assert describe_faults(folder, spec) is None
    for path in (folder, folder / "level-1.dcm"):
        assert find_faults(path) == set()
    for other, found in [
        (replace(spec, mpp=0.5), "pixel pitch"),
        (replace(spec, size=Size(200, 121)), "size"),
        (replace(spec, magnification=20), "magnification"),
        (replace(spec, icc=b"another"), "colour profile"),
    ]:
        findings = verify_pyramid(folder, Expectation.from_spec(other))
        assert {finding.check for finding in findings if not finding.good} == {found}


def damage(folder: Path, name: str, change: str) -> None:
    path = folder / name
    dataset = dcmread(path)
    if change == "moved":
        dataset.TotalPixelMatrixOriginSequence[0].XOffsetInSlideCoordinateSystem = 3
    if change == "original":
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    dataset.save_as(path)
    if change == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    if change == "gone":
        path.unlink()


@pytest.mark.parametrize(
    ("change", "found"), [("moved", "places"), ("original", "places"), ("cut", "tiles"), ("gone", "levels")]
)
def test_damage_is_found(tmp_path: Path, change: str, found: str) -> None:
    folder = write(tmp_path / "a.dcm")
    damage(folder, "level-1.dcm", change)
    assert found in find_faults(folder)


def describe_outcome(call: Callable[[], object]) -> str:
    """Return what a call gives, or its error, as text."""
    try:
        return repr(call())
    except SlideError as error:
        return str(error)


def break_file(path: Path, data: st.DataObject) -> None:
    """Insert, replace or cut off bytes of a header."""
    content = path.read_bytes()
    place, planted = data.draw(st.integers(132, 3000), "place"), data.draw(st.binary(min_size=1, max_size=8), "bytes")
    replaced, end = data.draw(st.sampled_from([0, len(planted)]), "replaced"), data.draw(st.sampled_from([None, 3100]))
    path.write_bytes((content[:place] + planted + content[place + replaced :])[:end])


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_damage_of_any_kind_is_a_finding_or_one_line(damaged: Path, source: Path, data: st.DataObject) -> None:
    with open_slide(source) as slide:
        info = slide.info
    for path, use in [
        (damaged / "level-0.dcm", lambda: list(verify_pyramid(damaged))),
        (source / "0.dcm", lambda: read_dicom_context(info, 0)),
    ]:
        whole = path.read_bytes()
        break_file(path, data)
        try:
            assert "\n" not in describe_outcome(use)
        finally:
            path.write_bytes(whole)


def test_a_damaged_note_is_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm") / "level-0.dcm"
    path.write_bytes(path.read_bytes().replace(b'{"derived":', b'["derived":'))
    with pytest.raises(SlideError, match=r"level-0.dcm: its metadata are damaged") as error:
        read_metadata(path)
    assert "\n" not in str(error.value)


def test_whatever_an_archive_names_the_files_they_are_known_as_derived(tmp_path: Path) -> None:
    folder = write(tmp_path / "a.dcm")
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(folder / f"IM{9 - number}")
    for path in (folder, *folder.iterdir()):
        assert read_metadata(path) == METADATA
        with pytest.raises(SlideError, match="wsisr wrote it"):
            refuse_derived(path)
    with open_slide(folder) as slide:
        assert (slide.info.size, slide.info.mpp, slide.info.objective) == (SIZE, 0.25, 40)


def test_a_pixel_size_is_required(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="pixel size"):
        PyramidWriter(tmp_path / "a.dcm", replace(SPEC, mpp=None))


def test_a_folder_that_also_holds_other_files_is_not_replaced(tmp_path: Path) -> None:
    folder = write(tmp_path / "a.dcm")
    (folder / "annotations.dcm").write_text("mine")
    with pytest.raises(OutputError, match=r"a\.dcm: also holds annotations\.dcm"):
        write(folder)
    assert (folder / "annotations.dcm").read_text() == "mine"


def test_the_attributes_of_a_dicom_slide_are_carried_over(source: Path, carried: Path) -> None:
    original, derived = dcmread(source / "0.dcm"), dcmread(carried / "level-0.dcm")
    for name in ("PatientName", "AccessionNumber", "StudyInstanceUID", "FrameOfReferenceUID", "ContainerIdentifier"):
        assert derived[name].value == original[name].value
    assert derived.SeriesInstanceUID != original.SeriesInstanceUID
    assert [item.ReferencedSOPInstanceUID for item in derived.SourceImageSequence] == [original.SOPInstanceUID]
    assert derived.Manufacturer == "wsisr"
    assert derived.ContributingEquipmentSequence[0].Manufacturer == "Hamamatsu"
    assert derived.LossyImageCompressionMethod == ["ISO_10918_1"] * 2
    assert derived.LossyImageCompressionRatio[0] == 7.5


def test_what_a_slide_states_wrongly_is_written_without_a_warning_or_refused_in_one_line(
    source: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"scale": 2, "model": "bicubic", "region": (20, 40, 64, 64)}
    folder = shutil.copytree(source, tmp_path / "slide")
    with config.disable_value_validation():
        for path in folder.iterdir():
            dataset = dcmread(path)
            dataset.LossyImageCompressionMethod, dataset.AcquisitionDateTime = "jpeg\x1b[31m", "20201391"
            dataset.save_as(path)
    upscale_slide(folder, output=tmp_path / "a.dcm", **options)
    instance = dcmread(tmp_path / "a.dcm" / "level-0.dcm")
    assert instance.LossyImageCompressionMethod[0] == "JPEG__31M"
    assert instance.ContentDate == "19700101"
    for path in folder.iterdir():
        content = path.read_bytes()
        path.write_bytes(content.replace(b"\x2a\x07DS\x02\x0011", b"\x2a\x07DS\x02\x00na"))
    with pytest.raises(SlideError, match="its header is damaged") as error:
        upscale_slide(folder, output=tmp_path / "b.dcm", **options)
    assert "\n" not in str(error.value)


def test_the_region_lies_where_it_does_on_the_glass(carried: Path) -> None:
    # Rows of the slide run towards smaller y, columns towards smaller x; the region begins 20 and 40 px of 0.5 um in.
    for instance in read_instances(carried):
        origin = instance.TotalPixelMatrixOriginSequence[0]
        assert origin.XOffsetInSlideCoordinateSystem == pytest.approx(11 - 0.020)
        assert origin.YOffsetInSlideCoordinateSystem == pytest.approx(22 - 0.010)


def test_a_deidentified_result_tells_no_patient_study_specimen_or_source(source: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"scale": 2, "model": "bicubic", "region": (20, 40, 100, 80), "deidentify": True}
    upscale_slide(source, output=tmp_path / "a.dcm", **options)
    for path in (tmp_path / "a.dcm").iterdir():
        content, words = path.read_bytes(), (*SECRETS, STUDY, FRAME_OF_REFERENCE)
        assert not [word for word in words if word.encode() in content or word.encode("latin-1") in content]
        instance = dcmread(path)
        assert instance.PatientIdentityRemoved == "YES"
        assert "SourceImageSequence" not in instance
    with pytest.raises(OutputError, match=r"\((scan date|identity): (none|left out), not "):
        upscale_slide(source, output=tmp_path / "a.dcm", **(options | {"deidentify": False}))


def test_the_slide_of_another_format_gives_scanner_and_loss(tmp_path: Path) -> None:
    picture = make_blobs(Size(160, 128))
    pitch: dict[str, Any] = {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER", "metadata": None}
    slide = write_tiff(tmp_path / "a.tif", picture, tile=(64, 64), compression="jpeg", photometric="rgb", **pitch)
    upscale_slide(slide, scale=2, model="bicubic", output=tmp_path / "a.dcm", codec="jpeg2000")
    instance = dcmread(tmp_path / "a.dcm" / "level-0.dcm")
    assert (instance.LossyImageCompression, instance.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
    assert read_metadata(tmp_path / "a.dcm")["colour profile"].startswith("none in the slide; sRGB is assumed")
    assert instance.OpticalPathSequence[0].ICCProfile[36:40] == b"acsp"


@pytest.mark.parametrize(("handling", "is_assumed"), [("as stored", True), (CONVERTED_TO_SRGB, False)])
def test_a_profile_is_said_to_be_assumed_only_where_it_is(handling: str, is_assumed: bool) -> None:
    slide = InMemorySlide(IMAGE)
    slide._info = replace(slide.info, colour_handling=handling)
    metadata = context_metadata(SlideRegion(slide, 0), deidentify=False)
    assert ("colour profile" in metadata) == is_assumed


@pytest.mark.parametrize("named", ["0.dcm", ""])
def test_the_folder_of_the_slide_is_not_replaced(source: Path, named: str) -> None:
    before = sorted(source.iterdir())
    with pytest.raises(OutputError, match="belongs to the slide"):
        upscale_slide(source / named, scale=2, model="bicubic", output=source, layout="dicom", overwrite=True)
    assert sorted(source.iterdir()) == before


def invoke(*words: object) -> str:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_folder_of_results_and_a_result_that_is_a_folder_are_told_apart(tmp_path: Path) -> None:
    slide = write_dicom_level(tmp_path / "slide" / "0.dcm", make_blobs(Size(128, 128)))
    command = ("upscale", slide.parent, "--scale", 2, "--model", "bicubic", "--layout", "dicom", "-o")
    invoke(*command, tmp_path / "new")
    assert (tmp_path / "new" / "level-0.dcm").is_file()
    assert "is finished already" in invoke(*command, tmp_path / "new")
    (tmp_path / "results").mkdir()
    invoke(*command, tmp_path / "results")
    assert (tmp_path / "results" / "slide.x2.dcm" / "level-0.dcm").is_file()
