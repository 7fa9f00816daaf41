"""Archives as torch writes them, of which nothing is ever executed: what reading a stranger's can lead to."""

from __future__ import annotations

import pickle

UNREADABLE = (
    OSError,
    RuntimeError,
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
)
"""What torch answers to an archive that it did not write, and what one with other things in it leads to."""
