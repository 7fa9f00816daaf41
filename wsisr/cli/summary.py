"""Summary of a job for the terminal: panels before and after it, and the words for the numbers in them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from rich.panel import Panel
from rich.table import Table

from wsisr.cli.console import literal_text
from wsisr.cli.progress import format_duration, format_rate
from wsisr.cli.verdicts import judge_consistency, judge_seams, judge_tissue
from wsisr.files import count_file_bytes
from wsisr.progress import format_count

if TYPE_CHECKING:
    from wsisr.progress import Progress
    from wsisr.upscaling.plan import UpscalePlan
    from wsisr.upscaling.report import QualityFigures, UpscaleReport
    from wsisr.upscaling.trust.estimate import TrustEstimate


def format_pace(progress: Progress, seconds: float) -> str:
    """Return how far a stage is and its rate; pixels are counted in Mpx, stored tiles one by one."""
    if progress.stage != "upscale":
        return format_rate(progress, seconds, "file" if progress.stage == "upload" else "tile")
    done, total = progress.done / 1e6, progress.total / 1e6
    rate = (progress.done - progress.done_before) / 1e6 / max(seconds, 1e-9)
    digits = 1 if total >= 1 else 4
    return f"{done:.{digits}f}/{total:.{digits}f} Mpx, {rate:.2f} Mpx/s"


def dry_run_panel(plan: UpscalePlan, report: UpscaleReport, tissue: str, work_dir: Path | None = None) -> Panel:
    """Return what a run would do and take; its work folder may lie on another disk than the output."""
    from wsisr.writing.workdir.folder import list_work_parents

    estimate, output = report.estimate, report.output
    assert estimate is not None
    network = " besides the network" if plan.upscaler.info.weights else ""
    taken = "; it exists, and would need --overwrite" if output.exists() else ""
    return make_panel(
        "dry run: nothing was written",
        {
            **plan_rows(plan, tissue),
            "tiles": describe_tiles(plan),
            "memory": f"at most {format_bytes(plan.work_unit.total_bytes)}{network}",
            "time": f"about {format_duration(estimate.seconds)} on an otherwise idle machine",
            "output": f"{output}, about {format_bytes(estimate.output_bytes)}{taken}",
            **({"trust": describe_trust(estimate.trust)} if estimate.trust else {}),
            "disk": describe_disk_space(estimate.disk_bytes, *list_work_parents(output, work_dir)),
        },
    )


def describe_trust(trust: TrustEstimate) -> str:
    """Return what the trust layer takes of a run's time, and of the disk beside its result."""
    return f"the layer takes about {format_duration(trust.seconds)} of that time, and {format_bytes(trust.layer_bytes)}"


def describe_disk_space(needed: int, *folders: Path) -> str:
    """Return the bytes needed while running and the free bytes; folders on several disks need equal shares."""
    disks = {folder.stat().st_dev: folder for folder in folders}
    share, several = needed // len(disks), len(disks) > 1
    free_bytes = {folder: shutil.disk_usage(folder).free for folder in disks.values()}
    free = ", ".join(
        f"{format_bytes(free)} are free{f' in {folder}' * several}{', which is too little' * (share > free)}"
        for folder, free in free_bytes.items()
    )
    return f"about {format_bytes(share)}{' on each disk' * several} while running; {free}"


def result_panel(plan: UpscalePlan, report: UpscaleReport, tissue: str) -> Panel:
    """Return what was done, and what to look at; figures without a verdict are in the JSON report only."""
    share = f"{100 * report.finished_before:.0f} %"
    resumed = f", after {share} that an earlier run had finished" if report.finished_before else ""
    quality = quality_rows(report.quality, plan) if report.quality else {}
    return make_panel(
        str(report.output),
        {
            **plan_rows(plan, tissue),
            **quality,
            **report.findings,
            "time": f"{format_duration(report.seconds)}{resumed}",
            "file size": format_bytes(count_file_bytes(report.output)),
        },
    )


def quality_rows(quality: QualityFigures, plan: UpscalePlan) -> dict[str, str]:
    """Return the rows about seams, and about how far the result is from its input."""
    tiles = len(plan.grid)
    measured = f"{round(quality.measured_share * tiles)} of {format_count(tiles, 'tile')} were measured"
    return {
        "seams": judge_seams(quality.seams).text,
        "consistency": judge_consistency(quality.consistency).text,
        **({"measured": measured} if quality.measured_share < 1 else {}),
    }


def plan_rows(plan: UpscalePlan, tissue: str) -> dict[str, str]:
    """Return the rows that are known before and after; about tissue only if it was looked for."""
    mask, region, output = plan.background, plan.region, plan.output
    rows = {
        "model": f"{plan.upscaler.info}, {plan.upscaler.info.hardware}",
        "size": " to ".join(f"{size} px" for size in dict.fromkeys((*region.size_steps, output.size))),
        "pixel size": " to ".join(dict.fromkeys(map(format_mpp, (*region.mpp_steps, output.mpp)))),
    }
    if mask.skipped_share or mask.options.white or plan.upscaler.info.weights:
        rows["network" if plan.upscaler.info.weights else "tissue"] = judge_tissue(plan, tissue).text
    return rows


def make_panel(title: str, rows: dict[str, str]) -> Panel:
    """Return names and values, aligned, in a box."""
    table = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        table.add_row(literal_text(name, "bold"), literal_text(value, overflow="fold"))
    return Panel(table, title=literal_text(title), title_align="left", expand=False)


def describe_tiles(plan: UpscalePlan) -> str:
    return f"{len(plan.grid)} of {plan.grid.tiling.core_px} px; overlapping costs {100 * plan.overlap_overhead:.0f} %"


def format_mpp(mpp: float | None) -> str:
    return "unknown" if mpp is None else f"{mpp:.4g} um/px"


def format_bytes(count: int) -> str:
    """Return bytes in decimal units."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:  # which is shown as 1000
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}"
