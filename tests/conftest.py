"""Real slides for every test that wants one."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.samples import CMU_SLIDE, SHARED_SLIDES

settings.register_profile("untimed", deadline=None)  # a busy machine fails no test
settings.load_profile("untimed")

# The width of a shell's window, which pytest-xdist hands on, is not that of what tests read: they read no terminal.
os.environ.pop("COLUMNS", None)

# A shell that runs the tests in its background makes them, and all that they start, deaf to Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def cmu_slide() -> Path:
    """A real Aperio slide: 2220 x 2967 px at 0.499 um/px, one level, with label, macro and thumbnail."""
    if not CMU_SLIDE.exists():
        pytest.fail(f"{CMU_SLIDE} is missing: run make data")
    return CMU_SLIDE


@pytest.fixture(scope="session")
def shared_slides() -> Path:
    """A folder of more slides, from several vendors, beside the repository where it is at hand."""
    if not SHARED_SLIDES.is_dir():
        pytest.skip(f"no {SHARED_SLIDES}")
    return SHARED_SLIDES


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Sums of floats depend on how many threads share them."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="session")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of the tests' own for what wsisr remembers between runs, also of the processes that tests start."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WSISR_CACHE_DIR", str(folder))
        yield folder
