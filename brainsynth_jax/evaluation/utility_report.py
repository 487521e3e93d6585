"""utility.html: what synthetic pairs do to a segmentation network."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from brainsynth_jax.evaluation.report import count, write_page
from brainsynth_jax.evaluation.utility import MARGIN

_VERDICTS = {
    "helps": "{Subject} helps",
    "makes no difference": "{Subject} makes no difference",
    "harms": "{Subject} harms",
    "is not decided": "Whether {subject} helps is not decided",
}


def describe_comparison(comparison: Mapping[str, Any], held_out: int) -> str:
    """One sentence: helps, makes no difference, harms or not decided, with the interval."""
    arm, baseline = comparison["arm"], comparison["baseline"]
    subject = f"training on “{arm}” in place of “{baseline}”"
    start = _VERDICTS[comparison["verdict"]].format(
        subject=subject, Subject=subject[0].upper() + subject[1:]
    )
    *_, most = comparison["subjects"]
    counts = f"{_enumerate(comparison['subjects'])} annotated subject{'' if most == 1 else 's'}"
    averaged = ", on average over these numbers," if len(comparison["subjects"]) > 1 else ""
    difference = comparison["difference"]
    interval = difference["interval_95"]
    trust = (
        f"95 % interval of the difference {_signed(interval[0])} to {_signed(interval[1])}"
        if interval
        else "no interval: one held-out subject is too few"
    )
    return (
        f"{start}: with {counts}, Dice on {count(held_out, 'held-out subject')}{averaged} goes "
        f"from {comparison['from']:.3f} to {comparison['to']:.3f}, by "
        f"{_signed(difference['mean'])} ({trust})."
    )


def write_utility_report(
    path: Path,
    results: Mapping[str, Any],
    options: Mapping[str, Any],
    plot_png: Path,
    sample_pngs: Sequence[tuple[str, str, Path]],
    notes: Sequence[str],
) -> None:
    """Writes the page.

    Args:
        path: of the page.
        results: what utility.json holds: `utility.summarize_trainings`, and `held_out`, the number
            of held-out subjects.
        options: what the experiment began with.
        plot_png: of `plots.save_dice_curves`.
        sample_pngs: (title, caption, file) of each further picture.
        notes: sentences that the reader has to know.

    Raises:
        UserError: the page can't be written.
    """
    counts = sorted({row["subjects"] for row in results["rows"]})
    arms = list(dict.fromkeys(row["arm"] for row in results["rows"]))
    write_page(
        path,
        "utility_report.html",
        title="Do synthetic pairs help?",
        options=options,
        records=(),
        curves_png=None,
        sample_pngs=[
            (
                "Dice against the number of annotated subjects",
                "Means over held-out subjects, with their 95 % intervals. Arms are told apart by "
                "the difference within subjects, in the table below, better than by these.",
                plot_png,
            ),
            *sample_pngs,
        ],
        notes=notes,
        answers=[
            describe_comparison(comparison, results["held_out"])
            for comparison in results["comparisons"]
        ],
        arms=arms,
        counts=counts,
        cells={(row["arm"], row["subjects"]): row for row in results["rows"]},
        threshold=results["threshold"],
        margin=MARGIN,
        held_out=results["held_out"],
    )


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")


def _enumerate(numbers: Sequence[int]) -> str:
    """[3] -> "3"; [3, 6, 12] -> "3, 6 and 12"."""
    *first, last = map(str, numbers)
    return f"{', '.join(first)} and {last}" if first else last
