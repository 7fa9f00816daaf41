"""The build of torch that is installed, without importing it, and the line that installs the other one."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version

CPU_TAG = "+cpu"
"""End of the version of a build for the CPU on Linux. PyPI serves the build for CUDA there, which has no tag."""

INSTALL_GPU_BUILD = "pip install --force-reinstall torch"
INSTALL_CPU_BUILD = "pip install --force-reinstall --index-url https://download.pytorch.org/whl/cpu torch"


def read_torch_version() -> str | None:
    """Return the version of torch; None if it is not installed."""
    try:
        return version("torch")
    except PackageNotFoundError:
        return None


def is_cpu_build(torch_version: str | None) -> bool:
    """Return whether a build of torch cannot use a GPU of NVIDIA, by its version."""
    return torch_version is not None and (CPU_TAG in torch_version or sys.platform == "darwin")


def describe_unused_gpu(*, has_gpu: bool, torch_version: str | None) -> str | None:
    """Return a warning where a GPU of NVIDIA stands idle because torch was built for the CPU; else None."""
    if not has_gpu or not is_cpu_build(torch_version):
        return None
    return (
        f"this machine has an NVIDIA GPU, which torch {torch_version} cannot use; to install a build that can: "
        f"{INSTALL_GPU_BUILD}"
    )
