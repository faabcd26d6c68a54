"""Statistics over seeds, as tables and figures report them."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike


def interquartile_mean(values: ArrayLike) -> float:
    """Return the mean of the middle half; of fewer than four values the mean of all.

    Values at the quartiles' edges count in part, so that half of the weight is always kept.
    """
    ordered = np.sort(np.asarray(values, dtype=float))
    size = len(ordered)
    if size < 4:
        return float(ordered.mean())
    edges = np.arange(size + 1)
    kept = np.clip(np.minimum(edges[1:], 0.75 * size) - np.maximum(edges[:-1], 0.25 * size), 0, 1)
    return float((kept * ordered).sum() / kept.sum())


def paired_difference(
    frame: pd.DataFrame, method: str, baseline: str, value: str = "return"
) -> dict[str, float]:
    """Return mean, standard error and wins of a method over a baseline, paired by seed.

    Args:
        frame: one row per method and seed.
        method: whose lead is asked for.
        baseline: over whom.
        value: the column that is compared.
    """
    wide = frame.pivot_table(index="seed", columns="method", values=value)
    lead = wide[method].to_numpy() - wide[baseline].to_numpy()
    lead = lead[np.isfinite(lead)]
    return {
        "mean": float(lead.mean()),
        "error": float(lead.std(ddof=1) / len(lead) ** 0.5),
        "wins": float((lead > 0).sum()),
        "seeds": float(len(lead)),
    }
