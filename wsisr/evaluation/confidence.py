"""Confidence intervals over cases.

Slides of one case are no independent witnesses, so rows are averaged over each case first. With the handful of cases
that there usually are, Student's t is wide enough, as a bootstrap of so few would not be; it takes the means of cases
for normally distributed.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev

STUDENT_T = (
    *(12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281),
    *(2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860),
    *(2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423),
)
"""The 97.5th percentile of Student's t with 1 to 30 degrees of freedom."""


def student_t(freedom: int) -> float:
    """Return the 97.5th percentile of Student's t; beyond 30 degrees by Cornish and Fisher, to four digits."""
    if freedom <= len(STUDENT_T):
        return STUDENT_T[freedom - 1]
    return 1.95996 + 2.37227 / freedom + 2.82250 / freedom**2


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean of independent values; None for fewer than two."""
    if len(values) < 2:
        return None
    half = student_t(len(values) - 1) * stdev(values) / sqrt(len(values))
    return fmean(values) - half, fmean(values) + half
