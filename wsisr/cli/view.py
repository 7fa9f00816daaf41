"""`wsisr view`: slides and results in a browser, in register by micrometres."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsisr.cli.options import UM_PER_PX, choice_option, flag, slide_argument

if TYPE_CHECKING:
    from wsisr.progress import Progress
    from wsisr.viewer.server import ViewServer
    from wsisr.viewer.view import ViewRequest


def view_command(
    images: Annotated[
        list[Path],
        slide_argument(
            "Slides and results to compare, of any format that wsisr reads, the scan first; also unfinished results.",
            metavar="IMAGE",
        ),
    ],
    annotations: Annotated[
        list[Path] | None,
        typer.Option(
            "--annotations", "-a", metavar="FILE", help="GeoJSON to draw, in px of the first image; may be repeated."
        ),
    ] = None,
    annotations_origin: Annotated[
        str,
        choice_option("canvas|bounds", help="What the GeoJSON counts from; QuPath counts from the scanned bounds."),
    ] = "canvas",
    mpp: Annotated[float | None, typer.Option(metavar=UM_PER_PX, help="Pixel size of images that record none.")] = None,
    series: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Image to show of files that hold several; by default the largest."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="Port of the page; 0 takes a free one.")] = 0,
    no_browser: Annotated[bool, flag("--no-browser", "Print the address only.")] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Answer to this host name, too: that of a proxy such as JupyterHub; may be repeated."
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write the page into a new folder that any web server shows, and end."),
    ] = None,
    export_limit: Annotated[float, typer.Option(min=0.001, metavar="GB", help="Most that --export may write.")] = 2.0,
) -> None:
    """Compare slides and results in a browser."""
    from wsisr.cli.console import print_message, print_warnings
    from wsisr.errors import check_choice
    from wsisr.viewer.view import ORIGINS_OF_ANNOTATIONS, View, ViewRequest

    check_choice("--annotations-origin", annotations_origin, ORIGINS_OF_ANNOTATIONS)
    request = ViewRequest(images, mpp, series, annotations or (), annotations_origin)
    if export is not None:
        export_page(request, export, round(export_limit * 1e9))
        return
    from wsisr.viewer.server import ViewServer

    with View(request) as view:
        print_warnings(view.warnings)
        with ViewServer(view, port, hosts=allow_host or (), report_failure=print_message) as server:
            announce_server(server, opens_browser=not no_browser)
            serve_until_stopped(server)


def export_page(request: ViewRequest, folder: Path, limit_bytes: int) -> None:
    """Write the page of a view into a folder, with a bar."""
    from wsisr.cli.console import print_message, print_warnings
    from wsisr.cli.progress import show_progress
    from wsisr.viewer.export import export_view
    from wsisr.viewer.view import View

    with View(request) as view:
        print_warnings(view.warnings)
        for _ in show_progress(export_view(view, folder, limit_bytes), format_files):
            pass
    print_message(f"{folder}: written; for a look: python -m http.server --bind 127.0.0.1 --directory {folder}")


def format_files(progress: Progress, _seconds: float) -> str:
    """Return how many files are written, in words."""
    from wsisr.progress import format_count

    return f"{progress.done:,} of {format_count(progress.total, 'file')}"


def announce_server(server: ViewServer, *, opens_browser: bool) -> None:
    """Print the address of the page, open it, and say how to reach it from elsewhere."""
    from wsisr.cli.console import print_line, print_message
    from wsisr.viewer.server import find_host_name

    print_line(server.url)
    sys.stdout.flush()
    if opens_browser and not open_browser(server.url):
        print_message("no browser was found here; open the address above in one")
    if os.environ.get("SSH_CONNECTION"):
        number = server.server_address[1]
        print_message(f"from your own machine, first: ssh -N -L {number}:127.0.0.1:{number} {find_host_name()}")
    print_message("Ctrl-C ends it")


def open_browser(url: str) -> bool:
    """Open an address in a browser with a window; one in this terminal would take it over. Return whether it opened."""
    import webbrowser

    has_screen = sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(has_screen) and webbrowser.open(url)


def serve_until_stopped(server: ViewServer) -> None:
    """Serve until Ctrl-C or the end of the terminal."""
    import threading

    from wsisr.cli.shutdown import catch_stop_signals

    with catch_stop_signals() as stop:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        while not stop.is_set():
            thread.join(0.2)
        server.shutdown()
