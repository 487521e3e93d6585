"""How far a mean over subjects can be trusted."""

from collections.abc import Sequence

import numpy as np


def bootstrap_mean_interval(
    values: Sequence[float] | np.ndarray, seed: int, resamples: int = 10_000, level: float = 0.95
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of the mean (Efron and Tibshirani 1993, chapter 13).

    `values` (N,) holds one number a subject: subjects are drawn with replacement, since slices of
    one subject are no independent evidence. NaN (undefined for that subject) is left out. Returns
    (low, high) in the values' own unit, or None where fewer than two subjects are left. The same
    seed gives the same interval.

    Below some ten subjects such an interval is narrower than it should be.
    """
    values = np.asarray(values, np.float64)
    values = values[~np.isnan(values)]
    if len(values) < 2:
        return None
    draws = np.random.default_rng(seed).integers(len(values), size=(resamples, len(values)))
    tail = (1 - level) / 2
    low, high = np.quantile(values[draws].mean(axis=1), [tail, 1 - tail])
    return float(low), float(high)


def summarize(values: Sequence[float | None], seed: int) -> dict:
    """Mean over subjects, its interval and counts, of one number a subject; None is undefined.

    Returns `mean` (None where all are undefined), `interval_95` ([low, high], None below two
    subjects), `subjects` (how many the mean is over) and `undefined` (how many were left out).
    JSON-safe.
    """
    defined = [value for value in values if value is not None]
    interval = bootstrap_mean_interval(defined, seed)
    return {
        "mean": float(np.mean(defined)) if defined else None,
        "interval_95": list(interval) if interval else None,
        "subjects": len(defined),
        "undefined": len(values) - len(defined),
    }
