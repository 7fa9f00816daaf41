"""Work shared among threads: each item once, errors heard, and no thread at it after the call."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsisr.parallel.threads import ThreadTeam


class WorkError(Exception):
    """What work may raise."""


@given(st.lists(st.integers()), st.integers(1, 4))
def test_each_item_is_worked_on_once(items: list[int], most: int) -> None:
    crew, seen = ThreadTeam(most, "test"), list[int]()
    crew.for_each(seen.append, items)
    crew.for_each(seen.append, items)
    crew.close()
    assert Counter(seen) == Counter(items * 2)


@given(st.integers(1, 20), st.integers(1, 4), st.data())
def test_an_error_is_raised_and_nothing_goes_on_after_it(count: int, most: int, data: st.DataObject) -> None:
    wrong, seen = data.draw(st.integers(0, count - 1)), list[int]()

    def work(item: int) -> None:
        seen.append(item)
        if item == wrong:
            raise WorkError

    crew = ThreadTeam(most, "test")
    with pytest.raises(WorkError):
        crew.for_each(work, range(count))
    after = len(seen)
    crew.for_each(int, [])
    crew.close()
    assert len(seen) == after


def test_several_callers_share_a_crew() -> None:
    crew, seen = ThreadTeam(3, "test"), list[int]()
    callers = [threading.Thread(target=crew.for_each, args=(seen.append, range(50))) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    crew.close()
    assert Counter(seen) == Counter(dict.fromkeys(range(50), 4))


def test_a_caller_needs_nobody_else() -> None:
    crew, seen = ThreadTeam(2, "test"), list[int]()
    busy, free = threading.Event(), threading.Event()

    def hold(_: int) -> None:
        busy.set()
        free.wait()

    holder = threading.Thread(target=crew.for_each, args=(hold, [0, 1]))
    holder.start()
    busy.wait()
    crew.for_each(seen.append, [1, 2, 3])
    free.set()
    holder.join()
    crew.close()
    assert sorted(seen) == [1, 2, 3]
