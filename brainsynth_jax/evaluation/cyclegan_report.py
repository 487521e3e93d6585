"""report.html of a CycleGAN run."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import pi
from pathlib import Path
from typing import Any

from brainsynth_jax.evaluation.lesions import COUNTS, LEAST_VOXELS, SIZE_EDGES_MM3
from brainsynth_jax.evaluation.report import count, write_page
from brainsynth_jax.evaluation.samples_numbers import show_numbers
from brainsynth_jax.evaluation.samples_words import Answer, introduce_samples, judge_samples
from brainsynth_jax.evaluation.segmentation import METRICS, summarize_difference
from brainsynth_jax.evaluation.translation import PUBLISHED_TABLE2
from brainsynth_jax.evaluation.utility_report import describe_comparison

METRIC_TITLES = {
    "dice": "Dice",
    "sensitivity": "Sensitivity",
    "precision": "Precision",
    "hausdorff_95_mm": "95 % Hausdorff distance, mm",
    "centroid_error_mm": "Distance of the centroids, mm",
}
TRANSLATION_METRICS = {
    "mse": ("MSE", "%.4f"),
    "mae": ("MAE", "%.3f"),
    "psnr": ("PSNR, dB", "%.1f"),
    "ssim": ("SSIM", "%.3f"),
}
DIRECTIONS = {"a_to_b": "MR to mask", "b_to_a": "Mask to MR"}

# Below this nothing is called hidden: moved edges and noise cost a little by themselves.
_TELLING_RATIO = 1.1

_SEED = 0  # of the bootstrap of the difference: the same evaluation gives the same sentence

_DRAWERS = "segmentation", "threshold_baseline"
_LESIONS = "Every lesion found, none invented?"
_LARGE_MM3 = 500  # one of SIZE_EDGES_MM3: a ball 10 mm across
_MM2 = " mm\u00b2"
_SIZES = "Speck", "Small", "Medium", "Large", "Very large"

# How synthetic slices are made, without and with true masks.
_MADE = (
    "drawn from the masks of domain B",
    "drawn from masks of training subjects, moved, scaled and bent",
)

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
_LESION_TITLES = {
    "sensitivity": "Lesion-wise sensitivity",
    "precision": "Lesion-wise precision",
    "f1": "Lesion-wise F1",
}
_TRANSLATIONS = {
    "a_to_b": "MR to mask, against the true mask",
    "b_to_a": "mask to MR, against the scan that the mask belongs to",
    "cycled_a": "MR to mask to MR, against where it began",
    "cycled_b": "mask to MR to mask, against where it began",
}
_HIDDEN_CHANNEL = {
    "plain": "the mask as it was drawn",
    "rounded": "the mask rounded to its grey levels",
    "noisy": "the mask with faint noise",
}
_SPLITS = {"test": "held out", "train": "training"}


def write_cyclegan_report(
    path: Path,
    title: str,
    options: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    records: Sequence[Mapping[str, float]],
    curves_png: Path | None,
    sample_pngs: Sequence[tuple[str, str, Path]],
    notes: Sequence[str],
) -> None:
    """Writes the page.

    Args:
        path: as the others, see `write_page`.
        title: its heading.
        options: what the run began with.
        evaluation: what evaluation.json holds. What is None in it (segmentation where no true
            masks are known) is left out, and the page says so.
        records: the objects of metrics.jsonl.
        curves_png: picture of the losses, None for none.
        sample_pngs: (title, caption, file) of each picture.
        notes: sentences that the reader has to know.

    Raises:
        UserError: the page can't be written.
    """
    write_page(
        path,
        "cyclegan_report.html",
        title,
        options,
        records,
        curves_png,
        sample_pngs,
        notes,
        answers=answer_questions(evaluation),
        evaluation=evaluation,
        splits=_SPLITS,
        metrics={metric: METRIC_TITLES[metric] for metric in METRICS},
        drawers=_DRAWERS,
        lesion_rates=_LESION_TITLES,
        least_voxels=LEAST_VOXELS,
        sizes=_name_sizes(),
        published=PUBLISHED_TABLE2,
        table2_meanings=_TABLE2_MEANINGS,
        translations=_TRANSLATIONS,
        directions=DIRECTIONS,
        translation_metrics=TRANSLATION_METRICS,
        hidden_channel=_HIDDEN_CHANNEL,
        numbers=show_numbers(evaluation["synthetic"]),
        hidden_channel_words=_describe_hidden_channel(evaluation["test"]["hidden_channel"]),
    )


def answer_questions(evaluation: Mapping[str, Any]) -> list[Answer]:
    """The five answers at the top of the page, then what is behind them, from evaluation.json."""
    test, synthetic = evaluation["test"], evaluation["synthetic"]
    like_real, varied, copied, grid = judge_samples(synthetic)
    answers = [
        introduce_samples(synthetic, _MADE[synthetic["placement"] is not None]),
        like_real,
        varied,
        _judge_place(test, synthetic["placement"]),
        copied,
        _judge_usefulness(evaluation["utility"]),
    ]
    if test["segmentation"]:
        answers += [_compare_to_threshold(test), _judge_lesions(test), _judge_empty_slices(test)]
    return [*answers, grid, _name_network(evaluation)]


def _judge_usefulness(utility: Mapping[str, Any] | None) -> Answer:
    question = "Useful for training on real patients?"
    if utility is None:
        return Answer(
            question,
            "Not measured yet. With this run's folder, it is by: python experiments/utility.py "
            "--run=FOLDER",
        )
    main, *others = utility["comparisons"]
    others = " ".join(describe_comparison(other, utility["held_out"]) for other in others[:2])
    drawn = f"The pairs were drawn by the weights of step {utility['generator_step']:,}."
    return Answer(question, describe_comparison(main, utility["held_out"]), f"{others} {drawn}")


def _describe_placement(placement: Mapping[str, Any]) -> str:
    """Whether synthetic slices show the tumour that their mask asks for."""
    return (
        "In synthetic slices, the tumours that a threshold sees agree with the masks that they "
        f"were drawn from with a mean Dice of {_estimate(placement['synthetic'])}; in real "
        f"held-out slices, with the true masks, {_estimate(placement['real'])}. (Slice by slice: "
        f"{placement['threshold']:g} standard deviations above the median of the slice's brain.)"
    )


def _judge_place(split: Mapping[str, Any], placement: Mapping[str, Any] | None) -> Answer:
    question = "Is the tumour where the mask says?"
    if not split["segmentation"]:
        return Answer(
            question,
            "It can't be said: no slice of this data set comes with its own true mask.",
            "So Dice, sensitivity, precision, distances, lesions, paired errors and the threshold "
            "baseline can't be measured. They are left out.",
        )
    dice = split["segmentation"]["summary"]["dice"]
    return Answer(
        question,
        f"On {count(dice['subjects'], 'subject')} kept out of training "
        f"({count(split['slices'], 'slice')}), the drawn whole-tumour masks agree with the "
        f"true ones with a mean Dice of {_estimate(dice)}; 1 is perfect, 0 is no overlap.",
        " ".join([_describe_placement(placement)] if placement else []),
    )


def _compare_to_threshold(split: Mapping[str, Any]) -> Answer:
    """Whether the drawn masks beat the threshold baseline, subject by subject."""
    ours, baseline = split["segmentation"], split["threshold_baseline"]
    difference = summarize_difference(ours["subjects"], baseline["subjects"], _SEED)
    gap = f"the difference in Dice within a subject is {_estimate(difference, sign='+')}"
    interval = difference["interval_95"]
    if interval is None:
        verdict = "One subject is too few to say which of the two is better."
    elif interval[0] > 0:
        verdict = f"Yes. The translator beats the threshold: {gap}."
    elif interval[1] < 0:
        verdict = f"No. The translator loses to the threshold: {gap}."
    else:
        verdict = (
            f"Neither the translator nor the threshold is shown to be better: {gap}, an interval "
            "that holds zero."
        )
    return Answer(
        "Better than a simple threshold?",
        verdict,
        "The simplest rival is one threshold on the smoothed scan, tuned on the training subjects "
        f"({baseline['threshold']:g} standard deviations above the brain's median, smoothed by "
        f"{baseline['sigma_pixels']:g} pixels). Its Dice is "
        f"{_estimate(baseline['summary']['dice'])}.",
    )


def _judge_lesions(split: Mapping[str, Any]) -> Answer:
    ours, theirs = (split[drawer]["lesions"]["summary"] for drawer in _DRAWERS)
    verdict = (
        f"{_tell_found(ours)} The threshold finds {theirs['found']:,} and draws "
        f"{theirs['false']:,} falsely."
    )
    if ours["by_size"] is None:
        return Answer(_LESIONS, verdict, "How large they are is not known.")
    large = [
        {
            name: sum(size[name] for size in summary["by_size"] if size["from_mm3"] >= _LARGE_MM3)
            for name in COUNTS
        }
        for summary in (ours, theirs)
    ]
    return Answer(
        _LESIONS,
        verdict,
        f"From {_diameter_mm(_LARGE_MM3)} mm across on, the least that a radiologist measures "
        "(RANO): "
        + "; ".join(
            f"{name} {counts['found']:,} of {counts['found'] + counts['missed']:,} found, "
            f"{counts['false']:,} false"
            for name, counts in zip(("translator", "threshold"), large, strict=True)
        )
        + ".",
    )


def _tell_found(lesions: Mapping[str, Any]) -> str:
    true = lesions["found"] + lesions["missed"]
    false = f"{count(lesions['false'], 'lesion')} drawn where no tumour is."
    if not true:
        return f"There is no true lesion to be found; {false}"
    return (
        f"{lesions['found']:,} of {count(true, 'true lesion')} found, {lesions['missed']:,} "
        f"missed; {false}"
    )


def _judge_empty_slices(split: Mapping[str, Any]) -> Answer:
    question = "A tumour drawn where there is none?"
    if split["segmentation"]["empty_slices"] is None:
        return Answer(
            question,
            "It can't be said: the held-out subjects have no slice without tumour among those "
            "asked for.",
        )
    ours, theirs = (split[drawer]["empty_slices"]["summary"] for drawer in _DRAWERS)
    share = ours["drawn_share"]
    verdict = (
        f"{'Yes, in' if share['mean'] else 'In'} {_percent(share)} of slices without "
        f"tumour ({ours['empty_slices']:,} slices of {count(share['subjects'], 'subject')}); by "
        f"the threshold in {_percent(theirs['drawn_share'])}."
    )
    areas = [summary["drawn_area_mm2"] for summary in (ours, theirs)]
    if areas[0]["mean"] is None:
        return Answer(question, verdict, "How large it is is not known: no pixel has a known size.")
    return Answer(
        question,
        verdict,
        f"On average {_estimate(areas[0], places=0, unit=_MM2)} are drawn on such a slice, by the "
        f"threshold {_estimate(areas[1], places=0, unit=_MM2)}.",
    )


def _name_network(evaluation: Mapping[str, Any]) -> Answer:
    weights = {
        "ema": "the running average of the generators' weights (EMA)",
        "raw": "the generators' weights as the last step left them",
    }[evaluation["weights"]]
    return Answer(
        "Which network?",
        f"All numbers are of {weights}, after {count(evaluation['step'], 'step')}, from the "
        f'checkpoint "{evaluation["checkpoint"]}".',
    )


def _name_sizes() -> list[tuple[str, str]]:
    """Name and diameter of the ranges of volume that lesions are counted in."""
    across = [_diameter_mm(volume) for volume in SIZE_EDGES_MM3]
    spans = [
        f"under {across[0]} mm",
        *(f"{low} to {high} mm" for low, high in pairwise(across)),
        f"{across[-1]} mm or more",
    ]
    return list(zip(_SIZES, spans, strict=True))


def _diameter_mm(volume_mm3: float) -> int:
    """Of a ball."""
    return round((6 * volume_mm3 / pi) ** (1 / 3))


def _describe_hidden_channel(channel: Mapping[str, Any]) -> list[str]:
    """What a disturbed mask costs on the way back, and what that says."""
    sentences = [
        "From a scan to its mask and back, a network can cheat: it can write the scan into the "
        "mask, in greys that no true mask has, and read it there on the way back. To find out, "
        "scans are also rebuilt from masks in which such greys are wiped out."
    ]
    disturbance, ratio = next((name, ratio) for name, ratio in channel["ratio"].items() if ratio)
    plain, interval = channel["mae"]["plain"]["mean"], ratio["interval_95"]
    if not plain:
        return sentences
    sentences.append(
        f"On held-out subjects, a scan rebuilt from its drawn mask is off by {plain:.3f} on "
        f"average, where black to white is 2; from {_HIDDEN_CHANNEL[disturbance]}, "
        f"{_estimate(ratio)} times as much."
    )
    if interval is None:
        sentences.append("It takes two known subjects to say more.")
    elif interval[0] < _TELLING_RATIO:
        sentences.append("That the drawn mask hides much is not shown.")
    elif disturbance == "noisy":
        sentences.append(
            "So the drawn mask hides part of what comes back, or the network stumbles over noise."
        )
    else:
        sentences.append(
            "So part of what comes back was hidden in the drawn mask: a well rebuilt scan is no "
            "sign of a good mask."
        )
    return sentences


def _estimate(summary: Mapping[str, Any], sign: str = "", places: int = 2, unit: str = "") -> str:
    """A mean with its 95 % interval: '0.80 (95 % interval 0.74 to 0.85)'."""
    if summary["mean"] is None:
        return "-"
    form = f"{sign},.{places}f"
    mean, interval = f"{summary['mean']:{form}}{unit}", summary["interval_95"]
    if interval is None:
        return f"{mean} (no interval: too few subjects)"
    return f"{mean} (95 % interval {interval[0]:{form}} to {interval[1]:{form}}{unit})"


def _percent(share: Mapping[str, Any]) -> str:
    """'50 % (95 % interval 10 to 90 %)' for a mean of 0.5."""
    interval = share["interval_95"] and [100 * value for value in share["interval_95"]]
    return _estimate({"mean": 100 * share["mean"], "interval_95": interval}, places=0, unit=" %")
