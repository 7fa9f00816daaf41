"""The digest of a slide: all that its pixels come from, and nothing that lies beside."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from threading import Event

import pytest

from tests.support.samples import make_noise_levels, write_ome_zarr, write_tiff
from wsisr.errors import SlideError
from wsisr.imaging.geometry import Size
from wsisr.slides import Level, SlideInfo, open_slide
from wsisr.slides.files import fingerprint_files, hash_in_background, hash_slide, list_slide_files

LINES = "find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum"


def info_of(path: Path, vendor: str = "test", **properties: str) -> SlideInfo:
    named = {name.replace("_", "."): value for name, value in properties.items()}
    level = Level(Size(1, 1), 1.0)
    return SlideInfo(path, "test", vendor, (level,), None, None, None, {}, named)


def names(info: SlideInfo) -> list[str]:
    return [file.relative_to(info.path.parent).as_posix() for file in list_slide_files(info)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.mrxs", "b/Data0001.dat", "b/Slidedat.ini", "b/sub/x", "other.mrxs", "other/Data.dat"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def test_of_one_file_it_is_its_sha256(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(os.urandom(5_000_000))
    assert hash_slide(info_of(path), Event()) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_of_a_slide_that_is_no_file_there_is_none(tmp_path: Path) -> None:
    assert hash_slide(info_of(tmp_path / "none"), Event()) is None


@pytest.mark.skipif(shutil.which("xargs") is None or os.uname().sysname != "Linux", reason="asks GNU's tools")
def test_of_a_folder_it_is_what_sha256sum_says(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", make_noise_levels(Size(150, 100), Size(75, 50)), "0.5")
    said = subprocess.run(LINES, shell=True, cwd=path, capture_output=True, text=True, check=True).stdout
    with open_slide(path) as slide:
        assert hash_slide(slide.info, Event()) == said.split()[0]


def test_mirax_is_its_index_and_the_folder_of_its_name(folder: Path) -> None:
    assert names(info_of(folder / "b.mrxs")) == ["b.mrxs", "b/Data0001.dat", "b/Slidedat.ini", "b/sub/x"]


def test_hamamatsu_is_its_index_and_the_files_it_names(folder: Path) -> None:
    for name in ("s.jpg", "s(1,0).jpg", "other.jpg"):
        (folder / name).write_bytes(b"x")
    (folder / "s.vms").write_text("[Virtual Microscope Specimen]\nImageFile=s.jpg\nImageFile(1,0)=s(1,0).jpg\n")
    assert names(info_of(folder / "s.vms", "hamamatsu")) == ["s(1,0).jpg", "s.jpg", "s.vms"]


def test_dicom_is_the_files_of_its_series_whichever_was_named(folder: Path) -> None:
    for name, series in {"1.dcm": "1.2.3", "2.dcm": "1.2.3", "3.dcm": "9.9"}.items():
        (folder / name).write_bytes(b"head" + series.encode() + name.encode())
    first, second = (info_of(folder / name, "dicom", dicom_SeriesInstanceUID="1.2.3") for name in ("1.dcm", "2.dcm"))
    assert names(first) == names(second) == ["1.dcm", "2.dcm"]
    assert hash_slide(first, Event()) == hash_slide(second, Event())


def test_all_files_of_a_real_dicom_slide_count(shared_slides: Path) -> None:
    with open_slide(shared_slides / "vendor" / "dicom-cmu-1") as slide:
        assert len(list_slide_files(slide.info)) == 12


def test_a_change_of_any_file_changes_it(folder: Path) -> None:
    info = info_of(folder / "b.mrxs")
    before = hash_slide(info, Event())
    (folder / "other" / "Data.dat").write_bytes(b"changed")
    assert hash_slide(info, Event()) == before
    (folder / "b" / "sub" / "x").write_bytes(b"changed")
    assert hash_slide(info, Event()) != before


def test_it_is_made_beside_other_work_and_can_be_left(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", make_noise_levels(Size(40, 30))[0])
    with hash_in_background(info_of(path)) as found:
        assert found.result() == hashlib.sha256(path.read_bytes()).hexdigest()
    os.mkfifo(tmp_path / "endless")
    with hash_in_background(info_of(tmp_path)) as found:
        pass
    assert found.done()


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="no file here that opens but does not read")
def test_what_cannot_be_read_is_one_line() -> None:
    with pytest.raises(SlideError, match="/proc/self/mem: cannot be read"):
        hash_slide(info_of(Path("/proc/self/mem")), Event())


def test_the_age_of_a_folder_tells_of_each_file_in_it(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", make_noise_levels(Size(150, 100), Size(75, 50)), "0.5")
    files = list_slide_files(info_of(path))
    before = fingerprint_files(files)
    assert fingerprint_files(list_slide_files(info_of(path))) == before
    for file in files:
        found = file.stat()
        os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns + 1))
        assert fingerprint_files(files) != before
        os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert fingerprint_files(files) == before
    assert fingerprint_files(files[1:]) != before


def test_a_slide_that_changes_while_it_is_read_has_no_digest(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(os.urandom(3_000_000))

    class Growing(Event):
        """Whoever asks finds the slide longer."""

        def is_set(self) -> bool:
            with path.open("ab") as file:
                file.write(b"more" * (path.stat().st_size < 4_000_000))
            return False

    with pytest.raises(SlideError, match="has changed while it was read"):
        hash_slide(info_of(path), Growing())
