import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsisr.errors import OutputError
from wsisr.imaging.pixels import Rgb
from wsisr.writing.encoding.codec import COMPRESSION_METHODS, SUBSAMPLINGS, Codec

LOSSLESS = [method for method in COMPRESSION_METHODS if method not in ("jpeg", "webp")]
LIMITED = [method for method, coding in COMPRESSION_METHODS.items() if coding.unsupported_readers]

codecs = st.builds(
    Codec,
    st.sampled_from(list(COMPRESSION_METHODS)),
    quality=st.integers(1, 100),
    subsampling=st.sampled_from(list(SUBSAMPLINGS)),
)
sides = st.integers(1, 32)


def noise(height: int, width: int) -> Rgb:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3)).astype(np.uint8)


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(LOSSLESS), sides, sides)
def test_a_lossless_codec_gives_back_what_it_was_given(method: str, height: int, width: int) -> None:
    tile, codec = noise(height, width), Codec(method)
    np.testing.assert_array_equal(codec.decode(codec.encode(tile, 32), 32)[:height, :width], tile)


@settings(max_examples=50, deadline=None)
@given(codecs, sides, sides)
def test_white_has_one_code_and_stays_white_at_every_quality(codec: Codec, height: int, width: int) -> None:
    assert codec.encode(np.full((height, width, 3), 255, np.uint8), 32) == codec.white_tile(32)
    assert (codec.decode(codec.white_tile(32), 32) == 255).all()


@settings(max_examples=50, deadline=None)
@given(codecs, sides, sides)
def test_a_part_is_coded_as_a_whole_tile_with_its_edges_repeated(codec: Codec, height: int, width: int) -> None:
    tile = noise(height, width)
    whole = np.pad(tile, ((0, 32 - height), (0, 32 - width), (0, 0)), mode="edge")
    assert codec.encode(tile, 32) == codec.encode(whole, 32)
    assert codec.decode(codec.encode(tile, 32), 32).shape == (32, 32, 3)


@pytest.mark.parametrize("method", LIMITED)
def test_a_codec_that_some_reader_cannot_open_is_refused_with_its_name_unless_accepted(method: str) -> None:
    Codec(method).check_viewers(accept_limited=True)
    with pytest.raises(OutputError, match=COMPRESSION_METHODS[method].unsupported_readers):
        Codec(method).check_viewers(accept_limited=False)


@pytest.mark.parametrize(
    ("method", "quality", "subsampling"), [("gif", 90, "420"), ("jpeg", 0, "420"), ("jpeg", 9, "")]
)
def test_what_no_codec_is_has_one_line(method: str, quality: int, subsampling: str) -> None:
    with pytest.raises(OutputError, match="choose"):
        Codec(method, quality, subsampling)
