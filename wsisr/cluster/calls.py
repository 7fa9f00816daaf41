"""Calls on workers: a function is called with many items, each a slide or a part of one, on a cluster."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TypeVar

from wsisr.cluster import call_worker
from wsisr.cluster.call_spec import CallResult, CallSpec, fingerprint_item, list_paths, make_item_absolute
from wsisr.cluster.job import RemoteWork, open_job
from wsisr.cluster.job_spec import ModelRequest
from wsisr.cluster.session import ClusterSession
from wsisr.errors import WsisrError

T = TypeVar("T")
R = TypeVar("R")

NO_MODEL = ModelRequest(None, scale=1)
"""For items that no network computes."""


def call_on_workers(
    session: ClusterSession, function: Callable[[T], R], items: Sequence[T], request: ModelRequest = NO_MODEL
) -> Generator[CallResult | None, None, None]:
    """Call a function of a module with each item, a dataclass, on the workers of a session.

    Yields results as they come, in any order, and None at least every half second without one. Paths that an item
    names stand for the same files on every worker; messages name them as the item does. Workers that would load another
    network, or have other programs, get no work. Raises `ClusterError` if none is left, or an item has killed several.
    """
    if not items:
        return
    description = session.describe_model(request)
    name, order = session.name_job()
    sent = tuple(map(make_item_absolute, items))
    spec = CallSpec(name, function, sent, tuple(map(fingerprint_item, sent)), request, description)
    waiting = deque(range(len(items)))

    def describe_death(number: int) -> str:
        return f"{', '.join(map(str, list_paths(items[number])))}: several workers died at it"

    work = RemoteWork(name, spec.pack(), call_worker.call_item, describe_death)
    with open_job(session, work, order) as job:
        while waiting or not job.is_idle:
            while waiting and session.has_room:
                job.submit([waiting.popleft()], expected_bytes=0)
            result = job.wait()
            if result is None:
                yield None
            else:
                yield _restore_paths(result, list(list_paths(items[result.number])))


def _restore_paths(result: CallResult, given: Sequence[Path]) -> CallResult:
    """Have messages name paths as they were given."""
    if isinstance(result.error, WsisrError):
        return result._replace(error=type(result.error)(restore_text(str(result.error), given)))
    if isinstance(result.value, str):
        return result._replace(value=restore_text(result.value, given))
    return result


def restore_text(text: str, given: Sequence[Path]) -> str:
    """Return a message with paths as they were given in the place of absolute ones."""
    for path in given:
        text = text.replace(str(path.absolute()), str(path))
    return text
