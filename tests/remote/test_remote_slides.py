"""A slide by URL is the slide: the same facts, pixels and result as from this machine, by the bytes that are needed."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from typer.testing import CliRunner, Result

from tests.slides.contract import BOXES
from tests.support.http_server import RangeServer, serve_folder
from tests.support.pairs import write_slide
from tests.support.samples import make_noise_levels, write_ome_pyramid, write_ome_zarr
from wsisr.cli.app import app
from wsisr.cli.console import print_message, print_traceback
from wsisr.cli.output_paths import output_path_for
from wsisr.errors import SlideError, SlideNotFoundError, WsisrError
from wsisr.imaging.geometry import Box, Size
from wsisr.remote.path import RemotePath, hide_secrets, make_path
from wsisr.slides import Slide, open_slide
from wsisr.slides.associated import read_associated_image
from wsisr.slides.listing import SlideEntry
from wsisr.slides.staging import SlideStage
from wsisr.upscaling.request import result_name
from wsisr.writing import read_metadata

SECRET = "geheim"
SIGNED = "?X-Amz-Signature=geheim&X-Amz-Expires=60"
BICUBIC_OPTIONS = ("--scale", "2", "--model", "bicubic", "--mpp", "0.5")
LEVELS = make_noise_levels(Size(500, 420), Size(250, 210))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, cmu_slide: Path) -> Path:
    folder = tmp_path_factory.mktemp("served")
    (folder / "scan.svs").symlink_to(cmu_slide)
    write_ome_pyramid(folder / "pyramid.ome.tif", LEVELS, tile=(64, 64), compression="jpeg")
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[RangeServer]:
    with serve_folder(folder, password=SECRET) as server:
        yield server


def locate(server: RangeServer, name: str) -> str:
    """Return the URL of a file with all secrets that it can have."""
    return f"{server.url.replace('//', f'//lab:{SECRET}@')}/{name}{SIGNED}"


def run(*words: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, [str(word) for word in words])


def read_stored_tiles(path: Path) -> Iterator[bytes]:
    """Yield the tiles of all levels as they are stored."""
    with tifffile.TiffFile(path) as tiff:
        for level in tiff.series[0].levels:
            page = level.keyframe
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
                tiff.filehandle.seek(offset)
                yield tiff.filehandle.read(count)


@pytest.fixture(scope="module")
def slides(server: RangeServer, folder: Path) -> Iterator[tuple[Slide, Slide]]:
    url = locate(server, "pyramid.ome.tif")
    with open_slide(url, 0.5) as remote, open_slide(folder / "pyramid.ome.tif", 0.5) as local:
        yield remote, local


@settings(max_examples=15)
@given(box=BOXES)
def test_a_box_has_the_same_pixels(slides: tuple[Slide, Slide], box: Box) -> None:
    remote, local = slides
    for level in range(2):
        assert np.array_equal(remote.read(box, level), local.read(box, level))


def test_a_slide_has_the_same_facts(server: RangeServer, cmu_slide: Path) -> None:
    with open_slide(locate(server, "scan.svs")) as remote, open_slide(cmu_slide) as local:
        facts = ("vendor", "reader", "levels", "mpp", "objective", "associated", "icc", "bounds", "level_records")
        assert [getattr(remote.info, name) for name in facts] == [getattr(local.info, name) for name in facts]
        # OpenSlide's digest of pixels is the only property that its directories do not tell.
        assert set(remote.info.properties.items()) <= set(local.info.properties.items())
        assert set(local.info.properties) - set(remote.info.properties) == {"openslide.quickhash-1"}
        for name in local.info.associated:
            expected = read_associated_image(local.info, name)
            assert np.array_equal(read_associated_image(remote.info, name), expected)


def test_each_tile_is_fetched_once_and_headers_are_small(server: RangeServer, cmu_slide: Path) -> None:
    with tifffile.TiffFile(cmu_slide) as tiff:
        tile_bytes = sum(tiff.pages.first.databytecounts)
    (server.folder / "fresh.svs").symlink_to(cmu_slide)
    server.forget()
    with open_slide(locate(server, "fresh.svs")) as slide:
        header_bytes = server.sent_bytes
        assert header_bytes < 130_000
        for top in range(0, slide.info.size.height, 300):
            slide.read(Box(0, max(0, top - 20), slide.info.size.width, top + 320), 0)
    assert server.sent_bytes - header_bytes == tile_bytes


def test_a_result_is_the_same_but_for_what_stands_for_the_digest(
    server: RangeServer, folder: Path, tmp_path: Path
) -> None:
    options: list[str | Path] = [
        *BICUBIC_OPTIONS,
        "--report",
        tmp_path / "report.json",
    ]
    assert run("upscale", folder / "pyramid.ome.tif", *options, "-o", tmp_path / "local.ome.tif").exit_code == 0
    (tmp_path / "report.json").unlink()
    url = locate(server, "pyramid.ome.tif")
    done = run("upscale", url, *options, "-o", tmp_path / "remote.ome.tif")
    assert done.exit_code == 0, done.output
    local, remote = (read_metadata(tmp_path / f"{name}.ome.tif") for name in ("local", "remote"))
    assert remote.pop("source sha256").startswith("none, the slide was read by URL: ")
    local.pop("source sha256")
    assert remote == local
    assert list(read_stored_tiles(tmp_path / "local.ome.tif")) == list(read_stored_tiles(tmp_path / "remote.ome.tif"))
    again = run("upscale", url, *options, "-o", tmp_path / "remote.ome.tif")
    assert again.exit_code == 0
    assert "finished already" in again.output
    public = f"{server.url}/pyramid.ome.tif"
    assert json.loads((tmp_path / "report.json").read_text())["slides"][0]["slide"] == public
    for text in (done.output, again.output, *(file.read_bytes().decode("latin-1") for file in tmp_path.iterdir())):
        assert SECRET not in text
        assert "Amz" not in text


@pytest.mark.parametrize("version", ["0.4", "0.5", "sharded"])
def test_an_ome_zarr_has_the_same_pixels_and_its_chunks_are_fetched_once(tmp_path: Path, version: str) -> None:
    options: dict[str, Any] = {"shards": (3, 256, 256)} if version == "sharded" else {}
    path = write_ome_zarr(tmp_path / "a.ome.zarr", LEVELS, "0.5" if options else version, scale=0.5, **options)
    with serve_folder(tmp_path) as server, open_slide(path) as local:
        assert json.loads(run("info", f"{server.url}/a.ome.zarr", "--json").output)["vendor"] == "ome-zarr"
        server.forget()
        with open_slide(f"{server.url}/a.ome.zarr") as remote:
            assert (remote.info.levels, remote.info.mpp) == (local.info.levels, local.info.mpp)
            for level in range(2):
                for top in range(0, 420, 100):
                    box = Box(0, top - 10, 500, top + 110)
                    assert np.array_equal(remote.read(box, level), local.read(box, level))
    assert len(server.ranges) > 20
    assert len(server.ranges) == len(set(server.ranges))


def test_results_of_urls_need_a_name_on_this_machine(server: RangeServer, tmp_path: Path) -> None:
    url = locate(server, "pyramid.ome.tif")
    for words, message in (
        ([], "name the result with -o"),
        (["-o", "s3://bucket/a.ome.tif"], "results are written on this machine"),
        (["-o", "s3://bucket/folder/"], "results are written on this machine"),
    ):
        done = run("upscale", url, "--scale", "2", "--model", "bicubic", "--mpp", "0.5", *words)
        assert isinstance(done.exception, WsisrError) or done.exit_code
        text = f"{done.output}{done.exception}"
        assert message in text
        assert SECRET not in text
    output = output_path_for(tmp_path, SlideEntry(make_path(url)), "x2.ome.tif")
    assert output == tmp_path / "pyramid.x2.ome.tif"


def test_lists_and_tables_name_urls(server: RangeServer, tmp_path: Path) -> None:
    url = locate(server, "pyramid.ome.tif")
    (tmp_path / "list.txt").write_text(f"{url}\n")
    (tmp_path / "table.csv").write_text(f"path,mpp\n{url},0.5\n")
    for word in (f"@{tmp_path / 'list.txt'}", tmp_path / "table.csv"):
        done = run("info", "--json", word)
        assert json.loads(done.output)["path"] == f"{server.url}/pyramid.ome.tif"


def test_what_cannot_be_read_is_one_clear_line(server: RangeServer, folder: Path) -> None:
    cases = {
        locate(server, "none.svs"): "the server has no such file",
        f"{server.url}/other.svs": "the server wants credentials",
        "http://127.0.0.1:9/scan.svs": "the connection failed",
        "gopher://127.0.0.1/scan.svs": "its protocol is unknown",
    }
    for url, message in cases.items():
        with pytest.raises(SlideError, match=message) as caught:
            open_slide(url)
        assert SECRET not in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(SlideNotFoundError):
        open_slide(locate(server, "none.svs"))
    with serve_folder(folder, sends_ranges=False) as whole, pytest.raises(SlideError, match="does not send parts"):
        open_slide(f"{whole.url}/scan.svs")


def test_a_slide_that_changes_on_its_server_is_given_up(tmp_path: Path) -> None:
    write_ome_pyramid(tmp_path / "a.ome.tif", LEVELS, tile=(64, 64))
    with serve_folder(tmp_path) as server, open_slide(f"{server.url}/a.ome.tif", 0.5) as slide:
        slide.read(Box(0, 0, 64, 64), 0)
        write_ome_pyramid(tmp_path / "a.ome.tif", LEVELS[::-1][1:], tile=(64, 64))
        with pytest.raises(SlideError, match="has changed"):
            slide.read(Box(300, 300, 400, 400), 0)
        with pytest.raises(SlideError, match="has changed"):
            slide.check_unchanged()


def test_a_run_whose_connection_is_lost_goes_on(tmp_path: Path, folder: Path) -> None:
    words: list[str | Path] = [
        *BICUBIC_OPTIONS,
        "--tile-px",
        "128",
        "-o",
        tmp_path / "a.ome.tif",
    ]
    with serve_folder(folder) as server:
        url = f"{server.url}/pyramid.ome.tif"
        server.fails_after = 14
        lost = run("upscale", url, *words)
        assert lost.exit_code or lost.exception
        assert "cannot be read: the connection failed" in f"{lost.output}{lost.exception}"
        assert not (tmp_path / "a.ome.tif").exists()
        assert [path.name for path in tmp_path.iterdir()] == ["a.ome.tif.wsisr-part"]
        server.fails_after = None
        done = run("upscale", url, *words)
    assert done.exit_code == 0, done.output
    assert "goes on from" in done.output


def test_a_slide_by_url_is_staged_whole(server: RangeServer, folder: Path, tmp_path: Path) -> None:
    url = make_path(locate(server, "pyramid.ome.tif"))
    with closing(SlideStage(tmp_path, 10**8, [url])) as stage, stage.hold(url) as copy:
        assert copy.read_bytes() == (folder / "pyramid.ome.tif").read_bytes()


def test_a_url_keeps_its_secrets_to_itself() -> None:
    path = make_path(f"https://lab:{SECRET}@host/a%20b.svs?sig={SECRET}")
    assert isinstance(path, RemotePath)
    assert str(path) == "https://host/a%20b.svs"
    assert path.secret_url == f"https://lab:{SECRET}@host/a%20b.svs?sig={SECRET}"
    assert (path.name, path.stem, path.suffix) == ("a%20b.svs", "a%20b", ".svs")
    assert str(pickle.loads(pickle.dumps(path))) == str(path)
    assert make_path(Path(str(path))).secret_url == path.secret_url  # type: ignore[attr-defined] # it is one, too
    text = f"wsisr upscale https://lab:{SECRET}@host/a.svs?sig={SECRET} 's3:/{SECRET}@b/c' -o x"
    assert hide_secrets(text) == "wsisr upscale https://host/a.svs 's3:/b/c' -o x"


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("s3://AKIA:a/b+c@lab/slides/a.svs", "s3://lab/slides/a.svs"),  # as keys of AWS are
        ("https://lab:a/b/c@host:8080/a.svs", "https://host:8080/a.svs"),
        ("https://host:8080/x/a@2.svs", "https://host:8080/x/a@2.svs"),
        ("https://lab:word@host/a@2.svs", "https://host/a@2.svs"),
        ("s3://lab/a@2.svs", "s3://lab/a@2.svs"),
    ],
)
def test_a_password_with_a_slash_is_hidden_and_names_with_an_at_stay(url: str, public: str) -> None:
    assert str(make_path(url)) == public
    assert hide_secrets(f"results go to {url}, once") == f"results go to {public}, once"
    assert make_path(url).secret_url == url  # type: ignore[attr-defined] # it is a RemotePath


def test_no_message_and_no_configuration_holds_a_password(capsys: pytest.CaptureFixture[str]) -> None:
    print_message(f"results go to /results/s3:/K:{SECRET}@lab/dir")
    print_traceback(f"OSError: https://u:{SECRET}@host/a.svs?sig={SECRET}")
    shown = capsys.readouterr().err
    assert SECRET not in shown
    assert "/results/s3:/lab/dir" in shown
    assert "https://host/a.svs" in shown


def test_the_name_of_a_result_asks_no_server() -> None:
    assert result_name(make_path("https://127.0.0.1:1/a.ome.zarr"), "x2.ome.tif") == "a.x2.ome.tif"


def test_a_url_without_credentials_is_asked_for_without_those_of_before(server: RangeServer) -> None:
    with open_slide(locate(server, "pyramid.ome.tif"), 0.5) as slide:
        expected = slide.read(Box(0, 0, 64, 64), 0)
        with pytest.raises(SlideError, match="the server wants credentials"):
            open_slide(f"{server.url}/pyramid.ome.tif", 0.5)
    with open_slide(locate(server, "pyramid.ome.tif"), 0.5) as slide:
        assert np.array_equal(slide.read(Box(0, 0, 64, 64), 0), expected)


def test_scores_and_datasets_of_a_url_are_those_of_the_slide(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.ome.tif", Size(256, 256), (2,))
    with serve_folder(tmp_path, password=SECRET) as server:
        for name, slide in (("here", str(tmp_path / "a.ome.tif")), ("there", locate(server, "a.ome.tif"))):
            scores: list[str | Path] = [
                "--scale",
                "2",
                "--model",
                "bicubic",
                "--kernel",
                "area",
                "--json",
                tmp_path / f"{name}.json",
            ]
            assert run("evaluate", slide, *scores).exit_code == 0
            pairs = ["--patch-px", "64", "--most-patches", "3", "--jobs", "1"]
            done = run("build-dataset", "pyramid", slide, "-o", tmp_path / name, *pairs)
            assert done.exit_code == 0, done.output
            assert SECRET not in done.output
        missing = run("build-dataset", "pyramid", locate(server, "none.svs"), "-o", tmp_path / "none")
    assert (tmp_path / "here.json").read_bytes() == (tmp_path / "there.json").read_bytes()
    here, there = (
        {
            file.relative_to(tmp_path / name): file.read_bytes()
            for file in (tmp_path / name).rglob("*")
            if file.is_file() and file.suffix != ".html"  # which tells when it was written
        }
        for name in ("here", "there")
    )
    assert len(here) > 3
    assert here == there
    assert missing.exit_code != 0
    assert "the server has no such file" in f"{missing.output}{missing.exception}"
    assert SECRET not in f"{missing.output}{missing.exception}"


def test_urls_that_differ_in_their_query_are_two_slides_and_signatures_are_none() -> None:
    one, two = (make_path(f"https://host/get?slide={number}&sig={SECRET}") for number in (1, 2))
    assert one != two
    assert make_path("https://host/get?slide=1&sig=other") == one
    assert make_path(str(one)) == one
    assert SECRET not in str(one)


def test_paths_of_this_machine_are_left_alone() -> None:
    for word in ("a.svs", "/x/a.svs", "C:/x/a.svs", "x:y/a.svs"):
        assert type(make_path(word)) is type(Path())
