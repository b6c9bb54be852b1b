"""The variance of each instrument's returns, for sizing rules.

The kernels work on a state with the fields of `bt_framework.engine.rules.variance_state`.
Mids are sampled every ``p.sample_ns``. With the log-return r from one to the next and the time t between them, the
variance is the weighted mean of r^2 / t, where a return's weight halves every ``p.half_life_ns``. Both are keys of the
rule's configuration.
"""

from __future__ import annotations

import math

from bt_framework.jit import kernel

_LN2 = math.log(2.0)


@kernel
def sample_mid(px, now_ts, asset, p, s):
    """Add a mid to an instrument's variance, if the time has come; a missing one (NaN) is left out."""
    passed_ns = now_ts - s.last_ts[asset]
    if not px > 0 or passed_ns < p.sample_ns:
        return
    if s.last_px[asset] > 0:
        keep = math.exp(-_LN2 * passed_ns / p.half_life_ns)
        log_return = math.log(px / s.last_px[asset])
        s.squares[asset] = keep * s.squares[asset] + (1.0 - keep) * log_return * log_return / passed_ns
        s.weight[asset] = keep * s.weight[asset] + (1.0 - keep)
        s.samples[asset] += 1
    s.last_px[asset], s.last_ts[asset] = px, now_ts


@kernel
def variance_per_ns(asset, s):
    """Variance of the log-return over one nanosecond; there must be a return."""
    return s.squares[asset] / s.weight[asset]
