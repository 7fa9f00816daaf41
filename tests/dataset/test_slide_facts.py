"""Facts of a slide: every rejected field is counted, a few are kept, and a row is read as it was written."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json

from wsisr.dataset.slide_facts import EXAMPLES_PER_REASON, SlideFacts

PATCH = np.full((64, 64, 3), 128, np.uint8)
REJECTED = st.lists(st.tuples(st.sampled_from(["glass", "blurred"]), st.booleans()), max_size=12)


def collect_facts(rejected: list[tuple[str, bool]]) -> SlideFacts:
    facts = SlideFacts("a.svs", "a", "train", "pyramid", (640, 480), 0.5)
    for reason, has_patch in rejected:
        facts.reject(reason, PATCH if has_patch else None)
    return facts


@given(rejected=REJECTED)
def test_every_rejection_is_counted_and_the_first_few_patches_are_kept(rejected: list[tuple[str, bool]]) -> None:
    facts = collect_facts(rejected)
    assert sum(rejections.count for rejections in facts.rejected.values()) == len(rejected)
    for reason, rejections in facts.rejected.items():
        assert len(rejections.examples) == min(rejected.count((reason, True)), EXAMPLES_PER_REASON)


@given(rejected=REJECTED)
def test_an_example_is_needed_until_it_would_not_be_kept(rejected: list[tuple[str, bool]]) -> None:
    facts = collect_facts(rejected)
    for reason in ("glass", "blurred"):
        is_needed = facts.needs_example(reason)
        before = min(rejected.count((reason, True)), EXAMPLES_PER_REASON)
        facts.reject(reason, PATCH)
        assert len(facts.rejected[reason].examples) == before + is_needed


@given(rejected=REJECTED)
def test_a_row_is_read_as_it_was_written(rejected: list[tuple[str, bool]]) -> None:
    facts = collect_facts(rejected)
    assert json.decode(json.encode(facts), type=SlideFacts) == facts
