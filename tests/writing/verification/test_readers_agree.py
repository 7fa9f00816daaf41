"""A stored tile is told from one that shows something else, however coarse the codec."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsisr.imaging.pixels import Rgb, halve_image
from wsisr.writing import Codec
from wsisr.writing.verification.readers_agree import _TileCheck

TILE_PX = 64

codecs = st.one_of(
    st.builds(Codec, quality=st.integers(1, 100), subsampling=st.sampled_from(["420", "444"])),
    st.builds(Codec, st.just("webp"), st.integers(1, 100)),
    st.sampled_from([Codec("deflate"), Codec("lzw")]),
)


def make_picture(seed: int) -> Rgb:
    """Return smooth colour with an edge and noise, somewhere between glass and a dense texture."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[: 2 * TILE_PX, : 2 * TILE_PX] / random.uniform(2, 30)
    waves = np.stack([np.sin(x) + np.cos(y), np.sin(x + y), np.cos(x) * np.sin(y)], axis=-1)
    image = (
        random.uniform(0, 255) + random.uniform(0, 60) * waves + random.normal(0, random.uniform(0, 12), waves.shape)
    )
    image[: random.integers(2 * TILE_PX)] += random.uniform(-200, 200)
    return image.clip(0, 255).astype(np.uint8)


def store(image: Rgb, codec: Codec) -> Rgb:
    """Return an image as it is read after it was stored in tiles."""
    seen = image.copy()
    for top in range(0, image.shape[0], TILE_PX):
        for left in range(0, image.shape[1], TILE_PX):
            tile = np.s_[top : top + TILE_PX, left : left + TILE_PX]
            seen[tile] = codec.decode(codec.encode(image[tile], TILE_PX), TILE_PX)
    return seen


@settings(max_examples=60)
@given(st.integers(0, 10**6), codecs)
def test_the_mean_of_the_finer_pixels_is_accepted_whatever_the_codec_does_to_both(seed: int, codec: Codec) -> None:
    image = make_picture(seed)
    stored, finer = store(halve_image(image), codec), store(image, codec)
    error, is_acceptable = _TileCheck(TILE_PX, codec).measure_error(stored, finer)
    assert is_acceptable, error


@pytest.mark.parametrize("codec", [Codec(quality=95), Codec(), Codec(quality=80, subsampling="420"), Codec("deflate")])
@pytest.mark.parametrize("fault", ["shifted", "turned", "lighter"])
def test_a_tile_that_shows_something_else_is_not(codec: Codec, fault: str) -> None:
    image = make_picture(7)
    halved = halve_image(image)
    faulty = {
        "shifted": np.roll(halved, 2, axis=1),
        "turned": halved[::-1].copy(),
        "lighter": halved + np.minimum(8, 255 - halved),
    }[fault]
    assert not _TileCheck(TILE_PX, codec).measure_error(store(faulty, codec), store(image, codec))[1]
