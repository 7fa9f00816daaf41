"""An exported page is what the server would have sent, whole or not there."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import pytest

from tests.viewer.pictures import Pair
from wsisr.errors import OutputError
from wsisr.viewer.export import export_view
from wsisr.viewer.view import View, ViewRequest


def test_an_exported_page_holds_what_the_server_sends(pair: Pair, tmp_path: Path) -> None:
    folder = tmp_path / "page"
    with View(ViewRequest([pair.scan, pair.result])) as view:
        steps = list(export_view(view, folder, 10**8))
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert steps[-1].done == steps[-1].total == len(files)
        for path in files:
            resource = view.get_resource(path.relative_to(folder).as_posix())
            assert resource
            assert path.read_bytes() == resource.data
    assert {"index.html", "view.json", "ol.js"} <= {path.name for path in files}
    assert b"OpenLayers Contributors" in (folder / "ol.css").read_bytes()  # its licence goes along


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_nothing_is_overwritten(pair: Pair, tmp_path: Path, kind: str) -> None:
    target = tmp_path / "page"
    target.mkdir() if kind == "folder" else target.touch()
    with View(ViewRequest([pair.scan])) as view, pytest.raises(OutputError, match="exists already"):
        deque(export_view(view, target, 10**8))
    assert not list(tmp_path.glob("page/*"))


def test_a_page_that_is_too_large_leaves_nothing(pair: Pair, tmp_path: Path) -> None:
    with View(ViewRequest([pair.scan])) as view, pytest.raises(OutputError, match=r"larger than 0\.001 GB"):
        deque(export_view(view, tmp_path / "page", 10**6))
    assert list(tmp_path.iterdir()) == []
