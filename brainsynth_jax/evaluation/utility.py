"""Does training with synthetic pairs help a segmentation network on real patients?

Networks of one recipe are trained on several sets of pairs, the *arms*, and tested on the same
held-out subjects. What counts is the difference from the arm without synthetic pairs within a
subject: it takes out that some subjects are harder than others.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from brainsynth_jax.evaluation.bootstrap import summarize
from brainsynth_jax.evaluation.segmentation import dice, split_subjects

# A difference in Dice within this of 0 is none in practice: another seed changes as much.
MARGIN = 0.02

VERDICTS = ("helps", "makes no difference", "harms", "is not decided")

_SUMMARY_SEED = 0  # of the bootstraps: the same results give the same sentence


class Arm(NamedTuple):
    """What a network is trained on.

    Attributes:
        name: for tables and pictures.
        share: of synthetic pairs among those that a step draws, 0 to 1.
        augmented: whether the usual flips and changes of brightness are made.
    """

    name: str
    share: float
    augmented: bool = False

    @property
    def baseline(self) -> str | None:
        """The arm that is the same but for the synthetic pairs; None for that arm itself."""
        if self.augmented and self.share:
            return USUAL.name
        return None if self == REAL else REAL.name


REAL = Arm("real", 0.0)
USUAL = Arm("real, usual changes", 0.0, augmented=True)
SYNTHETIC = Arm("synthetic only", 1.0)


class Training(NamedTuple):
    """The outcome of one network.

    Attributes:
        arm: its name.
        subjects: how many real subjects it, and the generator of its synthetic pairs, had.
        seed: of its weights and batches.
        dice: whole-tumour Dice of each held-out subject.
    """

    arm: str
    subjects: int
    seed: int
    dice: Mapping[str, float]


def list_arms(shares: Sequence[float]) -> list[Arm]:
    """The arms of an experiment: none, some and only synthetic pairs, and the usual changes.

    The usual changes are what synthetic pairs have to compete with, and what they will be used
    with: so they stand alone and with the main share.

    Args:
        shares: of synthetic pairs, between 0 and 1.
    """
    mixed = [Arm(f"real + {share:.0%} synthetic", share) for share in sorted(shares)]
    both = Arm(f"usual changes + {main_share(shares):.0%} synthetic", main_share(shares), True)
    return [REAL, USUAL, *mixed, both, SYNTHETIC]


def main_share(shares: Sequence[float]) -> float:
    """The share that the verdict is about, fixed before any result: the one nearest to a half."""
    return min(shares, key=lambda share: (abs(share - 0.5), share))


def draw_chances(share: float, real: int, synthetic: int) -> np.ndarray:
    """(real + synthetic,) chance with which a step draws each pair, real ones first; sum 1."""
    return np.concatenate(
        [np.full(real, (1 - share) / max(real, 1)), np.full(synthetic, share / max(synthetic, 1))]
    )


def score_dice(
    drawn: np.ndarray,
    truth: np.ndarray,
    subjects: Sequence[str],
    slice_numbers: Sequence[int] | np.ndarray,
) -> dict[str, float]:
    """Whole-tumour Dice of each subject, all its slices (N, H, W) together."""
    spacing_mm = np.ones((len(drawn), 3))  # of no account here
    split = split_subjects(drawn, truth, subjects, slice_numbers, spacing_mm)
    return {name: dice(masks.prediction, masks.truth) for name, masks in split.items()}


def judge(difference: Mapping[str, Any], margin: float = MARGIN) -> str:
    """One of `VERDICTS` on a difference in Dice, by its interval alone.

    All of it within the margin of 0, it makes no difference; else above 0 it helps, below 0 it
    harms; anything else, and a single subject, leaves it undecided.
    """
    if difference["interval_95"] is None:
        return "is not decided"
    low, high = difference["interval_95"]
    if -margin <= low and high <= margin:
        return "makes no difference"
    if low > 0:
        return "helps"
    return "harms" if high < 0 else "is not decided"


def summarize_trainings(
    trainings: Iterable[Training],
    thresholds: Mapping[int, Mapping[str, float]],
    arms: Sequence[Arm],
    share: float,
) -> dict:
    """The table, and the verdicts.

    Dice is averaged over seeds first, subject by subject; intervals are over held-out subjects.
    They say what other patients would do to the result, not what other training subjects or,
    beyond averaging, other seeds would. Those of differences are Student's t: by the bootstrap,
    which stands beside, four subjects would find a difference where there is none in one case of
    five, and three in one of four.

    Args:
        trainings: those done; combinations may be missing.
        thresholds: number of training subjects -> Dice of each held-out subject by the best
            smoothed threshold on these.
        arms: in the order of the table.
        share: the main one.

    Returns:
        JSON-safe: `rows`, of each arm and number of subjects that has trainings: `arm`,
        `subjects`, `seeds`, `dice` (`bootstrap.summarize`), `difference` from its baseline (None
        where there is none: `mean`, `interval_95`, `bootstrap_95`, `subjects`), `seed_spread`
        (standard deviation of the mean Dice over seeds, None for one), `verdict`; `threshold`,
        number of subjects -> summary; `comparisons`, of each pair (`arm`, `baseline`) over all
        numbers of subjects for which both are there: `subjects` these numbers, `from` and `to`
        mean Dice, `difference`, `verdict`. The first comparison is the main one.
    """
    done = list(trainings)
    counts = sorted({training.subjects for training in done})
    averaged = {
        (arm.name, count): _average(
            [one.dice for one in done if (one.arm, one.subjects) == (arm.name, count)]
        )
        for arm in arms
        for count in counts
    }
    rows = []
    for arm in arms:
        for count in counts:
            ours, base = averaged[arm.name, count], averaged.get((arm.baseline, count))
            if not ours:
                continue
            seeds = [one.dice for one in done if (one.arm, one.subjects) == (arm.name, count)]
            difference = _summarize_difference([ours], [base]) if base else None
            means = [np.mean(list(scores.values())) for scores in seeds]
            rows.append(
                {
                    "arm": arm.name,
                    "subjects": count,
                    "seeds": len(seeds),
                    "dice": summarize(list(ours.values()), _SUMMARY_SEED),
                    "seed_spread": float(np.std(means, ddof=1)) if len(means) > 1 else None,
                    "difference": difference,
                    "verdict": judge(difference) if difference else None,
                }
            )
    by_interest = sorted(arms, key=lambda arm: _interest(arm, share))
    comparisons = [
        comparison
        for arm in by_interest
        if arm.baseline and (comparison := _compare(arm, counts, averaged))
    ]
    return {
        "rows": rows,
        "threshold": {
            str(count): summarize(list(scores.values()), _SUMMARY_SEED)
            for count, scores in sorted(thresholds.items())
        },
        "comparisons": comparisons,
    }


def _interest(arm: Arm, share: float) -> int:
    """The main share first, then with the usual changes, these alone, the other shares."""
    first = [(share, False), (share, True), (0.0, True)]
    key = (arm.share, arm.augmented)
    return first.index(key) if key in first else len(first)


def _compare(
    arm: Arm, counts: Sequence[int], averaged: Mapping[tuple[str, int], Mapping[str, float]]
) -> dict | None:
    both = [
        count for count in counts if averaged[arm.name, count] and averaged[arm.baseline, count]
    ]
    if not both:
        return None
    ours, base = ([averaged[name, count] for count in both] for name in (arm.name, arm.baseline))
    difference = _summarize_difference(ours, base)
    return {
        "arm": arm.name,
        "baseline": arm.baseline,
        "subjects": both,
        "from": float(np.mean([list(scores.values()) for scores in base])),
        "to": float(np.mean([list(scores.values()) for scores in ours])),
        "difference": difference,
        "verdict": judge(difference),
    }


def _average(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Each held-out subject's mean; {} of none."""
    if not scores:
        return {}
    return {name: float(np.mean([one[name] for one in scores])) for name in scores[0]}


def _summarize_difference(
    ours: Sequence[Mapping[str, float]], base: Sequence[Mapping[str, float]]
) -> dict:
    """Over held-out subjects, each the mean difference over numbers of training subjects."""
    values = np.array(
        [np.mean([a[name] - b[name] for a, b in zip(ours, base, strict=True)]) for name in ours[0]]
    )
    mean, interval = values.mean(), None
    if len(values) > 1:
        reach = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
        interval = [float(mean - reach), float(mean + reach)]
    return {
        "mean": float(mean),
        "interval_95": interval,
        "bootstrap_95": summarize(values.tolist(), _SUMMARY_SEED)["interval_95"],
        "subjects": len(values),
    }
