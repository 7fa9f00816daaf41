"""Placement of levels on level 0: by their own recorded pixel size, else by the only relation that their size fits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsisr.imaging.geometry import Size
from wsisr.slides.level_geometry import LevelPlacement, LevelRecord, place_levels
from wsisr.slides.slide import compute_downsamples

TILE = Size(512, 512)
SQUARE = (1.0, 1.0)


def place(*records: LevelRecord) -> tuple[list[LevelPlacement], tuple[str, ...]]:
    placements, warnings = place_levels(records, compute_downsamples([record.size for record in records]))
    return list(placements), warnings


def pad(size: Size, tile: Size) -> Size:
    return Size(-(-size.width // tile.width) * tile.width, -(-size.height // tile.height) * tile.height)


def spaced(size: Size, spacing: float, tile: Size | None = TILE) -> LevelRecord:
    return LevelRecord(size, tile, (spacing, spacing))


@given(
    st.integers(1, 40_000),
    st.integers(1, 40_000),
    st.lists(st.sampled_from([2, 4, 16]), min_size=1, max_size=3),
    st.booleans(),
    st.booleans(),
)
def test_plain_pyramids_stay_as_the_reader_gives_them(
    width: int, height: int, factors: list[int], rounds_up: bool, is_spaced: bool
) -> None:
    sizes, spacing = [Size(width, height)], [0.25]
    for factor in factors:
        add = factor - 1 if rounds_up else 0
        sizes.append(Size(max(1, (sizes[-1].width + add) // factor), max(1, (sizes[-1].height + add) // factor)))
        spacing.append(spacing[-1] * factor)
    records = [
        LevelRecord(size, TILE, (mpp, mpp) if is_spaced else None) for size, mpp in zip(sizes, spacing, strict=True)
    ]
    downsamples = compute_downsamples(sizes)
    placements, warnings = place(*records)
    assert warnings == ()
    expected = [LevelPlacement(number, downsamples[number], size) for number, size in enumerate(sizes)]
    assert placements == sorted(expected, key=lambda placement: placement.downsample)


@given(st.integers(600, 60_000), st.integers(600, 60_000), st.sampled_from([256, 512, 1024]), st.booleans())
def test_a_padded_level_has_its_own_pixel_size_and_shows_level_0_only(
    width: int, height: int, side: int, base_is_padded: bool
) -> None:
    tile = Size(side, side)
    base = pad(Size(width, height), tile) if base_is_padded else Size(width, height)
    stored = [pad(Size(-(-width // 2**n), -(-height // 2**n)), tile) for n in range(1, 7)]
    records = [spaced(base, 0.25, tile), *(spaced(size, 0.25 * 2**n, tile) for n, size in enumerate(stored, start=1))]
    placements, warnings = place(*records)
    assert warnings == ()
    assert [placement.number for placement in placements] == list(range(7))
    for placement in placements[1:]:
        factor = 2**placement.number
        assert placement.downsample == pytest.approx(factor, rel=0.01)
        assert placement.stretch == SQUARE
        assert abs(placement.size.width - base.width / factor) <= 1 + 0.005 * base.width / factor
        assert abs(placement.size.height - base.height / factor) <= 1 + 0.005 * base.height / factor


def test_padding_that_is_alike_along_both_axes_is_seen_by_the_recorded_pixel_size() -> None:
    placements, _ = place(spaced(Size(3600, 3600), 0.5), spaced(Size(2048, 2048), 1.0))
    assert placements[1] == LevelPlacement(1, 2.0, Size(1800, 1800))


def test_padding_is_seen_without_a_recorded_pixel_size_where_nothing_else_fits() -> None:
    placements, warnings = place(LevelRecord(Size(3600, 2000), TILE), LevelRecord(Size(2048, 1024), TILE))
    assert (placements[1], warnings) == (LevelPlacement(1, 2.0, Size(1800, 1000)), ())


@pytest.mark.parametrize("tile", [Size(128, 128), None])
def test_a_third_that_may_be_a_padded_quarter_is_not_used(tile: Size | None) -> None:
    third = Size(384, 256)
    placements, warnings = place(LevelRecord(Size(1152, 768), tile), LevelRecord(third, tile))
    assert len(warnings) == (1 if tile else 0)
    assert placements[1:] == ([] if tile else [LevelPlacement(1, 3.0, third)])
    recorded = place(spaced(Size(1152, 768), 0.5, Size(128, 128)), spaced(third, 1.5, Size(128, 128)))
    assert recorded == ([LevelPlacement(0, 1.0, Size(1152, 768)), LevelPlacement(1, 3.0, third)], ())


@pytest.mark.parametrize("spacing", [(1.0, 0.5), None])
def test_a_level_shrunk_along_one_axis_is_made_square(spacing: tuple[float, float] | None) -> None:
    tile = Size(128, 128)
    base = LevelRecord(Size(512, 384), tile, None if spacing is None else (0.5, 0.5))
    placements, (warning,) = place(base, LevelRecord(Size(256, 384), tile, spacing))
    assert placements[1] == LevelPlacement(1, 2.0, Size(256, 192), (1.0, 2.0))
    assert "2 times across and 1 times down" in warning


@pytest.mark.parametrize("spacing", [None, (0.8, 0.8)])
def test_a_level_shrunk_by_a_fraction_is_used_unless_it_may_be_padded(spacing: tuple[float, float] | None) -> None:
    tile = None if spacing is None else Size(80, 80)
    base = LevelRecord(Size(512, 384), tile, None if spacing is None else (0.5, 0.5))
    placements, warnings = place(base, LevelRecord(Size(320, 240), tile, spacing))
    assert warnings == ()
    assert placements[1].size == Size(320, 240)
    assert placements[1].downsample == pytest.approx(1.6)


def test_of_levels_shrunk_by_turns_those_in_square_pixels_are_used() -> None:
    sizes = [Size(512, 384), Size(256, 384), Size(256, 192), Size(128, 192), Size(128, 96)]
    placements, warnings = place(*(LevelRecord(size, Size(64, 64)) for size in sizes))
    assert placements == [LevelPlacement(n, 2.0 ** (n / 2), sizes[n]) for n in (0, 2, 4)]
    assert ["level 1 " in warnings[0], "level 3 " in warnings[1]] == [True, True]
    assert all("is not used: another level shows the same" in warning for warning in warnings)


@pytest.mark.parametrize(
    "level",
    [
        LevelRecord(Size(256, 384), Size(256, 384)),  # narrow, or padded to its only tile
        LevelRecord(Size(128, 128), Size(128, 128)),  # padded at a shrink by 4 or by 8
        LevelRecord(Size(320, 240), Size(80, 80)),  # shrunk by 1.6, or padded at a shrink by 2
        LevelRecord(Size(300, 96)),  # a thumbnail of another cut
        LevelRecord(Size(16, 384)),  # 32 times narrower than high
        LevelRecord(Size(256, 192), origin=(100.0, 0.0), spacing=(1.0, 1.0)),  # elsewhere
    ],
)
def test_a_level_of_unknown_relation_is_not_used_and_the_others_keep_their_place(level: LevelRecord) -> None:
    base = LevelRecord(Size(512, 384), None, (0.5, 0.5), (0.0, 0.0))
    coarse = LevelRecord(Size(64, 48))
    placements, (warning,) = place(base, level, coarse)
    assert [placement.number for placement in placements] == [0, 2]
    assert f"level 1 ({level.size} px) is not used" in warning


@pytest.mark.parametrize("spacing", [(0.5, 0.5), (3.0, 3.0), (0.0, 0.0), (1.0, 2.0)])
def test_a_recorded_pixel_size_that_the_size_contradicts_does_not_count(spacing: tuple[float, float]) -> None:
    base = spaced(Size(2220, 2967), 0.5, Size(240, 240))
    placements, _ = place(base, LevelRecord(Size(1110, 1483), Size(240, 240), spacing))
    assert placements[1] == LevelPlacement(1, compute_downsamples([base.size, Size(1110, 1483)])[1], Size(1110, 1483))


@pytest.mark.parametrize("shift", [0.0, 0.25, 0.5])
def test_places_by_a_pixels_corner_or_centre_are_the_same(shift: float) -> None:
    base = LevelRecord(Size(512, 384), None, (0.5, 0.5), (0.0, 0.0))
    placements, warnings = place(base, LevelRecord(Size(256, 192), None, (1.0, 1.0), (shift, shift)))
    assert (len(placements), warnings) == (2, ())
