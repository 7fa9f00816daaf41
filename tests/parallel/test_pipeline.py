"""Prefetching and parallel mapping: the same items in order, a bounded number at a time, no thread left over."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import closing
from itertools import count, islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wsisr.parallel.pipeline import parallel_map, prefetch


class ReadError(Exception):
    """An error of the items."""


def fail_after(number: int) -> Iterator[int]:
    yield from range(number)
    raise ReadError


def prefetch_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "wsisr-prefetch"]


@given(items=st.lists(st.none() | st.integers()), depth=st.integers(1, 5))
def test_items_and_their_order_are_kept(items: list[int | None], depth: int) -> None:
    assert list(prefetch(items, depth)) == items
    assert prefetch_threads() == []


@given(before=st.integers(0, 6), depth=st.integers(1, 4))
def test_an_error_is_raised_in_its_place(before: int, depth: int) -> None:
    seen: list[int] = []
    with pytest.raises(ReadError):
        seen.extend(prefetch(fail_after(before), depth))
    assert seen == list(range(before))
    assert prefetch_threads() == []


@given(taken=st.integers(1, 10), depth=st.integers(1, 4))
def test_leaving_early_stops_the_thread(taken: int, depth: int) -> None:
    with closing(prefetch(count(), depth)) as items:
        assert list(islice(items, taken)) == list(range(taken))
        assert len(prefetch_threads()) == 1
    assert prefetch_threads() == []


def test_an_iterator_that_is_dropped_stops_its_thread() -> None:
    items = prefetch(count())
    assert next(items) == 0
    del items
    assert prefetch_threads() == []


def test_an_iterator_that_is_never_started_has_no_thread() -> None:
    prefetch(count())
    assert prefetch_threads() == []


@given(taken=st.integers(1, 8), depth=st.integers(1, 4))
def test_no_more_items_exist_than_promised(taken: int, depth: int) -> None:
    produced, most = [0], [0]

    def count_items() -> Iterator[int]:
        for number in count():
            produced[0] += 1
            yield number

    with closing(prefetch(count_items(), depth)) as items:
        for item in islice(items, taken):
            most[0] = max(most[0], produced[0] - item)
    assert most[0] <= depth + 2


def test_producer_and_consumer_run_at_the_same_time() -> None:
    used = threading.Event()

    def count_items() -> Iterator[int]:
        yield 0
        used.wait()  # blocks for ever if the producer runs only when the consumer asks
        yield 1

    with closing(prefetch(count_items())) as items:
        assert next(items) == 0
        used.set()
        assert next(items) == 1


def test_items_queued_before_an_error_are_still_yielded() -> None:
    assert list(islice(prefetch(fail_after(3), depth=8), 3)) == [0, 1, 2]


def map_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("wsisr-map")]


@given(items=st.lists(st.integers()), depth=st.integers(1, 4), workers=st.integers(1, 3))
def test_parallel_map_keeps_the_order(items: list[int], depth: int, workers: int) -> None:
    assert list(parallel_map(str, items, depth, workers)) == [str(item) for item in items]
    assert map_threads() == []


@given(before=st.integers(0, 6), depth=st.integers(1, 4), in_function=st.booleans())
def test_an_error_of_items_or_function_comes_after_the_earlier_results(
    before: int, depth: int, in_function: bool
) -> None:
    def call(item: int) -> int:
        if in_function and item == before:
            raise ReadError
        return item

    seen: list[int] = []
    with pytest.raises(ReadError):
        seen.extend(parallel_map(call, count() if in_function else fail_after(before), depth))
    assert seen == list(range(before))
    assert map_threads() == []


@given(taken=st.integers(1, 8), depth=st.integers(1, 4), workers=st.integers(1, 3))
def test_parallel_map_holds_no_more_results_than_promised_and_leaves_no_thread(
    taken: int, depth: int, workers: int
) -> None:
    produced, most = [0], [0]

    def count_items() -> Iterator[int]:
        for number in count():
            produced[0] += 1
            yield number

    with closing(parallel_map(int, count_items(), depth, workers)) as items:
        for item in islice(items, taken):
            most[0] = max(most[0], produced[0] - item)
    assert most[0] <= depth + 1
    assert map_threads() == []


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system knows no share of cores")
def test_openmp_keeps_to_the_cores_of_the_process() -> None:
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(mine)})
    try:
        with closing(parallel_map(lambda _: torch.get_num_threads(), [0])) as items:
            assert next(items) == 1
    finally:
        os.sched_setaffinity(0, mine)


def test_closing_a_parallel_map_closes_its_items() -> None:
    with closing(parallel_map(int, prefetch(count()))) as items:
        assert next(items) == 0
    assert prefetch_threads() == []
