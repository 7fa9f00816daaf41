"""Work done ahead in a thread: the same items, in bounded number, and never a thread left behind."""

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
    """What a source may raise."""


def failing_after(number: int) -> Iterator[int]:
    yield from range(number)
    raise ReadError


def workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "wsisr-prefetch"]


@given(items=st.lists(st.none() | st.integers()), depth=st.integers(1, 5))
def test_items_and_their_order_are_kept(items: list[int | None], depth: int) -> None:
    assert list(prefetch(items, depth)) == items
    assert workers() == []


@given(before=st.integers(0, 6), depth=st.integers(1, 4))
def test_an_error_is_raised_in_its_place(before: int, depth: int) -> None:
    seen: list[int] = []
    with pytest.raises(ReadError):
        seen.extend(prefetch(failing_after(before), depth))
    assert seen == list(range(before))
    assert workers() == []


@given(taken=st.integers(1, 10), depth=st.integers(1, 4))
def test_leaving_early_stops_the_thread(taken: int, depth: int) -> None:
    with closing(prefetch(count(), depth)) as items:
        assert list(islice(items, taken)) == list(range(taken))
        assert len(workers()) == 1
    assert workers() == []


def test_an_iterator_that_is_dropped_stops_its_thread() -> None:
    items = prefetch(count())
    assert next(items) == 0
    del items
    assert workers() == []


def test_an_iterator_that_is_never_begun_has_no_thread() -> None:
    prefetch(count())
    assert workers() == []


@given(taken=st.integers(1, 8), depth=st.integers(1, 4))
def test_no_more_items_live_than_promised(taken: int, depth: int) -> None:
    made, most = [0], [0]

    def source() -> Iterator[int]:
        for number in count():
            made[0] += 1
            yield number

    with closing(prefetch(source(), depth)) as items:
        for item in islice(items, taken):
            most[0] = max(most[0], made[0] - item)
    assert most[0] <= depth + 2


def test_making_and_using_run_beside_each_other() -> None:
    used = threading.Event()

    def source() -> Iterator[int]:
        yield 0
        used.wait()  # for ever, if making waited until the reader comes back
        yield 1

    with closing(prefetch(source())) as items:
        assert next(items) == 0
        used.set()
        assert next(items) == 1


def test_what_is_in_the_queue_when_an_error_comes_is_still_given() -> None:
    assert list(islice(prefetch(failing_after(3), depth=8), 3)) == [0, 1, 2]


def mappers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("wsisr-map")]


@given(items=st.lists(st.integers()), depth=st.integers(1, 4), workers=st.integers(1, 3))
def test_mapped_keeps_the_order(items: list[int], depth: int, workers: int) -> None:
    assert list(parallel_map(str, items, depth, workers)) == [str(item) for item in items]
    assert mappers() == []


@given(before=st.integers(0, 6), depth=st.integers(1, 4), made=st.booleans())
def test_an_error_of_the_items_or_of_the_making_comes_after_what_was_made_before(
    before: int, depth: int, made: bool
) -> None:
    def make(item: int) -> int:
        if made and item == before:
            raise ReadError
        return item

    seen: list[int] = []
    with pytest.raises(ReadError):
        seen.extend(parallel_map(make, count() if made else failing_after(before), depth))
    assert seen == list(range(before))
    assert mappers() == []


@given(taken=st.integers(1, 8), depth=st.integers(1, 4), workers=st.integers(1, 3))
def test_mapped_makes_no_more_than_promised_and_leaves_no_thread(taken: int, depth: int, workers: int) -> None:
    made, most = [0], [0]

    def source() -> Iterator[int]:
        for number in count():
            made[0] += 1
            yield number

    with closing(parallel_map(int, source(), depth, workers)) as items:
        for item in islice(items, taken):
            most[0] = max(most[0], made[0] - item)
    assert most[0] <= depth + 1
    assert mappers() == []


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system knows no share of cores")
def test_openmp_keeps_to_the_cores_of_the_process() -> None:
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(mine)})
    try:
        with closing(parallel_map(lambda _: torch.get_num_threads(), [0])) as items:
            assert next(items) == 1
    finally:
        os.sched_setaffinity(0, mine)


def test_closing_what_is_mapped_closes_what_it_is_made_of() -> None:
    with closing(parallel_map(int, prefetch(count()))) as items:
        assert next(items) == 0
    assert workers() == []
