"""Statistics over seeds, as tables and figures report them."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from bomrl_lite.require import described

RESAMPLES = 1000
"""How often values are drawn anew for an interval."""


def mean_interval(values: ArrayLike) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean, not-a-numbers left out."""
    given = _numbers(values)
    return _interval(_resampled(given[~np.isnan(given)]).mean(-1))


def paired_difference(
    frame: pd.DataFrame, method: str, baseline: str, value: str = "return"
) -> dict[str, float]:
    """Return mean, standard error and wins of a method over a baseline, paired by seed.

    Args:
        frame: one row per method and seed.
        method: whose lead is asked for.
        baseline: over whom.
        value: the column that is compared.

    Raises:
        ValueError: a method without rows.
    """
    missing = {method, baseline} - set(frame["method"])
    if missing:
        raise ValueError(
            f"frame has no rows of {sorted(missing)}; its methods are "
            f"{sorted(set(frame['method']))}"
        )
    wide = frame.pivot_table(index="seed", columns="method", values=value)
    lead = wide[method].to_numpy() - wide[baseline].to_numpy()
    lead = lead[np.isfinite(lead)]
    return {
        "mean": float(lead.mean()),
        "error": float(lead.std(ddof=1) / len(lead) ** 0.5),
        "wins": float((lead > 0).sum()),
        "seeds": float(len(lead)),
    }


def _numbers(values: ArrayLike) -> np.ndarray:
    """Return values of one axis, of which at least one is a number.

    Raises:
        ValueError: they are not.
    """
    given = np.asarray(values)
    if given.ndim != 1 or given.dtype.kind not in "iufb" or np.isnan(given).all():
        raise ValueError(f"values must be one row of numbers, at least 1, got {described(values)}")
    return given.astype(float)


def _resampled(values: np.ndarray) -> np.ndarray:
    """Draw as many values with replacement, a row for each time, always the same places."""
    size = len(values)
    return values[np.random.default_rng(0).integers(0, size, (RESAMPLES, size))]


def _interval(statistics: np.ndarray) -> tuple[float, float]:
    """Return the interval that holds 95 % of a statistic's resamples."""
    low, high = np.percentile(statistics, (2.5, 97.5))
    return float(low), float(high)
