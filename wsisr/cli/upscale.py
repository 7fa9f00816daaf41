"""`wsisr upscale`: the main job."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wsisr.cli.choosing import Choice

if TYPE_CHECKING:
    from rich.panel import Panel

    from wsisr.progress import Progress
    from wsisr.upscaler import Upscaler
    from wsisr.upscaling import Plan

SUFFIXES = (".tif", ".tiff")
"""Of what is written; other layouts have other names."""


def upscale(
    slide: Annotated[Path, typer.Argument(help="Slide to enlarge.")],
    scale: Annotated[
        int | None, typer.Option(help="Output pixels per input pixel along one axis: 2 or 4.", show_default=False)
    ] = None,
    target_mpp: Annotated[
        float | None,
        typer.Option(
            help="Instead of a scale: pixel pitch of the output, in um/px; a network only where it takes one."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Pyramid to write; SLIDE.xSCALE.ome.tif by default.")
    ] = None,
    level: Annotated[int | None, typer.Option(help="Level to enlarge; 0, the finest, by default.", min=0)] = None,
    source_mpp: Annotated[
        float | None, typer.Option(help="Pixel pitch to enlarge from, in um/px: a finer level is shrunk to it.", min=0)
    ] = None,
    region: Annotated[
        str | None, typer.Option(help="X,Y,WIDTH,HEIGHT in px of level 0; what was scanned by default.")
    ] = None,
    region_mm: Annotated[str | None, typer.Option(help="X,Y,WIDTH,HEIGHT in millimetres.")] = None,
    whole_canvas: Annotated[
        bool, typer.Option("--whole-canvas", help="All of level 0, even where nothing was scanned.")
    ] = False,
    mpp: Annotated[
        float | None, typer.Option(help="Pixel pitch of level 0 in um/px, where the slide does not say it or lies.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Shipped model, weights file, bicubic or lanczos; what fits by default.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:NUMBER.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, bf16, fp16 or fp32.")] = "auto",
    tile_px: Annotated[int | None, typer.Option(help="Input px that a tile completes, along one axis.", min=1)] = None,
    overlap_px: Annotated[
        int | None, typer.Option(help="Input px by which tiles overlap; what leaves no seam by default.", min=0)
    ] = None,
    batch: Annotated[int, typer.Option(help="Tiles that go through the network together.", min=1)] = 1,
    codec: Annotated[str, typer.Option(help="jpeg, or without loss: deflate or lzw.")] = "jpeg",
    quality: Annotated[int, typer.Option(help="JPEG quality of the output.", min=1, max=100)] = 90,
    icc: Annotated[
        str, typer.Option(help="keep stores the slide's colours and profile as they are; srgb converts them first.")
    ] = "keep",
    again: Annotated[bool, typer.Option("--again", help="Take a slide that wsisr wrote.")] = False,
    subsampling: Annotated[str, typer.Option(help="JPEG colours: 420, or 444 at full resolution.")] = "420",
    accept_limited_viewers: Annotated[
        bool, typer.Option("--accept-limited-viewers", help="Allow codecs that some viewers cannot open.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and do nothing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors and warnings only.")] = False,
) -> None:
    """Enlarge a slide into a new pyramidal TIFF."""
    if icc not in ("keep", "srgb"):
        raise typer.BadParameter("choose keep or srgb", param_hint="--icc")
    choice = Choice(scale, level, source_mpp, target_mpp, region, region_mm, whole_canvas)
    from contextlib import closing

    from wsisr.cli.console import answers, passing_on, remark
    from wsisr.cli.progress import drawn
    from wsisr.cli.stopping import stop_asked, until
    from wsisr.files import check_output, check_suffix, refuse_source
    from wsisr.runtime import load_upscaler
    from wsisr.slides import InSrgb, open_slide
    from wsisr.upscaler import Unchanged
    from wsisr.upscaling import DEFAULT_TILE_PX, Options, plan
    from wsisr.upscaling import upscale as upscaled
    from wsisr.writing import Codec

    coding = Codec(codec, quality, subsampling)
    coding.check_viewers(accept_limited=accept_limited_viewers)
    with open_slide(slide, mpp, estimate=True) as stored:
        refuse_derived(slide, again)
        opened = InSrgb(stored) if icc == "srgb" else stored
        output = output or default_output(slide, f"x{scale}" if scale else f"{target_mpp:g}um")
        check_suffix(output, SUFFIXES)
        refuse_source(output, slide)
        check_output(output, overwrite=overwrite or dry_run)
        route = choice.route(opened)
        source = route.source
        upscaler = (
            load_upscaler(model, scale=route.scale, device=device, precision=precision, mpp=source.mpp)
            if route.scale > 1
            else Unchanged()
        )
        options = Options(DEFAULT_TILE_PX if tile_px is None else tile_px, overlap_px, batch, coding)
        work = plan(source, upscaler, options)
        for warning in (*source.said, *filter(None, [work.warning])):
            remark(f"warning: {warning}")
        if dry_run:
            return answers.print(forecast(work, upscaler, output))
        began = time.monotonic()
        making = upscaled(source, upscaler, output, options=options, overwrite=overwrite)
        with stop_asked() as stop, closing(making) as steps:
            if not quiet:
                sizes = f"{source.size} px to {work.output.size} px"
                remark(f"{upscaler.name}, {upscaler.hardware}: {sizes} in {len(work.grid)} steps")
            for _ in drawn(passing_on(until(steps, stop), upscaler.remarks), pace, quiet=quiet):
                pass
        if not quiet:
            answers.print(summary(work, upscaler, time.monotonic() - began, output))


def refuse_derived(slide: Path, again: bool) -> None:
    """Raises `SlideError` for a slide that wsisr wrote: what is enlarged twice is an estimate of an estimate."""
    from wsisr.cli.info import derived_note
    from wsisr.errors import SlideError

    if not again and derived_note(slide):
        raise SlideError(f"{slide}: wsisr wrote it, its detail is an estimate; give the scan, or insist with --again")


def default_output(slide: Path, change: str) -> Path:
    """`dir/a.svs` at x4 to `dir/a.x4.ome.tif`; beside the slide."""
    whole = slide.resolve() if slide.is_dir() else slide
    stem = whole.name if slide.is_dir() else slide.stem
    return whole.with_name(f"{stem.removesuffix('.ome')}.{change}.ome.tif")


def pace(progress: Progress, seconds: float) -> str:
    """Pixels are counted in Mpx, stored tiles one by one."""
    from wsisr.cli.progress import counted

    if progress.stage != "upscale":
        return counted(progress, seconds)
    done, total = progress.done / 1e6, progress.total / 1e6
    return f"{done:.1f}/{total:.1f} Mpx, {done / max(seconds, 1e-9):.2f} Mpx/s"


def forecast(work: Plan, upscaler: Upscaler, output: Path) -> Panel:
    """What would happen."""
    import shutil

    from wsisr.cli.progress import duration
    from wsisr.estimate import estimate

    expected = estimate(work, upscaler)
    free = shutil.disk_usage(output.parent).free
    taken = "; it exists, and would need --overwrite" if output.exists() else ""
    return panel(
        "dry run: nothing was written",
        {
            **facts(work, upscaler),
            "tiles": f"{len(work.grid)} of {work.grid.tiling.step} px; overlapping costs {100 * work.waste:.0f} %",
            "time": f"about {duration(expected.seconds)}",
            "output": f"{output}, about {size_in_words(expected.output_bytes)}{taken}",
            "disk": f"about {size_in_words(expected.disk_bytes)} while running; {size_in_words(free)} are free",
        },
    )


def summary(work: Plan, upscaler: Upscaler, seconds: float, output: Path) -> Panel:
    """What happened."""
    from wsisr.cli.progress import duration
    from wsisr.writing.grid import pyramid

    megapixels = work.output.size.pixels / 1e6
    return panel(
        str(output),
        {
            **facts(work, upscaler),
            "levels": str(len(pyramid(work.output.size, work.output.tile_px))),
            "time": f"{duration(seconds)}, {megapixels / max(seconds, 1e-9):.2f} Mpx/s of output",
            "bytes": size_in_words(output.stat().st_size),
        },
    )


def facts(work: Plan, upscaler: Upscaler) -> dict[str, str]:
    """What is known before and after."""
    return {
        "model": f"{upscaler.name}, {upscaler.hardware}",
        "size": f"{work.source.size} px to {work.output.size} px",
        "pixel pitch": f"{pitch_in_words(work.source.mpp)} to {pitch_in_words(work.output.mpp)}",
    }


def panel(title: str, rows: dict[str, str]) -> Panel:
    """Names and values, aligned, in a box."""
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        table.add_row(Text(name, style="bold"), Text(value, overflow="fold"))
    return Panel(table, title=Text(title), title_align="left", expand=False)


def pitch_in_words(mpp: float | None) -> str:
    return "unknown" if mpp is None else f"{mpp:.4g} um/px"


def size_in_words(count: int) -> str:
    """Bytes in decimal units."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}"
