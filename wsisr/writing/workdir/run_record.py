"""The record of a run, `run.json`: which run a work folder belongs to, and what that run read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from wsisr.files import write_atomically

RunIdentity: TypeAlias = Mapping[str, str]
"""Everything that a run's pixels depend on, as text: names to values."""

_STATE_KEY, _DIGEST_KEY = "source state", "source sha256"


@dataclass(frozen=True, slots=True)
class RunSource:
    """What a run reads. A stopped run and one that resumes from it must have read the same."""

    state: str
    """Changes whenever the source might have changed."""
    compute_sha256: Callable[[], str | None]
    """Reads all of the source: called only where its state has changed, and may raise a `WsisrError`."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """Identity and source of the run whose work is in a folder."""

    identity: RunIdentity
    source_state: str | None = None
    source_sha256: str | None = None
    """Digest of the source in that state; None while it is not known."""

    def describe_difference(self, identity: RunIdentity | None, source: RunSource | None) -> str | None:
        """Return the first difference to a run that wants to resume, in words; None if it may.

        A source in another state may be the same: with permissions changed, or copied back together with its date.
        """
        wanted = identity or {}
        for name in [*wanted, *self.identity]:
            if self.identity.get(name) != wanted.get(name):
                return f"{name} {self.identity.get(name, 'not given')}, now {wanted.get(name, 'not given')}"
        if identity is None:
            return "an identity, now none"
        if source is None or self.source_state in (None, source.state):
            return None
        if self.source_sha256 is None:
            return "a slide that was replaced or touched later, and cannot be proved to be the same"
        digest = source.compute_sha256()
        return None if digest == self.source_sha256 else f"{_DIGEST_KEY} {self.source_sha256}, now {digest or 'none'}"

    def write(self, path: Path) -> None:
        """Write or replace the record. Raises `OutputError`."""
        source = {_STATE_KEY: self.source_state, _DIGEST_KEY: self.source_sha256}
        content = dict(self.identity) | {key: text for key, text in source.items() if text is not None}
        write_atomically(path, [json.dumps(content, indent=2).encode()])


def read_run_record(path: Path) -> RunRecord | None:
    """Return the stored record; None if there is no such file or it is incomplete."""
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(content, dict):
        return None
    state, digest = content.pop(_STATE_KEY, None), content.pop(_DIGEST_KEY, None)
    return RunRecord(content, state, digest)
