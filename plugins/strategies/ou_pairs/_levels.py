"""Thresholds that follow the estimates."""

from __future__ import annotations

import math

import numpy as np

from bt_framework.jit import kernel
from bt_framework.stats.thresholds import THRESHOLDS, bertram_thresholds, leung_li_thresholds

LEVELS = np.dtype([("thresholds", THRESHOLDS), ("entry_z", "f8"), ("exit_z", "f8"), ("stop_z", "f8")])
"""Thresholds as last computed, and the levels in use: distances from the mean in stationary deviations."""

SECONDS_PER_YEAR = 365.25 * 86_400.0
_BPS = 1e-4
_BERTRAM, _LEUNG_LI = 1, 2  # ordinal places in ThresholdMethod


@kernel
def set_levels(s, p):
    """Set entry and exit to the thresholds of the last fit; returns whether there are any.

    Leung and Li's are those of the distance from the mean: the level of a spread of log prices means nothing, and so
    the levels are the same on both sides. Entering and leaving cost half of the round trip each.
    """
    if p.thresholds != _BERTRAM and p.thresholds != _LEUNG_LI:
        return True
    cost, rate = p.cost_bps * _BPS, p.discount_rate / SECONDS_PER_YEAR
    if p.thresholds == _BERTRAM:
        status = bertram_thresholds(s.thresholds, s.fit.theta, s.fit.sigma, cost)
    else:
        process, costs = (s.fit.theta, 0.0, s.fit.sigma), (0.5 * cost, 0.5 * cost)
        status = leung_li_thresholds(s.thresholds, process, costs, (rate, rate))
    entry_z, exit_z = -s.thresholds.long_entry_z, -s.thresholds.long_exit_z
    if status != 0 or not exit_z < entry_z or not 0.0 < entry_z < s.stop_z or math.isinf(exit_z):
        return False
    s.entry_z, s.exit_z = entry_z, exit_z
    return True
