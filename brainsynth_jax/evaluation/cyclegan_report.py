"""report.html of a CycleGAN run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from brainsynth_jax.evaluation.report import count, warn_of_few, write_page
from brainsynth_jax.evaluation.segmentation import METRICS, summarize_difference
from brainsynth_jax.evaluation.translation import PUBLISHED_TABLE2

# Below this nothing is called hidden: moved edges and noise cost a little by themselves.
_TELLING_RATIO = 1.1

_SEED = 0  # of the bootstrap of the difference: the same evaluation gives the same sentence

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
    "centroid_error_mm": "Distance of the centroids, mm",
}
_TRANSLATION_METRICS = {
    "mse": ("MSE", "%.4f"),
    "mae": ("MAE", "%.3f"),
    "psnr": ("PSNR, dB", "%.1f"),
    "ssim": ("SSIM", "%.3f"),
}
_DIRECTIONS = {"a_to_b": "MR to mask", "b_to_a": "Mask to MR"}
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
        answers=_answers(evaluation),
        evaluation=evaluation,
        splits=_SPLITS,
        metrics={metric: _METRIC_TITLES[metric] for metric in METRICS},
        published=PUBLISHED_TABLE2,
        table2_meanings=_TABLE2_MEANINGS,
        translations=_TRANSLATIONS,
        directions=_DIRECTIONS,
        translation_metrics=_TRANSLATION_METRICS,
        hidden_channel=_HIDDEN_CHANNEL,
        hidden_channel_words=_describe_hidden_channel(evaluation["test"]["hidden_channel"]),
    )


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
            f"On {count(ours['subjects'], 'subject')} kept out of training "
            f"({count(test['slices'], 'slice')}), the drawn whole-tumour masks agree with the "
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
        f"All numbers are of {weights}, after {count(evaluation['step'], 'step')}, from the "
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
    if interval:
        sentences += warn_of_few(difference["subjects"])
    return sentences


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
        sentences.append("One subject is too few to say more.")
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


def _estimate(summary: Mapping[str, Any], sign: str = "") -> str:
    """A mean with its 95 % interval: '0.80 (95 % interval 0.74 to 0.85)'."""
    if summary["mean"] is None:
        return "-"
    mean, interval = f"{summary['mean']:{sign}.2f}", summary["interval_95"]
    if interval is None:
        return f"{mean} (no interval: too few subjects)"
    return f"{mean} (95 % interval {interval[0]:{sign}.2f} to {interval[1]:{sign}.2f})"
