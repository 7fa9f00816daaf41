"""Slides and results in a bucket: the same pixels and files as on this machine, against moto's server of S3."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from tests.remote.test_remote_slides import LEVELS, read_stored_tiles
from tests.support.samples import write_ome_pyramid, write_ome_zarr
from wsisr.cli.app import app
from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box
from wsisr.models import loading
from wsisr.remote.upload import UNFINISHED
from wsisr.slides import open_slide
from wsisr.upscaling.job import Advanced, Finished, run_job
from wsisr.upscaling.request import UpscaleRequest

moto = pytest.importorskip("moto.server")
boto3 = pytest.importorskip("boto3")
pytest.importorskip("s3fs")

KEY, SECRET = "AKIA0000", "geheim"
OPTIONS = ("--scale", "2", "--model", "bicubic", "--mpp", "0.5")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bucket")
    write_ome_pyramid(folder / "a.ome.tif", LEVELS, tile=(64, 64), compression="jpeg")
    write_ome_zarr(folder / "a.ome.zarr", LEVELS, "0.5", scale=0.5, shards=(3, 256, 256))
    return folder


def connect_client(url: str) -> Any:
    return boto3.client("s3", "us-east-1", endpoint_url=url, aws_access_key_id=KEY, aws_secret_access_key=SECRET)


@pytest.fixture(scope="module")
def endpoint(folder: Path) -> Iterator[str]:
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client = connect_client(url)
    client.create_bucket(Bucket="lab")
    for file in folder.rglob("*"):
        if file.is_file():
            client.upload_file(str(file), "lab", file.relative_to(folder).as_posix())
    yield url
    server.stop()


@pytest.fixture
def credentials(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize("name", ["a.ome.tif", "a.ome.zarr"])
def test_a_slide_in_a_bucket_has_the_same_pixels(folder: Path, name: str) -> None:
    with open_slide(f"s3://lab/{name}", 0.5) as remote, open_slide(folder / name, 0.5) as local:
        assert remote.info.levels == local.info.levels
        for level in range(2):
            box = Box.from_size(local.info.levels[level].size)
            assert np.array_equal(remote.read(box, level), local.read(box, level))
        remote.check_unchanged()


@pytest.mark.usefixtures("credentials")
def test_a_slide_in_a_bucket_is_asked_for_with_the_credentials_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second endpoint answers nobody."""
    open_slide("s3://lab/a.ome.tif", 0.5).close()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(SlideError, match="the connection failed"):
        open_slide("s3://lab/a.ome.tif", 0.5)


@pytest.mark.usefixtures("credentials")
def test_a_result_from_a_bucket_has_the_same_tiles(folder: Path, tmp_path: Path) -> None:
    for slide, name in ((str(folder / "a.ome.tif"), "local.ome.tif"), ("s3://lab/a.ome.tif", "remote.ome.tif")):
        words = ["upscale", slide, "--scale", "2", "--model", "bicubic", "--mpp", "0.5", "-o", str(tmp_path / name)]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
        assert SECRET not in done.output
    assert list(read_stored_tiles(tmp_path / "local.ome.tif")) == list(read_stored_tiles(tmp_path / "remote.ome.tif"))


def upscale(slide: Path, output: str, work: Path, *more: str) -> Result:
    words = ["upscale", str(slide), *OPTIONS, "-o", output, "--work-dir", str(work), *more]
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, words)


def read_bucket(endpoint: str, prefix: str) -> dict[str, bytes]:
    """Return all files of the bucket whose names begin so, by the rest of their names."""
    client = connect_client(endpoint)
    found = client.list_objects_v2(Bucket="lab", Prefix=prefix).get("Contents", [])
    keys = [item["Key"] for item in found]
    return {key.removeprefix(prefix): client.get_object(Bucket="lab", Key=key)["Body"].read() for key in keys}


def read_local(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.usefixtures("credentials")
def test_a_result_in_a_bucket_is_that_of_this_machine(folder: Path, endpoint: str, tmp_path: Path) -> None:
    slide = folder / "a.ome.tif"
    assert upscale(slide, str(tmp_path / "here.ome.zarr"), tmp_path).exit_code == 0
    report = tmp_path / "report.json"
    done = upscale(slide, "s3://lab/out/there.ome.zarr/", tmp_path, "--report", str(report))
    assert done.exit_code == 0, done.output
    assert read_bucket(endpoint, "out/there.ome.zarr/") == read_local(tmp_path / "here.ome.zarr")
    (row,) = json.loads(report.read_bytes())["slides"]
    assert (row["state"], row["output"]) == ("done", "s3://lab/out/there.ome.zarr")
    assert row["bytes"] == sum(map(len, read_local(tmp_path / "here.ome.zarr").values()))
    again = upscale(slide, "s3://lab/out/there.ome.zarr", tmp_path)
    assert again.exit_code == 0
    assert "is finished already" in again.output
    other = upscale(slide, "s3://lab/out/there.ome.zarr", tmp_path, "--mpp", "0.25")
    assert "exists already, from another slide or other options" in str(other.exception)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here.ome.zarr", "report.json"]
    for text in (done.output, again.output, report.read_text(), str(other.exception)):
        assert SECRET not in text


@pytest.mark.usefixtures("credentials")
def test_an_upload_that_was_stopped_is_no_result_and_goes_on(folder: Path, endpoint: str, tmp_path: Path) -> None:
    """The same with an upload that replaces another result."""
    request = UpscaleRequest(
        folder / "a.ome.tif", output="s3://lab/cut.ome.zarr", scale=2, model="bicubic", mpp=0.5, work_dir=tmp_path
    )
    for _ in range(2):
        with closing(run_job(request, loading)) as events:
            next(event for event in events if isinstance(event, Advanced) and event.progress.stage == "upload")
        part = read_bucket(endpoint, "cut.ome.zarr/")
        assert part
        assert "zarr.json" not in part
        assert part.pop(UNFINISHED) == b""
        assert len(list(tmp_path.glob("cut.ome.zarr.*.wsisr-part"))) == 1
        report = next(event.report for event in run_job(request, loading) if isinstance(event, Finished))
        assert report.finished_before == 1
        whole = set(read_bucket(endpoint, "cut.ome.zarr/"))
        assert whole >= set(part) | {"zarr.json"}
        assert UNFINISHED not in whole
        assert not list(tmp_path.iterdir())
        request = replace(request, overwrite=True)


@pytest.mark.usefixtures("credentials")
def test_what_cannot_be_written_into_a_bucket_is_refused_before_the_work(
    folder: Path, endpoint: str, tmp_path: Path
) -> None:
    slide, client = folder / "a.ome.tif", connect_client(endpoint)
    client.put_object(Bucket="lab", Key="mine.ome.zarr/notes.txt", Body=b"mine")
    for url, message in {
        "s3://lab/x.ome.tif": "results are written on this machine",
        f"{endpoint}/lab/x.ome.zarr": "only an OME-Zarr in a bucket",
        "s3://none/x.ome.zarr": "its bucket or folder is missing; create it",
        "s3://no bucket/x.ome.zarr": "the URL is wrong; check it",
        "s3://lab/mine.ome.zarr": "also holds notes.txt",
        "s3://lab/a.ome.zarr": "wsisr did not write it",
        f"s3://{KEY}:{SECRET}@lab/folder/": "results are written on this machine",
    }.items():
        refused = upscale(slide, url, tmp_path, "--overwrite")
        assert refused.exit_code != 0
        told = f"{refused.exception} {refused.output}"
        assert message in told, url
        assert SECRET not in told
        assert "results go to" not in told
    trusted = upscale(slide, "s3://lab/x.ome.zarr", tmp_path, "--trust")
    assert "s3://lab/x.ome.zarr: --trust cannot go with a result in a bucket" in str(trusted.exception)
    assert "give a folder with --work-dir" in str(
        CliRunner().invoke(app, ["upscale", str(slide), *OPTIONS, "-o", "s3://lab/x.ome.zarr"]).exception
    )
    assert read_bucket(endpoint, "mine.ome.zarr/") == {"notes.txt": b"mine"}
    assert not list(tmp_path.iterdir())


def test_verify_says_that_it_reads_no_urls() -> None:
    refused = CliRunner().invoke(app, ["verify", f"s3://{KEY}:{SECRET}@lab/secret.ome.zarr"])
    assert refused.exit_code
    assert str(refused.exception) == "s3://lab/secret.ome.zarr: verify reads files of this machine; copy it here first"


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize("names", [("0/c/0/0", "7/c/0/0"), ("0/zarr.json",)])
@pytest.mark.parametrize("more", [(), ("--overwrite",)])
def test_files_that_no_stopped_upload_left_are_kept(
    folder: Path, endpoint: str, tmp_path: Path, names: tuple[str, ...], more: tuple[str, ...]
) -> None:
    for name in names:
        connect_client(endpoint).put_object(Bucket="lab", Key=f"theirs.ome.zarr/{name}", Body=b"theirs")
    before = read_bucket(endpoint, "theirs.ome.zarr/")
    refused = upscale(folder / "a.ome.tif", "s3://lab/theirs.ome.zarr", tmp_path, *more)
    assert f"also holds {min(before)}, which would be lost" in str(refused.exception)
    assert read_bucket(endpoint, "theirs.ome.zarr/") == before
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("credentials")
def test_what_a_bucket_lacks_is_one_clear_line() -> None:
    for url in ("s3://lab/none.svs", "s3://none/a.svs", "s3://lab/none.ome.zarr"):
        with pytest.raises(SlideError, match="the server has no such file"):
            open_slide(url)
    with pytest.raises(SlideError, match="folders on a server are not looked into"):
        open_slide("s3://lab/a.ome.zarr/0/c")
