"""What `bt runs factors` prints of a run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from bt_framework.cli._tables import print_table, utc

if TYPE_CHECKING:
    from bt_framework.research.attribution import RunFactors
    from bt_framework.stats.factors import Coefficient

_COLUMNS = ("", "estimate", "se", "t", "p", "from", "to", "rolling")


def as_dict(found: RunFactors) -> dict[str, Any]:
    """Everything but the single returns, for JSON; what is infinite is null there."""
    fit, level = found.fit, found.options.level
    rolling = dict(zip(found.benchmarks, map(_range, found.rolling.T), strict=True))
    return {
        "benchmarks": list(found.benchmarks),
        "returns": fit.n,
        "start_ts": int(found.times_ns[0]),
        "end_ts": int(found.times_ns[-1]),
        "level": level,
        "lags": fit.lags,
        "alpha": _estimate(fit.alpha, level),
        "alpha_annual": fit.alpha_annual,
        "betas": {beta.name: _estimate(beta, level) for beta in fit.betas},
        "r_squared": fit.r_squared,
        "adjusted_r_squared": fit.adjusted_r_squared,
        "residual_sd": fit.residual_sd,
        "wald": _number(fit.wald),
        "wald_p": fit.wald_p,
        "rolling": {"window": found.window, "betas": rolling},
        "verdict": found.verdict.value,
        "sentence": found.sentence,
    }


def print_factors(found: RunFactors) -> None:
    """Print a table of the coefficients, what is not in it, and the sentence."""
    fit, level = found.fit, found.options.level
    ranges = ["-", *(" to ".join(_digits(x) for x in _range(column)) for column in found.rolling.T)]
    rows = [
        [c.name, *map(_digits, (c.value, c.se, c.t, c.p, *c.interval(level))), span]
        for c, span in zip((fit.alpha, *fit.betas), ranges, strict=True)
    ]
    print_table(_COLUMNS, rows, right=_COLUMNS[1:])
    click.echo()
    facts = {
        "returns": f"{fit.n:,} from {utc(int(found.times_ns[0]))} to {utc(int(found.times_ns[-1]))} UTC",
        "alpha a year": f"{fit.alpha_annual:.4%} of the capital",
        "R squared": f"{fit.r_squared:.4f} (adjusted {fit.adjusted_r_squared:.4f})",
        "residual sd": f"{fit.residual_sd:.4e} a return",
        "all betas 0": f"p {_digits(fit.wald_p)}",
        "HAC lags": str(fit.lags),
        "rolling": f"betas of {found.window:,} returns",
    }
    for label, value in facts.items():
        click.echo(f"{label:<14}  {value}")
    click.echo()
    click.echo(found.sentence)


def _estimate(coefficient: Coefficient, level: float) -> dict[str, Any]:
    low, high = coefficient.interval(level)
    numbers = {
        "se": coefficient.se,
        "t": _number(coefficient.t),
        "p": coefficient.p,
        "low": low,
        "high": high,
    }
    return {"value": coefficient.value, **numbers}


def _range(betas: np.ndarray) -> tuple[float | None, float | None]:
    """Least and largest rolling beta; none if no window has one."""
    there = betas[np.isfinite(betas)]
    return (float(there.min()), float(there.max())) if len(there) else (None, None)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _digits(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
