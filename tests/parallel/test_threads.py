"""A thread team processes each item once, raises errors, and is idle after the call."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsisr.parallel.threads import ThreadTeam


class WorkError(Exception):
    """An error of the function."""


@given(st.lists(st.integers()), st.integers(1, 4))
def test_each_item_is_processed_once(items: list[int], max_threads: int) -> None:
    team, seen = ThreadTeam(max_threads, "test"), list[int]()
    team.for_each(seen.append, items)
    team.for_each(seen.append, items)
    team.close()
    assert Counter(seen) == Counter(items * 2)


@given(st.integers(1, 20), st.integers(1, 4), st.data())
def test_an_error_is_raised_and_no_item_is_processed_after_it(
    count: int, max_threads: int, data: st.DataObject
) -> None:
    wrong, seen = data.draw(st.integers(0, count - 1)), list[int]()

    def process(item: int) -> None:
        seen.append(item)
        if item == wrong:
            raise WorkError

    team = ThreadTeam(max_threads, "test")
    with pytest.raises(WorkError):
        team.for_each(process, range(count))
    after = len(seen)
    team.for_each(int, [])
    team.close()
    assert len(seen) == after


def test_several_callers_share_a_crew() -> None:
    team, seen = ThreadTeam(3, "test"), list[int]()
    callers = [threading.Thread(target=team.for_each, args=(seen.append, range(50))) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    team.close()
    assert Counter(seen) == Counter(dict.fromkeys(range(50), 4))


def test_a_caller_needs_no_free_helper() -> None:
    team, seen = ThreadTeam(2, "test"), list[int]()
    busy, free = threading.Event(), threading.Event()

    def hold(_: int) -> None:
        busy.set()
        free.wait()

    holder = threading.Thread(target=team.for_each, args=(hold, [0, 1]))
    holder.start()
    busy.wait()
    team.for_each(seen.append, [1, 2, 3])
    free.set()
    holder.join()
    team.close()
    assert sorted(seen) == [1, 2, 3]
