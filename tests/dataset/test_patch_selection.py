"""Which patches are kept."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.samples import make_noise
from wsisr.dataset.patch_quality import compute_fingerprint, measure_focus
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
LOOKS = st.lists(
    st.builds(PatchCandidate, st.just(BOX), st.floats(0, 1), st.floats(0, 80), st.floats(0, 1), st.floats(0, 200)),
    max_size=200,
)
MOST = st.integers(1, 100)


@given(looks=LOOKS, most=MOST)
def test_every_field_is_kept_or_rejected_for_a_reason_and_in_order(looks: list[PatchCandidate], most: int) -> None:
    choice = select_patches(looks, most)
    assert len(choice.selected) + len(choice.rejected) == len(looks)
    places = [next(i for i, each in enumerate(looks) if each is kept) for kept in choice.selected]
    assert places == sorted(places)


@given(looks=LOOKS, most=MOST)
def test_flat_patches_are_few_and_never_alone(looks: list[PatchCandidate], most: int) -> None:
    flat = [each for each in select_patches(looks, most).selected if each.is_flat]
    full = [each for each in select_patches(looks, most).selected if not each.is_flat]
    assert len(full) <= most
    assert len(flat) <= (max(2, round(MAX_FLAT_SHARE * len(full))) if full else 0)


@given(looks=LOOKS, most=MOST)
def test_as_many_patches_are_taken_as_there_may_be(looks: list[PatchCandidate], most: int) -> None:
    assert len(balance_textures(looks, most)) == min(most, len(looks))


def test_each_texture_gives_its_share() -> None:
    """A level of much stroma and a few nuclei-rich fields: of these, more is kept than their share of the level."""
    dull = [PatchCandidate(BOX, 1.0, 20 + i / 1000, 0.3 + i / 10000, 30 + i / 1000) for i in range(300)]
    rare = [PatchCandidate(BOX, 1.0, 40 + i / 1000, 0.5 + i / 10000, 60 + i / 1000) for i in range(30)]
    kept = balance_textures(dull + rare, 100)
    assert sum(each.contrast >= 40 for each in kept) > 100 * 30 / 330 * 1.5


def test_a_blurred_patch_among_sharp_ones_is_rejected() -> None:
    sharp = [shrink_image(make_noise(Size(256, 256), seed), 2, "area") for seed in range(9)]
    blurred = np.asarray(cv2.GaussianBlur(sharp[0], (0, 0), 2), np.uint8)
    smooth = cv2.resize(make_noise(Size(16, 16)), (128, 128), interpolation=cv2.INTER_CUBIC)
    looks = [measure_patch(patch, BOX, 1.0) for patch in (*sharp, np.asarray(smooth, np.uint8))]
    assert [reason for _, reason in select_patches(looks, 100).rejected] == [RejectReason.BLURRED]
    assert measure_focus(blurred) < 0.6 * measure_focus(sharp[0])


@pytest.mark.parametrize("gain", [0.3, 0.6, 1.0])
def test_focus_does_not_depend_on_stain(gain: float) -> None:
    patch = shrink_image(make_noise(Size(256, 256)), 2, "area")
    paler = np.asarray(np.round(255 - gain * (255 - patch.astype(float))), np.uint8)
    assert measure_focus(paler) == pytest.approx(measure_focus(patch), rel=0.1)


@given(shares=st.lists(st.floats(0, 1), max_size=600), most=MOST)
def test_no_more_fields_are_read_than_a_few_for_each_that_is_wanted(shares: list[float], most: int) -> None:
    fields = [(Box(i, 0, i + 1, 1), share) for i, share in enumerate(shares)]
    seen = select_fields_to_read(fields, most)
    assert len(seen) <= 4 * most + max(2, most)
    assert [box.left for box, _ in seen] == sorted(box.left for box, _ in seen)


def test_patches_that_look_alike_have_fingerprints_alike() -> None:
    patch = shrink_image(make_noise(Size(192, 192)), 2, "area")
    patch = np.asarray(cv2.GaussianBlur(patch, (0, 0), 8))
    brighter = np.asarray(np.minimum(patch.astype(int) + 9, 255), np.uint8)
    bits = [int(compute_fingerprint(each), 16) for each in (patch, brighter, patch[::-1])]
    assert (bits[0] ^ bits[1]).bit_count() <= 4
    assert (bits[0] ^ bits[2]).bit_count() > 16
