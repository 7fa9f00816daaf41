"""Cache folder: what wsisr remembers between runs; removing it costs only time."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "WSISR_CACHE_DIR"
"""Environment variable that names another folder."""


def find_cache_folder() -> Path:
    """Return the folder that the environment names, else the user's cache folder as the system has it."""
    from platformdirs import user_cache_path

    given = os.environ.get(CACHE_VARIABLE)
    return Path(given) if given else user_cache_path("wsisr", appauthor=False)


def find_index_folder() -> Path:
    """Return the folder of the index of finished results."""
    return find_cache_folder() / "finished"
