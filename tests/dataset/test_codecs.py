"""Codecs of patches: lossless but for JPEG, and bytes that are no patch are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from wsisr.dataset.codecs import PATCH_CODECS, decode_patch
from wsisr.errors import DatasetError
from wsisr.imaging.pixels import Rgb

PATCHES = arrays.arrays(np.uint8, st.integers(1, 9).map(lambda side: (side, side, 3)))


@pytest.mark.parametrize("codec", PATCH_CODECS)
@given(patch=PATCHES)
def test_codecs_give_back_the_pixels(codec: str, patch: Rgb) -> None:
    decoded = decode_patch(memoryview(PATCH_CODECS[codec](patch)), codec, len(patch))
    assert decoded.shape == patch.shape
    assert codec == "jpeg" or np.array_equal(decoded, patch)


@pytest.mark.parametrize("codec", [*PATCH_CODECS, "pickle"])
@given(content=st.binary(max_size=60))
def test_bytes_that_are_no_patch_are_refused(codec: str, content: bytes) -> None:
    with pytest.raises(DatasetError):
        decode_patch(memoryview(content), codec, 64)
