"""`wsisr doctor`: what wsisr finds on this machine, how fast it is, and what would make it faster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wsisr.cli.options import flag

if TYPE_CHECKING:
    from rich.table import Table

CODEC_LIBRARIES = ("JPEG8", "JPEG2K", "JPEGXL", "JPEGXR", "WEBP", "LZW", "DEFLATE", "ZSTD")
"""Codecs of imagecodecs that slides are stored in."""

SCHEMA = 1
"""Version of the keys that `--json` prints. Keys are added, never renamed."""

Facts = dict[str, Any]


def doctor_command(
    folder: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder whose disk is tested. By default the current one.")
    ] = Path(),
    no_speed: Annotated[bool, flag("--no-speed", "Leave out the speed tests, which take some 15 s.")] = False,
    as_json: Annotated[bool, flag("--json", "Print JSON instead of a table.")] = False,
) -> None:
    """Look at this machine: torch and GPU, CPU, memory, readers, disk, speed."""
    from wsisr.cli.console import print_json, print_message, stdout_console
    from wsisr.cli.progress import show_preparation
    from wsisr.errors import OptionError

    if not folder.is_dir():
        raise OptionError(f"{folder}: there is no such folder", option="--folder")
    tests = "" if no_speed else f", measures the disk of {folder.absolute()} and for ten seconds the default network"
    print_message(f"looks at this machine{tests}")
    with show_preparation("looks at this machine"):
        facts = collect_facts(folder, with_speed=not no_speed)
    if as_json:
        print_json(facts, indent=2)
    else:
        stdout_console.print(_build_table(facts))


def collect_facts(folder: Path, *, with_speed: bool) -> Facts:
    """Return what `--json` prints: sizes in bytes, speeds in bytes or pixels a second; null is unknown or left out."""
    from wsisr.cli.cache_folder import find_cache_folder
    from wsisr.cli.run_report import describe_versions
    from wsisr.cli.speed_tests import measure_network
    from wsisr.parallel.machine import describe_cpu, measure_memory

    return {
        "schema": SCHEMA,
        "versions": describe_versions(),
        "torch": _collect_torch_facts(),
        "cpu": describe_cpu(),
        "memory": measure_memory(),
        "readers": _collect_reader_facts(),
        "disk": _collect_disk_facts(folder, with_speed=with_speed),
        "cache": str(find_cache_folder()),
        "speed": measure_network() if with_speed else None,
    }


def _collect_torch_facts() -> Facts:
    import torch

    from wsisr.models.backends.device import select_device, select_precision
    from wsisr.models.torch_build import INSTALL_CPU_BUILD, INSTALL_GPU_BUILD, describe_unused_gpu
    from wsisr.parallel.machine import has_nvidia_gpu

    gpus = [torch.cuda.get_device_properties(number) for number in range(torch.cuda.device_count())]
    has_gpu = has_nvidia_gpu()
    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "gpus": [{"name": gpu.name, "memory": gpu.total_memory} for gpu in gpus],
        "nvidia_gpu_in_machine": has_gpu,
        "precision": select_precision("auto", select_device("auto")),
        "install_other_build": INSTALL_CPU_BUILD if torch.version.cuda else INSTALL_GPU_BUILD,
        "warning": describe_unused_gpu(has_gpu=has_gpu, torch_version=torch.__version__),
    }


def _collect_reader_facts() -> Facts:
    import imagecodecs
    import openslide

    codecs = {name.lower(): bool(getattr(imagecodecs, name).available) for name in CODEC_LIBRARIES}
    return {"openslide": openslide.__library_version__, "imagecodecs": imagecodecs.__version__, "codecs": codecs}


def _collect_disk_facts(folder: Path, *, with_speed: bool) -> Facts:
    import shutil

    from wsisr.cli.speed_tests import measure_disk
    from wsisr.files import translate_disk_errors

    with translate_disk_errors(folder):
        speed = measure_disk(folder) if with_speed else {"write": None, "read": None}
        return {"folder": str(folder.absolute()), "free": shutil.disk_usage(folder).free} | speed


def _build_table(facts: Facts) -> Table:
    from rich.table import Table

    from wsisr.cli.console import literal_text

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _table_rows(facts):
        table.add_row(name, literal_text(value))
    return table


def _table_rows(facts: Facts) -> Iterator[tuple[str, str]]:
    from wsisr.cli.progress import format_duration
    from wsisr.cli.summary import format_bytes

    versions, torch, cpu, memory, disk = (facts[key] for key in ("versions", "torch", "cpu", "memory", "disk"))
    yield "wsisr", f"{versions['wsisr']}, Python {versions['python']}, {versions['system']}"
    yield "torch", f"{torch['version']}, {'CUDA ' + torch['cuda'] if torch['cuda'] else 'for the CPU'}"
    gpus = (f"{gpu['name']}, {format_bytes(gpu['memory'])}" for gpu in torch["gpus"])
    yield "GPU", "; ".join(gpus) or ("one of NVIDIA, which is not used" if torch["nvidia_gpu_in_machine"] else "none")
    if torch["warning"]:
        yield "warning", torch["warning"]
    yield "other build", torch["install_other_build"]
    yield "CPU", f"{cpu['name']}, {cpu['cores']} cores, load {cpu['load']}"
    yield "instructions", f"{', '.join(cpu['instructions']) or 'none known'}; networks compute in {torch['precision']}"
    free = "" if memory["free"] is None else f", {format_bytes(memory['free'])} free"
    limit = "" if memory["limit"] is None else f"; this process may use {format_bytes(memory['limit'])}"
    yield "memory", ("unknown" if memory["total"] is None else format_bytes(memory["total"])) + free + limit
    readers = facts["readers"]
    yield "readers", f"OpenSlide {readers['openslide']}, tifffile {versions['tifffile']}, zarr {versions['zarr']}"
    missing = [name for name, available in readers["codecs"].items() if not available]
    have = ", ".join(name for name in readers["codecs"] if name not in missing)
    lacking = f"; missing: {', '.join(missing)}" if missing else ""
    yield "codecs", f"imagecodecs {readers['imagecodecs']}: {have}{lacking}"
    speed = f"; writes {format_bytes(disk['write'])}/s, reads {format_bytes(disk['read'])}/s" if disk["write"] else ""
    yield "disk", f"{disk['folder']}: {format_bytes(disk['free'])} free{speed}"
    yield "cache", facts["cache"]
    if facts["speed"]:
        yield from _describe_speed(facts["speed"], cpu, format_duration(facts["speed"]["typical_slide_seconds"]))


def _describe_speed(speed: Facts, cpu: Facts, duration: str) -> Iterator[tuple[str, str]]:
    from wsisr.cli.speed_tests import TYPICAL_SIDE_PX, TYPICAL_TISSUE

    pace = f"{speed['output_pixels_per_second'] / 1e6:.3g} Mpx/s of output"
    yield "speed", f"{speed['model']}, {speed['hardware']}: {pace}"
    slide = f"{TYPICAL_SIDE_PX:,} px squared, {100 * TYPICAL_TISSUE:.0f} % of it tissue"
    busy = "; other programs run now" if cpu["load"] > cpu["cores"] else ""
    yield "20x slide", f"about {duration} on an otherwise idle machine ({slide}){busy}"
