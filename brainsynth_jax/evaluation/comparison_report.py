"""comparison.html: the CycleGAN paper's two networks side by side, and its claims."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from brainsynth_jax.evaluation.claims import (
    CONFIRMED,
    NOT_CONFIRMED,
    NOT_MEASURED,
    OTHER_SETTING,
    TOO_SMALL,
    show_estimate,
)
from brainsynth_jax.evaluation.comparison import IMAGE_METRICS, NETWORKS, PUBLISHED_HOURS
from brainsynth_jax.evaluation.cyclegan_report import (
    DIRECTIONS,
    METRIC_TITLES,
    TRANSLATION_METRICS,
)
from brainsynth_jax.evaluation.report import count, short, warn_of_few, write_page
from brainsynth_jax.evaluation.segmentation import METRICS
from brainsynth_jax.evaluation.translation import PUBLISHED_TABLE2

_DECIMALS = {
    **{"dice": 2, "sensitivity": 2, "precision": 2},
    **{"hausdorff_95_mm": 1, "centroid_error_mm": 1},
    **{"mse": 4, "mae": 3, "ssim": 3},
}


def write_comparison_report(
    path: Path,
    comparison: Mapping[str, Any],
    options: Mapping[str, Any],
    figures: Sequence[tuple[str, str, Path]],
    notes: Sequence[str],
) -> None:
    """Writes one HTML page that needs nothing beside it.

    Args:
        path: of the page.
        comparison: what comparison.json holds: `comparison.compare_networks`, and
            `supervised_steps` (by network), `supervised_rate`, `held_out_slices` and
            `held_out_subjects`. What is None in it is left out.
        options: of the runs.
        figures: (title, caption, file) of each.
        notes: sentences that the reader has to know.

    Raises:
        UserError: the page can't be written.
    """
    write_page(
        path,
        "comparison_report.html",
        title="ResNet and U-Net: the paper's comparison, redone",
        options=options,
        records=(),
        curves_png=None,
        sample_pngs=figures,
        notes=notes,
        answers=_answers(comparison),
        comparison=comparison,
        names=NETWORKS,
        published=PUBLISHED_TABLE2,
        costs=_costs(comparison),
        compared=f"{count(comparison['held_out_subjects'], 'held-out subject')}, "
        f"{count(comparison['held_out_slices'], 'slice')}, the same for all",
        segmentation={metric: (METRIC_TITLES[metric], _DECIMALS[metric]) for metric in METRICS},
        directions=DIRECTIONS,
        images={m: (TRANSLATION_METRICS[m][0], _DECIMALS[m]) for m in IMAGE_METRICS},
        supervised_steps=_tell_steps(comparison["supervised_steps"]),
    )


def _answers(comparison: Mapping[str, Any]) -> list[str]:
    """The plain sentences at the top of the page."""
    verdicts = Counter(claim["verdict"] for claim in comparison["claims"])
    words = {
        CONFIRMED: "confirmed by these runs",
        NOT_CONFIRMED: "not confirmed",
        TOO_SMALL: "not decidable at this size",
        OTHER_SETTING: "not decidable by other data, devices or recipes than the paper's",
        NOT_MEASURED: "not decidable for want of a measurement",
    }
    found = [f"{verdicts[verdict]} {text}" for verdict, text in words.items() if verdicts[verdict]]
    sentences = [
        f"Of the paper's {len(comparison['claims'])} claims about its two networks, "
        f"{', '.join(found)}."
    ]
    resnet, unet = (comparison["networks"][name] for name in NETWORKS)
    if resnet["segmentation"] and unet["segmentation"]:
        threshold = comparison["threshold"]["summary"]["dice"]
        sentences.append(
            f"On {count(comparison['held_out_subjects'], 'subject')} kept out of training, tumours "
            f"drawn by the ResNet agree with the true ones with a mean Dice of {_dice(resnet)}, "
            f"those by the U-Net with {_dice(unet)}. The best smoothed threshold reaches "
            f"{show_estimate(threshold)}; the same networks, trained with true pairs, "
            f"{_dice(resnet, 'supervised')} and {_dice(unet, 'supervised')}."
        )
        difference = comparison["differences"]["segmentation"]["dice"]
        sentences.append(
            "Subject by subject, the ResNet's Dice minus the U-Net's is "
            f"{show_estimate(difference, '+.2f')}."
        )
        if comparison["held_out_subjects"] > 1:
            sentences += warn_of_few(comparison["held_out_subjects"])
    else:
        sentences.append("Without true masks, Dice and errors against the truth are left out.")
    sentences.append(
        "Each network was trained once, with one seed. Another seed may turn a small difference "
        "round; the intervals, over subjects, do not tell of that."
    )
    return sentences


def _dice(network: Mapping[str, Any], scores: str = "segmentation") -> str:
    return show_estimate(network[scores]["summary"]["dice"]) if network[scores] else "-"


def _tell_steps(steps: Mapping[str, int]) -> str:
    """'each for 2,000 steps', 'the ResNet for 1 step and the U-Net for 2,000 steps'."""
    told = {name: count(number, "step") for name, number in steps.items()}
    if len(set(told.values())) == 1:
        return f"each for {told['unet']}"
    return f"the ResNet for {told['resnet']} and the U-Net for {told['unet']}"


def _costs(comparison: Mapping[str, Any]) -> list[tuple[str, str, dict[str, str]]]:
    """(what, remark, the text of each network) of what a network costs."""

    def row(title: str, remark: str, values: Mapping[str, Any]) -> tuple[str, str, dict[str, str]]:
        texts = {name: "-" if value is None else short(value) for name, value in values.items()}
        return title, remark, texts

    networks = comparison["networks"]

    def column(key: str) -> dict[str, Any]:
        return {name: network[key] for name, network in networks.items()}

    hours = {
        name: network["seconds_per_step"] and network["steps"] * network["seconds_per_step"] / 3600
        for name, network in networks.items()
    }
    return [
        row("Seconds a step", "median", column("seconds_per_step")),
        row("Hours", "seconds by steps", hours),
        row("Hours, published", "2,000 steps on one GTX 1080 Ti", PUBLISHED_HOURS),
        row(
            "Peak memory, MiB",
            "of a GPU, or of the process",
            column("peak_memory_mib"),
        ),
        row("Parameters", "of one generator", column("parameters")),
        row("Width", "CycleGAN's own: 64", column("width")),
        row("Steps", "the paper's: 2,000", column("steps")),
    ]
