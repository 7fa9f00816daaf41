"""The selection of patches: in focus, balanced over textures, few of glass."""

from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.support.samples import make_noise
from wsisr.dataset.patch_quality import measure_focus
from wsisr.dataset.patch_selection import (
    MAX_FLAT_SHARE,
    PatchCandidate,
    RejectReason,
    balance_textures,
    measure_patch,
    select_fields_to_read,
    select_patches,
)
from wsisr.imaging.geometry import Box, Size
from wsisr.imaging.pixels import shrink_image

BOX = Box(0, 0, 64, 64)
CANDIDATES = st.lists(
    st.builds(PatchCandidate, st.just(BOX), st.floats(0, 1), st.floats(0, 80), st.floats(0, 1), st.floats(0, 200)),
    max_size=200,
)
LIMITS = st.integers(1, 100)


@given(candidates=CANDIDATES, limit=LIMITS)
def test_every_field_is_kept_or_rejected_for_a_reason_and_in_order(
    candidates: list[PatchCandidate], limit: int
) -> None:
    selection = select_patches(candidates, limit)
    assert len(selection.selected) + len(selection.rejected) == len(candidates)
    indices = [next(i for i, each in enumerate(candidates) if each is selected) for selected in selection.selected]
    assert indices == sorted(indices)


@given(candidates=CANDIDATES, limit=LIMITS)
def test_flat_patches_are_few_and_never_alone(candidates: list[PatchCandidate], limit: int) -> None:
    flat = [each for each in select_patches(candidates, limit).selected if each.is_flat]
    textured = [each for each in select_patches(candidates, limit).selected if not each.is_flat]
    assert len(textured) <= limit
    assert len(flat) <= (max(2, round(MAX_FLAT_SHARE * len(textured))) if textured else 0)


@given(candidates=CANDIDATES, limit=LIMITS)
def test_as_many_patches_are_taken_as_there_may_be(candidates: list[PatchCandidate], limit: int) -> None:
    assert len(balance_textures(candidates, limit)) == min(limit, len(candidates))


def test_each_texture_gives_its_share() -> None:
    """A level of much stroma and a few nuclei-rich fields: of these, more is kept than their share of the level."""
    dull = [PatchCandidate(BOX, 1.0, 20 + i / 1000, 0.3 + i / 10000, 30 + i / 1000) for i in range(300)]
    rare = [PatchCandidate(BOX, 1.0, 40 + i / 1000, 0.5 + i / 10000, 60 + i / 1000) for i in range(30)]
    selected = balance_textures(dull + rare, 100)
    assert sum(each.contrast >= 40 for each in selected) > 100 * 30 / 330 * 1.5


def test_a_blurred_patch_among_sharp_ones_is_rejected() -> None:
    sharp = [shrink_image(make_noise(Size(256, 256), seed), 2, "area") for seed in range(9)]
    blurred = np.asarray(cv2.GaussianBlur(sharp[0], (0, 0), 2), np.uint8)
    smooth = cv2.resize(make_noise(Size(16, 16)), (128, 128), interpolation=cv2.INTER_CUBIC)
    candidates = [measure_patch(patch, BOX, 1.0) for patch in (*sharp, np.asarray(smooth, np.uint8))]
    assert [reason for _, reason in select_patches(candidates, 100).rejected] == [RejectReason.BLURRED]
    assert measure_focus(blurred) < 0.6 * measure_focus(sharp[0])


@given(shares=st.lists(st.floats(0, 1), max_size=600), limit=LIMITS)
def test_no_more_fields_are_read_than_a_few_for_each_that_is_wanted(shares: list[float], limit: int) -> None:
    fields = [(Box(i, 0, i + 1, 1), share) for i, share in enumerate(shares)]
    to_read = select_fields_to_read(fields, limit)
    assert len(to_read) <= 4 * limit + max(2, limit)
    assert [box.left for box, _ in to_read] == sorted(box.left for box, _ in to_read)
