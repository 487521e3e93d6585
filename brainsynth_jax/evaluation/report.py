"""report.html: one page that a radiologist and a reader of the paper both understand."""

import base64
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from statistics import median
from typing import Any

from jinja2 import Environment, StrictUndefined

from brainsynth_jax.evaluation.segmentation import METRICS, summarize_difference
from brainsynth_jax.evaluation.translation import PUBLISHED_TABLE2
from brainsynth_jax.files import write_atomically

_SEED = 0  # of the bootstrap of the difference: the same evaluation gives the same sentence
_FEW_SUBJECTS = 10

_TABLE2_MEANINGS = {
    "Dis": "both discriminators",
    "Dis_A": "discriminator of MR slices, half sum of the next two",
    "Dis_fakeA": "on generated MR slices",
    "Dis_realA": "on real MR slices",
    "Dis_B": "discriminator of masks, half sum of the next two",
    "Dis_fakeB": "on generated masks",
    "Dis_realB": "on real masks",
    "Gen": "both generators: both adversarial terms + cycle",
    "Gen_AB": "MR to mask: adversarial + cycle",
    "Gen_BA": "mask to MR: adversarial + cycle",
}
_METRIC_TITLES = {
    "dice": "Dice",
    "sensitivity": "Sensitivity",
    "precision": "Precision",
    "hausdorff_95_mm": "95 % Hausdorff distance, mm",
}
_TRANSLATIONS = {
    "a_to_b": "MR to mask, against the true mask",
    "b_to_a": "mask to MR, against the scan that the mask belongs to",
    "cycled_a": "MR to mask to MR, against where it began",
    "cycled_a_rounded": "the same with the mask rounded to its grey levels on the way",
    "cycled_b": "mask to MR to mask, against where it began",
}
_SPLITS = {"test": "held out", "train": "training"}


def write_report(
    path: Path,
    title: str,
    options: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    records: Sequence[Mapping[str, float]],
    curves_png: Path | None,
    sample_pngs: Sequence[tuple[str, str, Path]],
    notes: Sequence[str],
) -> None:
    """Writes one HTML page that needs nothing beside it: no other file, no network, no script.

    Args:
        path: of the page.
        title: its heading.
        options: shown as they are; a mapping in it becomes a table of its own.
        evaluation: what evaluation.json holds. What is None in it (segmentation where no true
            masks are known) is left out, and the page says so.
        records: the objects of metrics.jsonl, for the length and the speed of the training.
        curves_png: picture of the losses, None for none.
        sample_pngs: (title, caption, file) of each picture.
        notes: sentences that the reader has to know, such as subjects left out.

    Raises:
        UserError: the page can't be written.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": _number, "percent": _percent}
    template = resources.files(__package__).joinpath("report.html").read_text(encoding="utf-8")
    page = environment.from_string(template).render(
        title=title,
        answers=_answers(evaluation),
        training=_training(records),
        evaluation=evaluation,
        splits=_SPLITS,
        pictures=[(name, caption, _embed(png)) for name, caption, png in sample_pngs],
        curves=_embed(curves_png) if curves_png else None,
        metrics={metric: _METRIC_TITLES[metric] for metric in METRICS},
        published=PUBLISHED_TABLE2,
        table2_meanings=_TABLE2_MEANINGS,
        translations=_TRANSLATIONS,
        options=_tabulate(options),
        notes=notes,
    )
    write_atomically(path, page.encode())


def _answers(evaluation: Mapping[str, Any]) -> list[str]:
    """The plain sentences at the top of the page."""
    test = evaluation["test"]
    weights = {
        "ema": "the running average of the generators' weights (EMA)",
        "raw": "the generators' weights as the last step left them",
    }[evaluation["weights"]]
    sentences = []
    if test["segmentation"]:
        ours = test["segmentation"]["summary"]["dice"]
        sentences.append(
            f"On {_count(ours['subjects'], 'subject')} kept out of training "
            f"({_count(test['slices'], 'slice')}), the drawn whole-tumour masks agree with the "
            f"true ones with a mean Dice of {_estimate(ours)}; 1 is perfect, 0 is no overlap."
        )
        sentences += _compare(test)
    else:
        sentences.append(
            "No slice of this data set comes with its own true mask, so Dice, sensitivity, "
            "precision, distances, paired errors and the threshold baseline can't be measured. "
            "They are left out."
        )
    sentences.append(
        f"All numbers are of {weights}, after {_count(evaluation['step'], 'step')}, from the "
        f'checkpoint "{evaluation["checkpoint"]}".'
    )
    return sentences


def _compare(split: Mapping[str, Any]) -> list[str]:
    """Whether the drawn masks beat the threshold baseline, subject by subject."""
    ours, baseline = split["segmentation"], split["threshold_baseline"]
    if not baseline:
        return ["There is no threshold baseline to compare with."]
    sentences = [
        "The simplest rival is one threshold on the smoothed scan, tuned on the training subjects "
        f"({baseline['threshold']:g} standard deviations above the brain's median, smoothed by "
        f"{baseline['sigma_pixels']:g} pixels). Its Dice is "
        f"{_estimate(baseline['summary']['dice'])}."
    ]
    difference = summarize_difference(ours["subjects"], baseline["subjects"], _SEED)
    gap = f"the difference in Dice within a subject is {_estimate(difference, sign='+')}"
    interval = difference["interval_95"]
    if interval is None:
        sentences.append("One subject is too few to say which of the two is better.")
    elif interval[0] > 0:
        sentences.append(f"The translator beats the threshold: {gap}.")
    elif interval[1] < 0:
        sentences.append(f"The translator loses to the threshold: {gap}.")
    else:
        sentences.append(
            f"Neither the translator nor the threshold is shown to be better: {gap}, an interval "
            "that holds zero."
        )
    if interval and difference["subjects"] < _FEW_SUBJECTS:
        sentences.append(
            f"With {difference['subjects']} subjects the intervals are rough, and rather too "
            "narrow than too wide."
        )
    return sentences


def _training(records: Sequence[Mapping[str, float]]) -> str | None:
    speeds = [record["seconds_per_step"] for record in records if "seconds_per_step" in record]
    if not speeds:
        return None
    last = max(record["step"] for record in records)
    return f"{_count(last, 'step')}, {median(speeds):.2g} s each (median)"


def _tabulate(options: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """(heading, rows) of the plain options first, then of each mapping among them."""
    plain = {name: value for name, value in options.items() if not isinstance(value, Mapping)}
    nested = {name: value for name, value in options.items() if isinstance(value, Mapping)}
    groups = {"": plain} | nested if plain else nested
    return [
        (heading, [(name, _text(value)) for name, value in group.items()])
        for heading, group in groups.items()
    ]


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "not set" if value is None or value == "" else str(value)


def _embed(png: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(Path(png).read_bytes()).decode()


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _number(value: float | None) -> str:
    """Three decimals; small ones as the paper prints them, 4.890e-3."""
    if value is None:
        return "-"
    if value == 0 or abs(value) >= 0.01:
        return f"{value:.3f}"
    mantissa, exponent = f"{value:.3e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def _estimate(summary: Mapping[str, Any], sign: str = "") -> str:
    """A mean with its 95 % interval: '0.80 (95 % interval 0.74 to 0.85)'."""
    if summary["mean"] is None:
        return "-"
    mean, interval = f"{summary['mean']:{sign}.2f}", summary["interval_95"]
    if interval is None:
        return f"{mean} (no interval: too few subjects)"
    return f"{mean} (95 % interval {interval[0]:{sign}.2f} to {interval[1]:{sign}.2f})"


def _percent(value: float) -> str:
    """A place on an axis from 0 to 1, for CSS."""
    return f"{100 * value:.2f}%"
