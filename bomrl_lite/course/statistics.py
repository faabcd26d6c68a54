"""Statistics over seeds, as tables and figures report them."""

from collections.abc import Callable

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


def interquartile_mean(scores: ArrayLike) -> float:
    """Return the mean of the middle half of all scores, those of every run and task together.

    The lowest and the highest quarter, rounded down, are left out (Agarwal et al., 2108.13264).

    Args:
        scores: [runs] or [runs, tasks].

    Raises:
        ValueError: they are no numbers, or one is not finite.
    """
    ordered = np.sort(_scores("scores", scores), axis=None)
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def stratified_interval(
    scores: ArrayLike,
    statistic: Callable[[np.ndarray], float] = interquartile_mean,
    *,
    resamples: int = RESAMPLES,
) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a statistic: runs are drawn anew within each task.

    Args:
        scores: [runs] or [runs, tasks].
        statistic: of scores [runs, tasks].
        resamples: how many; where an end is near 0, a thousand leave its sign to luck.

    Raises:
        ValueError: they are no numbers, or one is not finite.
    """
    given, generator = _scores("scores", scores), np.random.default_rng(0)
    drawn = generator.integers(0, len(given), (resamples, *given.shape))
    scores_drawn = np.take_along_axis(given[None], drawn, axis=1)
    return _interval(np.array([statistic(each) for each in scores_drawn]))


def probability_of_improvement(scores: ArrayLike, baseline: ArrayLike) -> float:
    r"""Return P(X > Y) + P(X = Y) / 2 for a run X and a run Y of the baseline, a mean over tasks.

    The Mann-Whitney statistic over the number of pairs (Agarwal et al. 2021, 2108.13264).

    Args:
        scores: [runs] or [runs, tasks].
        baseline: [its runs] or [its runs, tasks].

    Raises:
        ValueError: they are no numbers, one is not finite, or the numbers of tasks differ.
    """
    ours, theirs = _scores("scores", scores), _scores("baseline", baseline)
    if ours.shape[1] != theirs.shape[1]:
        raise ValueError(
            "scores and baseline must have the same tasks, got "
            f"{ours.shape[1]} and {theirs.shape[1]} columns"
        )
    above = np.sign(ours[:, None] - theirs[None])  # [runs, its runs, tasks]
    return float((1 + above).mean() / 2)


def performance_profile(scores: ArrayLike, thresholds: ArrayLike) -> np.ndarray:
    """Return the share of all runs and tasks whose score is above each threshold, [thresholds].

    The run-score distribution of Agarwal et al. 2021 (2108.13264).

    Args:
        scores: [runs] or [runs, tasks].
        thresholds: scores to be reached.

    Raises:
        ValueError: scores or thresholds are no numbers, or one is not finite.
    """
    limits = _scores("thresholds", thresholds)[:, 0]
    return (_scores("scores", scores).reshape(-1, 1) > limits).mean(0)


def _scores(name: str, values: ArrayLike) -> np.ndarray:
    """Return scores as [runs, tasks], all finite.

    Raises:
        ValueError: they are not.
    """
    given = np.asarray(values)
    given = given[:, None] if given.ndim == 1 else given
    if given.ndim != 2 or not given.size or given.dtype.kind not in "iufb":
        raise ValueError(
            f"{name} must be numbers, [runs] or [runs, tasks], at least 1, got {described(values)}"
        )
    if not np.isfinite(given).all():
        raise ValueError(
            f"{name} must be finite, got {int((~np.isfinite(given)).sum())} that are not: a run "
            "that failed needs a score, such as that of the untrained policy"
        )
    return given.astype(float)


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
