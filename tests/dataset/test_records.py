"""Records of pairs: the class of a pixel size."""

from __future__ import annotations

import json

import pytest

from tests.support.pairs import make_record
from wsisr.dataset.records import MAGNIFICATIONS, nearest_magnification, parse_manifest


def test_a_magnification_is_that_of_its_pixel_size() -> None:
    assert [nearest_magnification(10 / each) for each in MAGNIFICATIONS] == list(MAGNIFICATIONS)
    assert [nearest_magnification(mpp) for mpp in (0.2525, 0.34, 0.36, 2.7, 2.9, 0.17)] == [40, 40, 20, 5, None, None]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("level", 10**400), ("level", -1), ("box", [0, 0, 10**400, 64]), ("box", "0 0 64 64"), ("mpp_hr", -1.0)),
        *(("mpp_lr", 0), ("mpp_lr", 1e300), ("magnification", 10**400), ("scale", "2"), ("side", 0), ("images", {})),
        *(("images", {"hr": [0, 10**400], "lr": [0, 1]}), ("shard", ".a.bin"), ("shard", "a\\b"), ("parameters", [[]])),
        *(("slide", None), ("contrast", -1.0), ("focus", 1e300), ("tissue", -0.5), ("shift", [0, 1e300])),
    ],
)
def test_a_row_with_a_value_that_cannot_be_is_named_with_its_key(key: str, value: object) -> None:
    row = json.loads(make_record("a").to_json()) | {key: value}
    with pytest.raises(ValueError, match=rf"\$\[0\]\.{key}"):
        parse_manifest(json.dumps(row).encode())
