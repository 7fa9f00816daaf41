"""`wsisr view` from the command line: what it prints, how it ends."""

from __future__ import annotations

import os
import signal
import threading
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support.pairs import write_slide
from tests.support.patience import PATIENCE_S
from wsisr.cli.app import app
from wsisr.cli.view import announce_server, serve_until_stopped
from wsisr.viewer.server import ViewServer
from wsisr.viewer.view import View, ViewRequest


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_slide(tmp_path_factory.mktemp("view") / "slide.tif")


def test_it_serves_until_ctrl_c(
    slide: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "here there")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    answers = []

    def visit_and_stop(url: str) -> None:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
                answers.append(answer.read())
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    with View(ViewRequest([slide])) as view, ViewServer(view) as server:
        announce_server(server, opens_browser=True)
        visitor = threading.Thread(target=visit_and_stop, args=(server.url,))
        visitor.start()
        serve_until_stopped(server)
        visitor.join()
        port = server.server_address[1]
        shown = capsys.readouterr()
        assert shown.out == f"{server.url}\n"
    assert "no browser was found here" in shown.err
    assert f"ssh -N -L {port}:127.0.0.1:{port} " in shown.err
    assert b"<!doctype html>" in answers[0]


def test_it_exports_a_page_once(slide: Path, tmp_path: Path) -> None:
    words = ["view", str(slide), "--export", str(tmp_path / "page")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "page" / "index.html").is_file()
    refused = str(CliRunner().invoke(app, words).exception)
    assert "exists already" in refused
    assert "--overwrite" not in refused  # `view` has no such option


def test_a_choice_that_is_none_names_those_there_are(slide: Path) -> None:
    result = CliRunner().invoke(app, ["view", str(slide), "--annotations-origin", "scan"])
    assert "--annotations-origin: choose canvas or bounds" in result.output
