"""Pictures of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wsisr.training.pictures import INK, LINE, PANEL_SIZE_PX, PAPER, add_captions, draw_learning_curve, save_picture


def test_a_curve_has_a_panel_for_all_that_was_noted_and_a_line_that_rises_with_it() -> None:
    entries = [{"step": step, "loss": 0.1, "gain_db": float(step)} for step in (1, 5, 9)]
    drawn = draw_learning_curve(entries)
    assert drawn.shape == (2 * PANEL_SIZE_PX[1], PANEL_SIZE_PX[0], 3)
    rows, columns = (drawn[PANEL_SIZE_PX[1] :] == LINE).all(axis=-1).nonzero()
    assert np.corrcoef(rows, columns)[0, 1] < -0.9
    assert draw_learning_curve([entries[0] | {"accuracy": 1.0}]).shape == (3 * PANEL_SIZE_PX[1], PANEL_SIZE_PX[0], 3)


@pytest.mark.parametrize("name", ["a.png", "samples/b.png"])
def test_a_picture_comes_back_as_it_was(tmp_path: Path, name: str) -> None:
    drawn = draw_learning_curve([{"step": 1, "loss": 0.5}])
    save_picture(tmp_path / name, drawn)
    assert np.array_equal(np.asarray(Image.open(tmp_path / name)), drawn)


def test_captions_stand_above_the_columns_that_they_name_and_change_no_pixel_of_them() -> None:
    strip = np.full((8, 4 * 64, 3), 7, np.uint8)
    drawn = add_captions(strip, ("input", "bicubic", "model", "truth"), "step 400: +1.52 dB over bicubic")
    head, below = drawn[:-8], drawn[-8:]
    assert np.array_equal(below, strip)
    assert head.min(axis=(0, 1)).tolist() == list(INK)
    for column in np.split(head[head.shape[0] // 2 :], 4, axis=1):
        assert 0.02 < (column != PAPER).any(axis=2).mean() < 0.5
        assert (column[:, -4:] == PAPER).all()  # no name runs into the next
    bare = add_captions(strip, ("", "bicubic", "", "truth"), "")[:-8]
    assert (np.split(bare, 4, axis=1)[0] == PAPER).all()
