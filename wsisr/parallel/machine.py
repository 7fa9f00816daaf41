"""The machine: processor, memory and graphics cards, as far as the system tells without any library."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from wsisr.parallel.cpu import count_usable_cores

INSTRUCTION_SETS = {
    "avx2": ("avx2",),
    "avx512": ("avx512f",),
    "avx512_bf16": ("avx512_bf16",),
    "amx_bf16": ("amx_bf16",),
    "neon": ("asimd",),
    "arm_bf16": ("bf16",),
}
"""Instruction sets that matter for networks, and the flags by which Linux names them."""

_NVIDIA_VENDOR, _DISPLAY_CLASS = "0x10de", "0x03"
"""PCI vendor of NVIDIA; beginning of the PCI classes of graphics cards."""


def describe_cpu() -> dict[str, object]:
    """Return the processor's name, the cores that this process may use, the load, and the instruction sets."""
    info = _read_text(Path("/proc/cpuinfo"))
    name = re.search(r"^model name\s*:\s*(.+)$", info, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", info, re.MULTILINE)
    known = set(flags[1].split()) if flags else set()
    return {
        "name": name[1] if name else platform.processor() or platform.machine(),
        "cores": count_usable_cores(),
        "load": round(os.getloadavg()[0], 2),
        "instructions": [name for name, needed in INSTRUCTION_SETS.items() if known.issuperset(needed)],
    }


def measure_memory() -> dict[str, int | None]:
    """Return the machine's memory, what is free of it, and a container's limit, in bytes; None where it is unknown."""
    lines = dict(re.findall(r"^(\w+):\s*(\d+) kB$", _read_text(Path("/proc/meminfo")), re.MULTILINE))
    limit = _read_text(Path("/sys/fs/cgroup/memory.max")).strip()
    total = int(lines["MemTotal"]) * 1024 if "MemTotal" in lines else _measure_total_memory()
    free = int(lines["MemAvailable"]) * 1024 if "MemAvailable" in lines else None
    return {"total": total, "free": free, "limit": int(limit) if limit.isdecimal() else None}


def _measure_total_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def has_nvidia_gpu() -> bool:
    """Return whether the machine has a graphics card of NVIDIA, whether or not anything can use it."""
    if Path("/proc/driver/nvidia/version").exists() or any(Path("/dev").glob("nvidia[0-9]*")):
        return True
    return any(
        _read_text(device / "vendor").strip() == _NVIDIA_VENDOR
        and _read_text(device / "class").startswith(_DISPLAY_CLASS)
        for device in Path("/sys/bus/pci/devices").glob("*")
    )


def _read_text(path: Path) -> str:
    """Return a file's text; empty where there is none, as on other systems than Linux."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
