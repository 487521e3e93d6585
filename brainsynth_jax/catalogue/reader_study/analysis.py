"""What a study's answers say: do its readers tell real from synthetic, and how sure is that?

The only home of statsmodels.
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import binomtest, norm

from brainsynth_jax.catalogue.reader_study.answers import Answer
from brainsynth_jax.catalogue.reader_study.study import (
    MOST_CONFIDENT,
    SYNTHETIC,
    Study,
)
from brainsynth_jax.errors import UserError

# Of analysis.json; to be raised where a number's name or meaning changes.
SCHEMA = 1

# Of fewer answers no interval is given: whatever it said, it would be read as more than it is.
LEAST_ANSWERS = 8

GUESSING = 0.5

_LEVEL = 0.95
_RESAMPLES = 10_000

# Names of intervals, for the page.
BY_READER = "Wilson for shares, DeLong for areas"
POOLED = "cluster bootstrap over slices"


class _Table(NamedTuple):
    """Answers as arrays of one length.

    Attributes:
        number: int, of the slice.
        synthetic: bool, whether it is.
        said: bool, whether it was called so.
        score: int, from surely real (-5 to -1) to surely synthetic (1 to 5).
        seconds: float.
    """

    number: np.ndarray
    synthetic: np.ndarray
    said: np.ndarray
    score: np.ndarray
    seconds: np.ndarray

    @property
    def correct(self) -> np.ndarray:
        """Bool, whether it was called what it is."""
        return self.synthetic == self.said


def analyse_study(
    study: Study, key: Mapping[int, str], answers: Sequence[Answer], seed: int = 0
) -> dict[str, Any]:
    """All numbers of a study, for each reader and for all of them together.

    A reader who stopped early is analysed by what there is. Answers of several readers to one
    slice are not independent: one slice is easy for all, another hard. So their intervals together
    come from drawing slices with all of their answers, real ones and synthetic ones each with
    replacement (the cluster bootstrap; Davison and Hinkley 1997, section 3.8). Such an interval
    tells what other slices would change, not what other readers would.

    Args:
        study: that was answered.
        key: of `study.load_key`.
        answers: of `study.read_answers`; at most one of a reader to a slice.
        seed: of the bootstrap.

    Returns:
        A JSON-safe dict: `readers`, by name, and `pooled`, each with what `_measure` returns, and
        `intervals`, how they were made; `agreement`: `pairs` of readers with Cohen's kappa,
        and `fleiss`. None is undefined, or an interval of fewer than 8 answers.

    Raises:
        UserError: there are no answers, or statsmodels is not installed.
    """
    if not answers:
        raise UserError(f"Nobody answered anything in {study.folder} yet.")
    _require_statsmodels()
    names = sorted({answer.reader for answer in answers}, key=lambda name: (name.casefold(), name))
    tables = {
        name: _tabulate(key, [answer for answer in answers if answer.reader == name])
        for name in names
    }
    readers = {
        name: {"complete": len(table.number) == study.count, **_measure(table)}
        for name, table in tables.items()
    }
    return {
        "schema": SCHEMA,
        "title": study.title,
        "study_seed": study.seed,
        "digest": study.digest,
        "slices": study.count,
        "real_subjects": study.real_subjects,
        "bootstrap_seed": seed,
        "resamples": _RESAMPLES,
        "readers": readers,
        "pooled": _pool(list(tables.values()), seed),
        "agreement": {
            "pairs": [
                {"readers": list(pair), **_compare(*(tables[name] for name in pair))}
                for pair in combinations(names, 2)
            ],
            "fleiss": _compare_all(list(tables.values())),
        },
    }


def wilson_interval(successes: float, count: int) -> list[float] | None:
    """The 95 % interval of a share (Wilson 1927); None of fewer than 8 answers.

    Args:
        successes: 0 to `count`.
        count: of answers.
    """
    if count < LEAST_ANSWERS:
        return None
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(successes, count, alpha=1 - _LEVEL, method="wilson")
    return [float(low), float(high)]


def roc_points(score: np.ndarray, positive: np.ndarray) -> list[list[float]] | None:
    """The empirical ROC curve: (false, true) positive rates from (0, 0) to (1, 1).

    Args:
        score: (N,), the higher the surer of a positive.
        positive: (N,) bool; where only one kind is there, None is returned.
    """
    if positive.all() or not positive.any():
        return None
    thresholds = np.unique(score)[::-1]
    rates = [
        [float(np.mean(score[kind] >= threshold)) for kind in (~positive, positive)]
        for threshold in thresholds
    ]
    return [[0.0, 0.0], *rates]


def roc_area(score: np.ndarray, positive: np.ndarray) -> tuple[float, float] | None:
    """The area under the ROC curve and its standard error (DeLong et al. 1988, equations 2 to 6).

    Args:
        score: (N,), the higher the surer of a positive.
        positive: (N,) bool; with fewer than two of either kind, None is returned.
    """
    high, low = score[positive], score[~positive]
    if min(len(high), len(low)) < 2:
        return None
    wins = (high[:, None] > low) + 0.5 * (high[:, None] == low)
    variance = wins.mean(axis=1).var(ddof=1) / len(high) + wins.mean(axis=0).var(ddof=1) / len(low)
    return float(wins.mean()), float(np.sqrt(variance))


def cohens_kappa(table: np.ndarray) -> tuple[float, list[float] | None] | None:
    """Agreement of two readers beyond chance (Cohen 1960), and its 95 % interval.

    Args:
        table: (2, 2), how often the one called a slice so (row) and the other so (column).

    Returns:
        1 for always, 0 as by chance, and the interval (Fleiss, Cohen and Everitt 1969), None of
        fewer than 8 slices, or where there is no spread to tell it from. None alone where it is
        undefined: no slice, or both called all of them the same.
    """
    table = np.asarray(table)
    if table.sum() in (table[0, 0], table[1, 1]):
        return None
    from statsmodels.stats.inter_rater import cohens_kappa as estimate

    with np.errstate(invalid="ignore"):  # without spread, rounding makes a variance less than 0
        found = estimate(table)
    interval = [float(found.kappa_low), float(found.kappa_upp)]
    told = table.sum() >= LEAST_ANSWERS and interval[0] < interval[1]
    return float(found.kappa), [max(interval[0], -1.0), min(interval[1], 1.0)] if told else None


def fleiss_kappa(table: np.ndarray) -> float | None:
    """Agreement of several readers beyond chance (Fleiss 1971, equation 7).

    Args:
        table: (N, categories), how many readers called a slice so; the same number for all slices.

    Returns:
        1 for always, 0 as by chance; None where it is undefined: no slice, fewer than two readers,
        or all of them called all slices the same.
    """
    table = np.asarray(table)
    if not table.size or table[0].sum() < 2 or np.count_nonzero(table.sum(axis=0)) < 2:
        return None
    from statsmodels.stats.inter_rater import fleiss_kappa as estimate

    return float(estimate(table, method="fleiss"))


def _require_statsmodels() -> None:
    try:
        import statsmodels.stats.inter_rater
        import statsmodels.stats.proportion  # noqa: F401  they take a second, and only who
    except ImportError as error:  # analyses a study needs them
        raise UserError(
            "The analysis of a reader study needs a library that is not installed: "
            "pip install statsmodels"
        ) from error


def _tabulate(key: Mapping[int, str], answers: Sequence[Answer]) -> _Table:
    said = np.array([answer.says == SYNTHETIC for answer in answers])
    confidence = np.array([answer.confidence for answer in answers])
    return _Table(
        number=np.array([answer.number for answer in answers]),
        synthetic=np.array([key[answer.number] == SYNTHETIC for answer in answers]),
        said=said,
        score=np.where(said, confidence, -confidence),
        seconds=np.array([answer.seconds for answer in answers], np.float64),
    )


def _measure(table: _Table) -> dict[str, Any]:
    """The numbers of answers that are independent, as one reader's are.

    Returns:
        `answers`, how many; `accuracy`, `sensitivity` (synthetic slices called so) and
        `specificity` (real ones called so), each with `share`, `of` and `interval_95` (Wilson);
        `auc` with `area`, `standard_error` and `interval_95` (DeLong, cut at 0 and 1); `roc`;
        `guessing`, the p-value of the two-sided exact binomial test; `seconds`, their `median` and
        `quartiles`.
    """
    correct = table.correct
    return {
        "answers": len(correct),
        "accuracy": _share(correct),
        "sensitivity": _share(correct[table.synthetic]),
        "specificity": _share(correct[~table.synthetic]),
        "auc": _area(table),
        "roc": roc_points(table.score, table.synthetic),
        "guessing": float(binomtest(int(correct.sum()), len(correct), GUESSING).pvalue),
        "seconds": {
            "median": float(np.median(table.seconds)),
            "quartiles": np.quantile(table.seconds, [0.25, 0.75]).tolist(),
        },
        "intervals": BY_READER,
    }


def _share(correct: np.ndarray) -> dict[str, Any]:
    count, right = len(correct), int(correct.sum())
    return {
        "share": right / count if count else None,
        "of": count,
        "interval_95": wilson_interval(right, count),
    }


def _area(table: _Table) -> dict[str, Any]:
    found = roc_area(table.score, table.synthetic)
    if found is None:
        return {"area": None, "standard_error": None, "interval_95": None}
    area, error = found
    reach = norm.ppf((1 + _LEVEL) / 2) * error
    # Where no answers overlap there is no spread, and that is not certainty.
    told = len(table.number) >= LEAST_ANSWERS and error > 0
    interval = [max(area - reach, 0.0), min(area + reach, 1.0)] if told else None
    return {"area": area, "standard_error": error if told else None, "interval_95": interval}


def _pool(tables: Sequence[_Table], seed: int) -> dict[str, Any]:
    """The numbers of all readers' answers together, with intervals that hold for them.

    `guessing` is the exact test's as well: readers who all toss coins answer independently, but
    such as are misled by the same slices do not, and it then finds more than there is.
    """
    together = _Table(*(np.concatenate(parts) for parts in zip(*tables, strict=True)))
    pooled = {**_measure(together), "slices": len(np.unique(together.number))}
    if len(tables) == 1:
        return pooled
    intervals = _bootstrap(together, seed)
    for name in ("accuracy", "sensitivity", "specificity"):
        pooled[name]["interval_95"] = intervals[name]
    pooled["auc"] |= {"standard_error": None, "interval_95": intervals["auc"]}
    return pooled | {"intervals": POOLED}


def _bootstrap(table: _Table, seed: int) -> dict[str, list[float] | None]:
    """Percentile intervals of all readers' shares and area, slices drawn with their answers."""
    rng = np.random.default_rng(seed)
    real, synthetic = (_draw_slices(table, kind, rng) for kind in (False, True))
    slices = [len(np.unique(table.number[table.synthetic == kind])) for kind in (False, True)]
    reals, synthetics = real.sum(axis=1), synthetic.sum(axis=1)
    called_real = real[:, :MOST_CONFIDENT].sum(axis=1)
    called_synthetic = synthetic[:, MOST_CONFIDENT:].sum(axis=1)
    right = called_real + called_synthetic
    # Pairs in which the synthetic slice has the higher score; equal ones count by half.
    wins = (synthetic * (real.cumsum(axis=1) - real / 2)).sum(axis=1)
    with np.errstate(invalid="ignore"):  # where one kind is not there
        return {
            "accuracy": _percentiles(right / (reals + synthetics), sum(slices)),
            "sensitivity": _percentiles(called_synthetic / synthetics, slices[1]),
            "specificity": _percentiles(called_real / reals, slices[0]),
            "auc": _percentiles(wins / (reals * synthetics), min(slices), is_share=False),
        }


def _draw_slices(table: _Table, synthetic: bool, rng: np.random.Generator) -> np.ndarray:
    """(resamples, 10): how often each score was given to slices of a kind, drawn anew."""
    chosen = table.synthetic == synthetic
    if not chosen.any():
        return np.zeros((_RESAMPLES, 2 * MOST_CONFIDENT))
    score = table.score[chosen]
    column = np.where(score < 0, score + MOST_CONFIDENT, score + MOST_CONFIDENT - 1)
    numbers, row = np.unique(table.number[chosen], return_inverse=True)
    given = np.zeros((len(numbers), 2 * MOST_CONFIDENT))
    np.add.at(given, (row, column), 1)
    times = rng.multinomial(len(numbers), np.full(len(numbers), 1 / len(numbers)), size=_RESAMPLES)
    return times @ given


def _percentiles(values: np.ndarray, slices: int, is_share: bool = True) -> list[float] | None:
    """The interval of resampled values; None of fewer than 8 slices.

    Where all slices were answered alike nothing varies, which is not certainty: the interval of a
    share is then Wilson's of as many slices, as if all readers were one.
    """
    if slices < LEAST_ANSWERS:
        return None
    low, high = np.quantile(values, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    if low == high:
        return wilson_interval(low * slices, slices) if is_share else None
    return [float(low), float(high)]


def _compare(one: _Table, other: _Table) -> dict[str, Any]:
    """Of slices that both readers answered: how many, the share called alike, and kappa."""
    _, first, second = np.intersect1d(one.number, other.number, return_indices=True)
    table = np.zeros((2, 2), int)
    np.add.at(table, (one.said[first].astype(int), other.said[second].astype(int)), 1)
    kappa, interval = cohens_kappa(table) or (None, None)
    return {
        "slices": len(first),
        "alike": float(np.trace(table) / len(first)) if len(first) else None,
        "kappa": kappa,
        "interval_95": interval,
    }


def _compare_all(tables: Sequence[_Table]) -> dict[str, Any]:
    """Of slices that all readers answered: how many, and Fleiss' kappa."""
    common = reduce(np.intersect1d, [table.number for table in tables])
    called = sum(np.isin(common, table.number[table.said]).astype(int) for table in tables)
    counts = np.stack([called, len(tables) - called], axis=1)
    return {"slices": len(common), "kappa": fleiss_kappa(counts)}
