"""What runs on a worker of a command that shares whole slides: a function is called with one item."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from functools import lru_cache
from threading import Lock

from wsisr.cluster.call_spec import CallResult, CallSpec, fingerprint_item, list_paths
from wsisr.cluster.job_spec import TaskFailure, UnfitWorkerError, WorkerRefusal
from wsisr.cluster.worker import describe_model, limit_to_share, refuse_work
from wsisr.errors import DeviceError, WsisrError, describe_error


def call_item(packed: bytes, numbers: Sequence[int]) -> CallResult | TaskFailure | WorkerRefusal:
    """Call the function of a packed `CallSpec` with one item, given by its number.

    A refusal says that this worker cannot do it, as the function may by an `UnfitWorkerError`. The error of an item
    comes in its result, a bug as a failure.
    """
    spec, (number,) = _unpack(packed), numbers
    if difference := _find_difference(packed):
        return refuse_work(difference)
    item = spec.items[number]
    try:
        if fingerprint_item(item) != spec.fingerprints[number]:
            paths = ", ".join(map(str, list_paths(item)))
            return refuse_work(f"{paths}: not the same files here (does this machine see the slide's folder?)")
        return CallResult(number, spec.function(item), None)
    except (UnfitWorkerError, DeviceError) as error:
        return refuse_work(describe_error(error))
    except WsisrError as error:
        return CallResult(number, None, error)
    except Exception:  # noqa: BLE001 - a bug, whose traceback is shown where the run was started
        return TaskFailure(None, traceback.format_exc(limit=-20))


@lru_cache(maxsize=4)
def _unpack(packed: bytes) -> CallSpec:
    return CallSpec.unpack(packed)


@lru_cache(maxsize=4)
def _find_difference(packed: bytes) -> str | None:
    """Return why results of this worker would be others than those of most; None if they are the same."""
    spec = _unpack(packed)
    with _lock:
        here = describe_model(spec.request)
        if isinstance(here, WorkerRefusal):
            return here.reason
        limit_to_share(on_gpu=here.info.on_gpu)
    difference = spec.model.describe_difference(here)
    return f"{difference}: it would give other results" if difference else None


_lock = Lock()
