"""Splits by place: a part of each slide is for validation, where there is only one case.

Both splits then show the same patient, stain and scan, so scores on such a validation are too high; the report says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from wsisr.dataset.records import PatchRecord


def split_by_place(records: Iterable[PatchRecord], share: float) -> Iterator[PatchRecord]:
    """Yield the pairs of each slide, split by a straight line: about `share` of them lie beyond it, for validation.

    The line runs across the longer side of what the patches cover. Pairs that it cuts, of whichever level, are left
    out, so that no pixel of the slide is in both splits.
    """
    by_slide: dict[str, list[PatchRecord]] = {}
    for record in records:
        by_slide.setdefault(record.slide, []).append(record)
    for of_slide in by_slide.values():
        yield from _split_slide(of_slide, share)


def _split_slide(records: Sequence[PatchRecord], share: float) -> Iterator[PatchRecord]:
    boxes = [record.box for record in records]
    width, height = (max(box[end] for box in boxes) - min(box[end - 2] for box in boxes) for end in (2, 3))
    axis = 0 if width >= height else 1
    line = _choose_line([(box[axis], box[axis + 2]) for box in boxes], share)
    for record in records:
        if record.box[axis + 2] <= line:
            yield replace(record, split="train")
        elif record.box[axis] >= line:
            yield replace(record, split="val")


def _choose_line(extents: Sequence[tuple[int, int]], share: float) -> int:
    """Return where to cut: of the places where a patch begins, that which leaves a share nearest to the wanted one."""
    wanted = share * len(extents)

    def rate(line: int) -> tuple[bool, float, int]:
        beyond = sum(start >= line for start, _ in extents)
        before = sum(end <= line for _, end in extents)
        return not (beyond and before), abs(beyond - wanted), line

    return min({start for start, _ in extents}, key=rate)
