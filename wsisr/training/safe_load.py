"""Errors of reading an untrusted torch archive with `weights_only`, which executes nothing in it."""

from __future__ import annotations

import pickle

TORCH_LOAD_ERRORS = (
    OSError,
    RuntimeError,
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
)
"""Errors of torch.load for a file that torch did not write, and of archives with other content than expected."""
