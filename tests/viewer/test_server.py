"""The page is served to who knows its word on this machine, and to nobody else; words of files stay words."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import threading
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.support.patience import PATIENCE_S
from tests.support.samples import make_noise
from tests.viewer.pictures import REGION, SCAN_MPP, Pair
from tests.viewer.test_pyramid import decode
from wsisr.api import upscale_slide
from wsisr.errors import ConfigError, OptionError, SlideError
from wsisr.imaging.geometry import Box, Size
from wsisr.slides import open_slide
from wsisr.upscaling.trust.belonging import RESULT_KEY, digest_result
from wsisr.upscaling.trust.layer import write_trust_layer
from wsisr.upscaling.trust.summary import BoundPlane
from wsisr.viewer import openlayers
from wsisr.viewer.server import ViewServer
from wsisr.viewer.view import PAGE_FILES, View, ViewRequest
from wsisr.writing import read_metadata

HOSTILE = "</script><script>alert(1)</script>"
POLYGON = {"type": "Polygon", "coordinates": [[[0, 0], [100, 0], [100, 50], [0, 0]]]}


def write_annotations(path: Path, **properties: object) -> Path:
    path.write_text(json.dumps({"type": "Feature", "geometry": POLYGON, "properties": properties}))
    return path


NOWHERE = (
    *("tiles/0/0/9_0.jpg", "tiles/0/0/x_0.jpg", "tiles/0/0/0_0_0.jpg", "tiles/0/0", "tiles/7/0/0_0.jpg"),
    *("tiles/-1/0/0_0.jpg", "tiles/%C2%B2/0/0_0.jpg", "annotations/1.json", "tissue/2.png", "thumbnails/0/0"),
    *("../view.json", "%2e%2e/view.json", "main.py"),
)


class Client:
    """A browser's requests to a server, on one connection."""

    def __init__(self, server: ViewServer) -> None:
        self.server = server
        self.messages: list[str] = []
        self._connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=PATIENCE_S)

    def close(self) -> None:
        self._connection.close()

    def get(self, path: str, host: str = "", token: str | None = None, method: str = "GET") -> tuple[int, bytes]:
        target = f"/{self.server.token if token is None else token}/{path}"
        headers = {"Host": host} if host else {}
        self._connection.request(method, target, headers=headers)
        self.response = self._connection.getresponse()
        return self.response.status, self.response.read()


def serve(view: View, **options: object) -> Iterator[Client]:
    messages: list[str] = []
    with ViewServer(view, report_failure=messages.append, **options) as server:  # type: ignore[arg-type]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        client = Client(server)
        client.messages = messages
        yield client
        client.close()
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def client(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    marks = write_annotations(
        tmp_path_factory.mktemp("marks") / "a.geojson", name=HOSTILE, color=[300, 0, 7], x=HOSTILE
    )
    with View(ViewRequest([pair.scan, pair.result], annotations=[marks])) as view:
        yield from serve(view, hosts=["hub.example.org"])


def test_the_word_opens_the_page_and_nothing_else_does(client: Client) -> None:
    for path in ("", "view.json", "tiles/0/0/0_0.jpg", "annotations/0.json"):
        assert client.get(path)[0] == 200, path
        for token in ("", "x", client.server.token[:-1], client.server.token + "x", "%00"):
            status, body = client.get(path, token=token)
            assert (status, b"address" in body) == (403, True)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:9999", "LOCALHOST", "[::1]:80", "hub.example.org"])
def test_names_of_this_machine_are_answered_whatever_the_port(client: Client, host: str) -> None:
    assert client.get("", host=host)[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:80", "[", "localhost@evil.example:1"]
)
def test_other_names_are_refused_so_that_no_page_reaches_the_server_by_dns(client: Client, host: str) -> None:
    assert client.get("", host=host)[0] == 403


def test_the_page_may_load_nothing_from_elsewhere(client: Client) -> None:
    for name in ("", *PAGE_FILES, "ol.js", "ol.css"):
        status, body = client.get(name)
        assert status == 200
        assert "default-src 'none'" in client.response.headers["Content-Security-Policy"]
        assert "unsafe" not in client.response.headers["Content-Security-Policy"]
        assert client.response.headers["X-Content-Type-Options"] == "nosniff"
        if not name.startswith("ol."):
            assert b"http:" not in body
            assert b"https:" not in body
            assert b"innerHTML" not in body


@pytest.mark.parametrize("path", NOWHERE)
def test_what_is_not_there_is_not_found(client: Client, path: str) -> None:
    assert client.get(path)[0] == 404


def test_what_is_no_address_is_a_bad_request(client: Client) -> None:
    address = "127.0.0.1", client.server.server_address[1]
    with socket.create_connection(address, timeout=PATIENCE_S) as connection:  # a client of HTTP would not send it
        connection.sendall(b"GET http://[ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 400"


def test_only_reading_is_answered(client: Client) -> None:
    assert client.get("", method="POST")[0] == 501
    client.close()  # as the server has, after a request that it did not read to its end
    status, body = client.get("view.json", method="HEAD")
    assert (status, body) == (200, b"")


def test_tiles_arrive_as_they_are_stored(client: Client, pair: Pair) -> None:
    for number, path in enumerate((pair.scan, pair.result)):
        with open_slide(path) as slide:
            side = slide.get_jpeg_tile_size(0)
            assert side
            expected = slide.read(Box(side.width, side.height, 2 * side.width, 2 * side.height), 0)
        status, body = client.get(f"tiles/{number}/0/1_1.jpg")
        assert (status, client.response.headers["Content-Type"]) == (200, "image/jpeg")
        np.testing.assert_array_equal(decode(body), expected)


def test_the_page_knows_place_and_kind_of_each_image(client: Client) -> None:
    scan, result = json.loads(client.get("view.json")[1])["images"]
    assert (scan["left"], scan["top"], scan["derived"]) == (0, 0, None)
    assert (result["left"], result["top"]) == (REGION[0] * SCAN_MPP, REGION[1] * SCAN_MPP)
    assert result["mpp"] == pytest.approx(SCAN_MPP / 2)
    assert "research use only" in result["derived"]
    assert decode(client.get(scan["thumbnail"])[1]).shape == (210, 300, 3)
    assert client.get(scan["tissue"])[1].startswith(b"\x89PNG")


def test_annotations_arrive_in_um_with_nothing_but_a_name_and_a_colour(client: Client) -> None:
    body = client.get("annotations/0.json")[1]
    assert b"<" not in body
    (feature,) = json.loads(body)
    assert feature == {
        "type": "Polygon",
        "coordinates": [[[0, 0], [50, 0], [50, -25], [0, 0]]],
        "name": HOSTILE,
        "colour": [300 & 255, 0, 7],
    }


def test_annotations_may_count_from_the_corner_of_a_region(pair: Pair, tmp_path: Path) -> None:
    """In px of the first image, wherever that lies."""
    marks = write_annotations(tmp_path / "a.json")
    with View(ViewRequest([pair.result, pair.scan], annotations=[marks])) as view:
        corner = view.annotations[0][0]["coordinates"][0][0]
    assert corner == pytest.approx([REGION[0] * SCAN_MPP, -REGION[1] * SCAN_MPP])


@pytest.mark.parametrize(
    "content", ["{", "[]x", '{"type": "Feature"}', '{"type": "Point", "coordinates": [1e999, 1]}', "3"]
)
def test_a_file_that_is_no_geojson_is_one_line(pair: Pair, tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ConfigError, match=r"a\.json: is not GeoJSON"):
        View(ViewRequest([pair.scan], annotations=[tmp_path / "a.json"]))


def test_a_hostile_name_is_data(pair: Pair, tmp_path: Path) -> None:
    name = "'\"&<svg onload=alert(1)>.tif"
    shutil.copy(pair.scan, tmp_path / name)
    with View(ViewRequest([tmp_path / name])) as view:
        (client,) = (each for each in [view.get_resource("view.json")] if each)
    assert not {*b"<>&"} & {*client.data}
    assert json.loads(client.data)["images"][0]["name"] == name


def test_a_file_that_changes_is_one_line_and_never_mixed(pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "scan.tif"
    shutil.copy(pair.scan, path)
    with View(ViewRequest([path])) as view:
        for client in serve(view):
            assert client.get("tiles/0/0/0_0.jpg")[0] == 200
            shutil.copy(pair.result, path)
            for _ in range(2):
                status, body = client.get("tiles/0/0/1_0.jpg")
                assert (status, b"has changed since it was opened" in body) == (410, True)
            assert client.messages == [body.decode()]
            assert json.loads(client.get("status.json")[1]) == {"failures": client.messages, "runs": {}}


def test_a_taken_port_is_one_line(client: Client) -> None:
    port = client.server.server_address[1]
    with pytest.raises(OptionError, match=f"--port: {port} is taken by another program"):
        ViewServer(client.server.view, port)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openlayers, "_PACKAGE", "no-such-package")
    openlayers.read_library_file.cache_clear()
    with pytest.raises(ConfigError, match=r"pip install 'wsisr\[view\]'"):
        openlayers.read_library_file("ol.js")


def test_a_file_of_several_images_shows_the_one_that_is_asked_for(pair: Pair, tmp_path: Path) -> None:
    path = tmp_path / "two.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        for width in (200, 150):
            options: dict[str, Any] = {"photometric": "rgb", "tile": (64, 64), "compression": "zlib"}
            metadata = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
            writer.write(make_noise(Size(width, 100)), metadata=metadata, **options)
    for series, width in ((None, 200), (1, 150)):
        with View(ViewRequest([path, pair.scan], series=series)) as view:
            assert [image["width"] for image in view.describe()["images"]] == [width, 600]


def write_layer(path: Path, bounds: BoundPlane, result: Path) -> Path:
    """Write a trust layer as a run of the pair would, which made a result."""
    metadata = {
        "derived": "a bound",
        "calibration": "of a test",
        "tissue": "of the tissue, all",
        "source mpp": f"{SCAN_MPP}",
        "source origin": f"{REGION[0]}, {REGION[1]} px of level 0",
        "source downsample": "1 px of level 0 per px",
        RESULT_KEY: digest_result(read_metadata(result)),
    }
    write_trust_layer(path, bounds, 8 * SCAN_MPP, metadata, overwrite=False)
    return path


def test_a_trust_layer_beside_a_result_lies_over_it(pair: Pair, tmp_path: Path) -> None:
    result = tmp_path / "a.x2.ome.tif"
    shutil.copy(pair.result, result)
    bounds = np.full((38, 50), 5, np.uint8)  # of 400 x 300 px of the scan
    bounds[0, :4] = (6, 22, 80, 255)
    write_layer(tmp_path / "a.x2.trust.ome.tif", bounds, result)
    with View(ViewRequest([pair.scan, result])) as view:
        (layer,) = view.describe()["trust"]
        picture = view.get_resource(layer["url"])
    left, top = REGION[0] * SCAN_MPP, REGION[1] * SCAN_MPP
    assert layer["extent"] == pytest.approx((left, top, left + 50 * 4, top + 38 * 4))
    assert picture
    shown = np.asarray(Image.open(BytesIO(picture.data)).convert("RGBA")).astype(int)
    assert not shown[1:, :, 3].any()  # what may be off by 5 is clear
    opacities = shown[0, :4, 3]
    assert (opacities > 0).all()
    assert opacities[0] < opacities[1] < opacities[2]
    assert np.ptp(shown[0, 3, :3]) < 25 < np.ptp(shown[0, 2, :3])  # unknown is grey


def test_the_trust_layer_of_another_result_is_not_shown_as_that_of_the_one_beside_it(
    pair: Pair, tmp_path: Path
) -> None:
    result, unlike = tmp_path / "a.x2.ome.tif", pair.scan
    shutil.copy(pair.result, result)
    layer = write_layer(tmp_path / "a.x2.trust.ome.tif", np.full((38, 50), 5, np.uint8), result)
    with View(ViewRequest([pair.scan, result, layer])) as view:
        assert not any("trust" in warning for warning in view.warnings)
    layer.unlink()
    write_layer(layer, np.full((38, 50), 5, np.uint8), unlike)
    with View(ViewRequest([pair.scan, result])) as view:
        assert view.describe()["trust"] == []
        assert "a.x2.trust.ome.tif: is of another result than a.x2.ome.tif, and not shown" in view.warnings
    with View(ViewRequest([pair.scan, result, layer])) as view:
        assert len(view.describe()["trust"]) == 1
        assert "a.x2.trust.ome.tif: is of none of the results on this page" in view.warnings


def test_the_trust_layer_beside_a_dicom_result_lies_over_it(pair: Pair, tmp_path: Path) -> None:
    result = tmp_path / "a"
    upscale_slide(pair.scan, output=result, layout="dicom", scale=2, model="bicubic", region=REGION)
    layer = write_layer(tmp_path / "a.trust.ome.tif", np.full((38, 50), 5, np.uint8), result)
    with View(ViewRequest([pair.scan, result])) as view:
        assert [each["name"] for each in view.describe()["trust"]] == [layer.name]


def test_a_trust_layer_needs_a_result_and_a_calibration(pair: Pair, tmp_path: Path) -> None:
    layer = tmp_path / "b.trust.ome.tif"
    shutil.copy(pair.result, layer)
    with pytest.raises(SlideError, match="is a layer over a result"):
        View(ViewRequest([layer]))
    with pytest.raises(SlideError, match=r"b\.trust\.ome\.tif: is no trust layer of wsisr"):
        View(ViewRequest([pair.scan, layer]))
