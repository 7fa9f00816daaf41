"""What an upscaling says of itself on a terminal: panels before and after, and the words for numbers in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.panel import Panel

    from wsisr.imaging.geometry import Size
    from wsisr.models.upscaler import Upscaler
    from wsisr.progress import Progress
    from wsisr.upscaling.plan import UpscalePlan
    from wsisr.upscaling.quality import QualityMonitor


@dataclass(frozen=True, slots=True)
class RunTiming:
    """What one run took, and where it began."""

    seconds: float
    before: float
    """Share of the output's pixels, 0 to 1, that an earlier run had finished."""

    def rate(self, size: Size) -> float:
        """Mpx/s of output that this run made."""
        return size.pixel_count / 1e6 * (1 - self.before) / max(self.seconds, 1e-9)


def format_pace(progress: Progress, seconds: float) -> str:
    """Pixels are counted in Mpx, stored tiles one by one."""
    from wsisr.cli.progress import format_rate

    if progress.stage != "upscale":
        return format_rate(progress, seconds, "tile")
    done, total = progress.done / 1e6, progress.total / 1e6
    rate = (progress.done - progress.done_before) / 1e6 / max(seconds, 1e-9)
    digits = 1 if total >= 1 else 4
    return f"{done:.{digits}f}/{total:.{digits}f} Mpx, {rate:.2f} Mpx/s"


def announce_resume(steps: Iterable[Progress], output: Path) -> Iterator[Progress]:
    """The same steps; where they go on from what an earlier run finished, that is said before them."""
    from wsisr.cli.console import print_message

    for number, step in enumerate(steps):
        if step.done_before and not number:
            print_message(
                f"{output}: goes on from {100 * step.done_before / step.total:.0f} % that an earlier run finished"
            )
        yield step


def dry_run_panel(work: UpscalePlan, upscaler: Upscaler, output: Path, workplace: Path) -> Panel:
    """What would happen, the tiles in a folder that may lie on another disk than the output."""
    from wsisr.cli.progress import format_duration
    from wsisr.upscaling.estimate import estimate_run

    expected = estimate_run(work)
    network = " besides the network" if upscaler.info.weights else ""
    taken = "; it exists, and would need --overwrite" if output.exists() else ""
    return make_panel(
        "dry run: nothing was written",
        {
            **plan_rows(work, upscaler),
            "tiles": describe_tiles(work),
            "memory": f"at most {format_bytes(work.work_unit.total_bytes)}{network}",
            "time": f"about {format_duration(expected.seconds)}, at the speed of this moment",
            "output": f"{output}, about {format_bytes(expected.output_bytes)}{taken}",
            "disk": describe_disk_space(expected.disk_bytes, output.parent, workplace),
        },
    )


def describe_disk_space(needed: int, *folders: Path) -> str:
    """Bytes needed while running, in equal shares where the folders lie on several disks, and what is free there."""
    import shutil

    disks = {folder.stat().st_dev: folder for folder in folders}
    share = needed // len(disks)
    rooms = {folder: shutil.disk_usage(folder).free for folder in disks.values()}
    said = [
        f"{format_bytes(free)} are free{f' in {folder}' * (len(disks) > 1)}{', which is too little' * (share > free)}"
        for folder, free in rooms.items()
    ]
    return f"about {format_bytes(share)}{' on each disk' * (len(disks) > 1)} while running; {', '.join(said)}"


def result_panel(
    work: UpscalePlan, upscaler: Upscaler, run: RunTiming, output: Path, found: Mapping[str, str]
) -> Panel:
    """What happened, and what was found out on the way."""
    from wsisr.cli.progress import format_duration
    from wsisr.files import count_file_bytes
    from wsisr.writing.encoding.grid import build_level_grids

    resumed = f", after {100 * run.before:.0f} % that an earlier run had finished" if run.before else ""
    return make_panel(
        str(output),
        {
            **plan_rows(work, upscaler),
            **quality_rows(work),
            **found,
            "levels": str(len(build_level_grids(work.output.size, work.output.tile_px))),
            "tiles": describe_tiles(work),
            "time": f"{format_duration(run.seconds)}, {run.rate(work.output.size):.2f} Mpx/s of output{resumed}",
            "busy": describe_stage_shares(work, run.seconds),
            "bytes": format_bytes(count_file_bytes(output)),
        },
    )


def run_figures(work: UpscalePlan, upscaler: Upscaler, run: RunTiming) -> dict[str, Any]:
    """The same for programs."""
    return {
        "seconds": round(run.seconds, 1),
        "finished_before": round(run.before, 4),
        "model": upscaler.info.name,
        "hardware": upscaler.info.hardware,
        "width": work.output.size.width,
        "height": work.output.size.height,
        "mpp": work.output.mpp,
        "skipped": round(work.background.skipped_share, 4),
        "tile_px": work.grid.tiling.core_px,
        "waste": round(work.overlap_overhead, 4),
        "stages": {stage: round(spent, 1) for stage, spent in work.times.seconds.items()},
    } | (_audited(work.quality, len(work.grid)) if work.quality else {})


def _audited(audit: QualityMonitor, tiles: int) -> dict[str, Any]:
    return {"measured": round(audit.measured_tiles / tiles, 4), "seams": _seams(audit), "residual": _residual(audit)}


def _seams(audit: QualityMonitor) -> dict[str, Any] | None:
    seams = audit.seams
    if not seams.borders:
        return None
    return {
        "borders": seams.borders,
        "mean": round(seams.mean, 4),
        "worst": round(seams.worst, 4),
        "at": seams.worst_at,
    }


def _residual(audit: QualityMonitor) -> dict[str, Any]:
    found = audit.consistency
    return {
        "mean": round(found.mean, 4),
        "p99.9": found.percentile,
        "worst": round(found.worst, 4),
        "at": found.worst_at,
    }


def quality_rows(work: UpscalePlan) -> dict[str, str]:
    """Seams, and whether the result still shows what it was made from."""
    if work.quality is None:
        return {}
    seams, found = work.quality.seams, work.quality.consistency
    worst = "worst {:.3f} at {}, {}".format(seams.worst, *seams.worst_at)
    off = "worst tile {:.2f} at {}, {}".format(found.worst, *found.worst_at)
    shown = f"{seams.mean:.3f} times as rough as elsewhere, {worst}"
    tiles = len(work.grid)
    lossy = "" if work.output.codec.compression_method.is_lossless else "; before it was stored with loss"
    part = (
        {} if work.quality.measured_tiles == tiles else {"measured": f"{work.quality.measured_tiles} of {tiles} tiles"}
    )
    return part | {
        "tile borders": shown if seams.borders else "none",
        "averaged back": f"{found.mean:.2f} grey levels off, 99.9 % at most {found.percentile}, {off}{lossy}",
    }


def plan_rows(work: UpscalePlan, upscaler: Upscaler) -> dict[str, str]:
    """What is known before and after; of the background also that there is none, where it was sought or asked for."""

    cells = work.background
    told = cells.skipped_share or cells.options.white or upscaler.info.weights
    return {
        "model": f"{upscaler.info}, {upscaler.info.hardware}",
        "size": " to ".join(f"{size} px" for size in dict.fromkeys((*work.region.size_steps, work.output.size))),
        "pixel pitch": " to ".join(dict.fromkeys(map(format_mpp, (*work.region.mpp_steps, work.output.mpp)))),
    } | ({"background": cells.description} if told else {})


def make_panel(title: str, rows: dict[str, str]) -> Panel:
    """Names and values, aligned, in a box."""
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        table.add_row(Text(name, style="bold"), Text(value, overflow="fold"))
    return Panel(table, title=Text(title), title_align="left", expand=False)


def describe_tiles(work: UpscalePlan) -> str:
    return f"{len(work.grid)} of {work.grid.tiling.core_px} px; overlapping costs {100 * work.overlap_overhead:.0f} %"


def describe_stage_shares(work: UpscalePlan, seconds: float) -> str:
    """How much of the time each stage worked; above 100 % where several threads did."""
    spent = work.times.seconds.items()
    return ", ".join(f"{stage} {100 * each / max(seconds, 1e-9):.0f} %" for stage, each in spent) + " of one thread"


def format_mpp(mpp: float | None) -> str:
    return "unknown" if mpp is None else f"{mpp:.4g} um/px"


def format_bytes(count: int) -> str:
    """Bytes in decimal units."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:  # which is shown as 1000
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}"
