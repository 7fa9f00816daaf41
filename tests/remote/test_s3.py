"""A slide in a bucket: the same pixels and result as from this machine, against moto's server of S3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.remote.test_remote_slides import LEVELS, read_stored_tiles
from tests.support.samples import write_ome_pyramid, write_ome_zarr
from wsisr.cli.app import app
from wsisr.errors import SlideError
from wsisr.imaging.geometry import Box
from wsisr.slides import open_slide

moto = pytest.importorskip("moto.server")
boto3 = pytest.importorskip("boto3")
pytest.importorskip("s3fs")

KEY, SECRET = "AKIA0000", "geheim"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bucket")
    write_ome_pyramid(folder / "a.ome.tif", LEVELS, tile=(64, 64), compression="jpeg")
    write_ome_zarr(folder / "a.ome.zarr", LEVELS, "0.5", scale=0.5, shards=(3, 256, 256))
    return folder


@pytest.fixture(scope="module")
def endpoint(folder: Path) -> Iterator[str]:
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.client("s3", "us-east-1", endpoint_url=url, aws_access_key_id=KEY, aws_secret_access_key=SECRET)
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
def test_a_result_from_a_bucket_has_the_same_tiles(folder: Path, tmp_path: Path) -> None:
    for slide, name in ((str(folder / "a.ome.tif"), "local.ome.tif"), ("s3://lab/a.ome.tif", "remote.ome.tif")):
        words = ["upscale", slide, "--scale", "2", "--model", "bicubic", "--mpp", "0.5", "-o", str(tmp_path / name)]
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, done.output
        assert SECRET not in done.output
    assert list(read_stored_tiles(tmp_path / "local.ome.tif")) == list(read_stored_tiles(tmp_path / "remote.ome.tif"))


@pytest.mark.usefixtures("credentials")
def test_what_a_bucket_lacks_is_one_clear_line() -> None:
    for url in ("s3://lab/none.svs", "s3://none/a.svs", "s3://lab/none.ome.zarr"):
        with pytest.raises(SlideError, match="the server has no such file"):
            open_slide(url)
    with pytest.raises(SlideError, match="folders on a server are not looked into"):
        open_slide("s3://lab/a.ome.zarr/0/c")
