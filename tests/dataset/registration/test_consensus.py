"""Many fields, one map: it is believed only where they tell all of it."""

from __future__ import annotations

import numpy as np
import pytest

from wsisr.dataset.registration.affine import Affine
from wsisr.dataset.registration.consensus import MIN_INLIERS, fit_consensus_map

TRUTH = Affine.similarity(2.0, 10.0)
SOMEWHERE = np.random.default_rng(0).uniform(0, 1000, (12, 2))


def test_fields_all_over_the_tissue_tell_the_map() -> None:
    target = TRUTH(SOMEWHERE)
    target[:3] += 300  # that found something else
    found = fit_consensus_map(SOMEWHERE, target, TRUTH.rescale(1, 1.001), candidates=12)
    assert found.is_reliable
    assert found.inliers == 9
    np.testing.assert_allclose(found.map.matrix, TRUTH.matrix, atol=1e-6)


@pytest.mark.parametrize(
    "source",
    [SOMEWHERE * (1, 0), SOMEWHERE[:1].repeat(12, axis=0), SOMEWHERE[: MIN_INLIERS - 1], SOMEWHERE[:0]],
    ids=["a line", "a point", "too few", "none"],
)
def test_fields_that_leave_it_open_are_not_believed(source: np.typing.NDArray[np.float64]) -> None:
    assert not fit_consensus_map(source, TRUTH(source), TRUTH, candidates=len(source)).is_reliable
