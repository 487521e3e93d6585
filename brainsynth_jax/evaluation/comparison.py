"""The CycleGAN paper's comparison of its two generators.

A difference is always the ResNet's number minus the U-Net's, subject by subject, so that easy and
hard subjects do not widen its interval.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from brainsynth_jax.evaluation.bootstrap import summarize
from brainsynth_jax.evaluation.claims import judge_claims
from brainsynth_jax.evaluation.segmentation import (
    METRICS,
    summarize_difference,
    summarize_subjects,
)
from brainsynth_jax.evaluation.translation import average_by_subject, score_images

# Of comparison.json.
SCHEMA = 1

NETWORKS = {"resnet": "ResNet", "unet": "U-Net"}
DIRECTIONS = ("a_to_b", "b_to_a")
IMAGE_METRICS = ("mse", "mae", "ssim")

PUBLISHED_HOURS = {"resnet": 28.6, "unet": 6.9}

Scores = Mapping[str, Mapping[str, float | int | None]]


class NetworkNumbers(NamedTuple):
    """What one network's run gave. Scores are by subject, those of the held-out slices.

    Attributes:
        steps: updates that the weights have seen.
        width: channels of the first layer.
        image_size: pixels a side.
        train_slices: of domain A.
        recipe: value of each flag in PAPER_RECIPE.
        phantom: whether the data are this program's own and no scans.
        parameters: of one generator.
        devices: kinds of the devices that trained it.
        seconds_per_step: the median.
        peak_memory_mib: the highest that was recorded; None where none was.
        table2: `train` and `test`, the paper's rows each.
        segmentation: as `segmentation.score_subjects`; None where no true masks are known, and so
            are the other scores then.
        supervised: the same of this network trained with true pairs.
        translation: by direction, as `score_translations`.
    """

    steps: int
    width: int
    image_size: int
    train_slices: int
    recipe: Mapping[str, Any]
    phantom: bool
    parameters: int
    devices: Sequence[str]
    seconds_per_step: float | None
    peak_memory_mib: float | None
    table2: Mapping[str, Mapping[str, float]]
    segmentation: Scores | None
    supervised: Scores | None
    translation: Mapping[str, Scores] | None


def score_translations(
    images: np.ndarray, targets: np.ndarray, subjects: Sequence[str]
) -> dict[str, dict[str, float | None]]:
    """By subject in name order, the means of IMAGE_METRICS over its slices.

    Arguments and errors are those of `translation.score_translation`.
    """
    means = {
        metric: average_by_subject(values, subjects)
        for metric, values in score_images(images, targets).items()
    }
    return {
        name: {metric: means[metric][name] for metric in IMAGE_METRICS}
        for name in sorted(set(subjects))
    }


def compare_networks(
    numbers: Mapping[str, NetworkNumbers], threshold: Scores | None, seed: int
) -> dict[str, Any]:
    """Both networks' numbers with intervals, and their differences.

    Args:
        numbers: by the names of NETWORKS.
        threshold: the threshold baseline's scores on the same slices; None without true masks.
        seed: of the bootstraps.

    Returns:
        JSON-safe. `networks`, by name: what NetworkNumbers holds, `segmentation` and `supervised`
        as `subjects` and `summary`, `translation` by direction and metric, and the Dice minus the
        threshold's and minus the supervised network's, `over_threshold` and `over_supervised`.
        `threshold`. `differences`, ResNet minus U-Net: `segmentation` by metric, `translation` by
        direction and metric. `claims`, of `judge_claims`.
    """

    def scored(scores: Scores | None) -> dict[str, Any] | None:
        if scores is None:
            return None
        return {"subjects": dict(scores), "summary": summarize_subjects(scores, seed)}

    def over(scores: Scores | None, others: Scores | None) -> dict[str, Any] | None:
        return None if None in (scores, others) else summarize_difference(scores, others, seed)

    networks = {
        name: run._asdict()
        | {
            "devices": list(run.devices),
            "segmentation": scored(run.segmentation),
            "supervised": scored(run.supervised),
            "over_threshold": over(run.segmentation, threshold),
            "over_supervised": over(run.segmentation, run.supervised),
            "translation": run.translation
            and {
                direction: {
                    metric: summarize([score[metric] for score in scores.values()], seed)
                    for metric in IMAGE_METRICS
                }
                for direction, scores in run.translation.items()
            },
        }
        for name, run in numbers.items()
    }
    resnet, unet = (numbers[name] for name in NETWORKS)
    segmentation = translation = None
    if resnet.segmentation and unet.segmentation:
        segmentation = {
            metric: summarize_difference(resnet.segmentation, unet.segmentation, seed, metric)
            for metric in METRICS
        }
    if resnet.translation and unet.translation:
        translation = {
            direction: {
                metric: summarize_difference(
                    resnet.translation[direction], unet.translation[direction], seed, metric
                )
                for metric in IMAGE_METRICS
            }
            for direction in DIRECTIONS
        }
    comparison = {
        "schema": SCHEMA,
        "networks": networks,
        "threshold": scored(threshold),
        "differences": {"segmentation": segmentation, "translation": translation},
    }
    return comparison | {"claims": [claim._asdict() for claim in judge_claims(comparison)]}


def tabulate(comparison: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What `compare_networks` found as rows of comparison.csv, one a measure and network.

    Each holds `measure`, `of` (a network, both's difference or a rival), `mean`, `low` and `high`
    (the 95 % interval) and `subjects`; the last three are None of what is no mean over subjects.
    """
    networks, differences = comparison["networks"], comparison["differences"]
    rows = []

    def add(measure: str, of: str, summary: Mapping[str, Any]) -> None:
        low, high = summary.get("interval_95") or (None, None)
        limits = {"low": low, "high": high, "subjects": summary.get("subjects")}
        rows.append({"measure": measure, "of": of, "mean": summary["mean"], **limits})

    for name, network in networks.items():
        for split, losses in network["table2"].items():
            for loss, value in losses.items():
                add(f"{loss}, {split}", name, {"mean": value})
        for cost in ("seconds_per_step", "peak_memory_mib", "parameters"):
            add(cost, name, {"mean": network[cost]})
    drawn = {name: network["segmentation"] for name, network in networks.items()}
    paired = {f"{name}, true pairs": network["supervised"] for name, network in networks.items()}
    for name, scores in (drawn | paired | {"threshold": comparison["threshold"]}).items():
        for metric, summary in (scores["summary"] if scores else {}).items():
            add(metric, name, summary)
    for metric, summary in (differences["segmentation"] or {}).items():
        add(metric, "resnet minus unet", summary)
    translated = {name: network["translation"] for name, network in networks.items()}
    for name, scores in (translated | {"resnet minus unet": differences["translation"]}).items():
        for direction, summaries in (scores or {}).items():
            for metric, summary in summaries.items():
                add(f"{metric}, {direction}", name, summary)
    return rows
