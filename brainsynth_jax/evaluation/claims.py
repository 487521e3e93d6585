"""What two trained networks' numbers say of the CycleGAN paper's claims.

Claims and published numbers are of the paper's section 4, Table 2 and figures 12 to 15.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

# Width and image size are CycleGAN's own: the paper does not state them.
PAPER_SIZE = {"width": 64, "image_size": 256, "steps": 2000, "train_slices": 765}
# The flags of a run that make it another experiment, with the paper's values; the pool and the
# precision are CycleGAN's own.
PAPER_RECIPE = {
    "mask_style": "tumor",
    "mask_classes": "whole",
    "upsample": "deconv",
    "precision": "float32",
    "batch_size": 1,
    "learning_rate": 2e-4,
    "decay_epochs": 0,
    "cycle_weight": 10,
    "identity_weight": 0,
    "pool_size": 50,
    "discriminator_noise": 0,
    "average_decay": 0,
}

# What bears on seconds and memory: the number of steps and slices does not, nor do the data.
_SIZE_OF_COST = "width", "image_size"
_RECIPE_OF_COST = "upsample", "precision", "batch_size", "identity_weight", "average_decay"

CONFIRMED = "confirmed"
NOT_CONFIRMED = "not confirmed"
TOO_SMALL = "not decidable at this size"
OTHER_SETTING = "not decidable, other setting"
NOT_MEASURED = "not decidable, not measured"

# Below ten subjects a bootstrap interval is narrower than it should be, so it decides nothing.
LEAST_SUBJECTS = 10

# A tumour counts as found from here on: "good overlap" (Zou et al., 2004, Academic Radiology 11,
# after Zijdenbos et al., 1994, IEEE Transactions on Medical Imaging 13).
FOUND_DICE = 0.7

# Each network is trained once. Losses, seconds and memory that are nearer to each other than this
# are called equal.
_TELLING_RATIO = 1.1

# "Four times as long": 28.6 h by 6.9 h is 4.1; what rounds to a neighbour of 4 is another claim.
_FOUR_TIMES = (3.5, 4.5)


class Claim(NamedTuple):
    """One claim of the paper, and what the numbers say of it.

    Attributes:
        claim: in our words.
        place: where the paper makes it.
        verdict: CONFIRMED, NOT_CONFIRMED, TOO_SMALL, OTHER_SETTING or NOT_MEASURED.
        why: the numbers, in a sentence or two.
    """

    claim: str
    place: str
    verdict: str
    why: str


def judge_claims(comparison: Mapping[str, Any]) -> list[Claim]:
    """What the numbers say of each of the paper's claims, in the order in which it is read.

    A claim about what the networks learn needs scans, the paper's size (width, pixels, steps and
    training slices) and its recipe, and LEAST_SUBJECTS held-out subjects where it is measured over
    subjects. One about seconds or memory needs a GPU, the paper's width and pixels, and of its
    recipe what bears on them. Without these no number decides it; the number is told nevertheless.
    A difference is confirmed where its 95 % interval lies on the claim's side of 0 altogether, and
    a loss where it is a tenth lower.

    Args:
        comparison: of `compare_networks`.
    """
    resnet, unet = (comparison["networks"][name] for name in ("resnet", "unet"))
    both = (resnet, unet)
    differences = comparison["differences"]
    return [
        Claim(
            "The ResNet takes longer to train than the U-Net.",
            "section 4 and conclusion",
            *_judge_speed(both, lambda ratio: ratio >= _TELLING_RATIO),
        ),
        Claim(
            "It takes about four times as long.",
            "section 4: 28.6 h and 6.9 h",
            *_judge_speed(both, lambda ratio: _FOUR_TIMES[0] <= ratio < _FOUR_TIMES[1]),
        ),
        Claim(
            "The ResNet needs more memory.",
            "abstract, section 3.1, conclusion; without a number",
            *_judge_memory(both),
        ),
        Claim(
            "The generators' loss is lower with the ResNet.",
            "Table 2, Gen: 1.338 and 2.572; section 4",
            *_judge_loss(both, "Gen", lower="resnet"),
        ),
        Claim(
            "The discriminators tell real from made better with the U-Net.",
            "Table 2, Dis: 0.430 and 0.00489; section 4",
            *_judge_loss(both, "Dis", lower="unet"),
        ),
        Claim(
            "The U-Net marks the tumours where they are.",
            "figures 12 and 14, by eye",
            *_judge_dice(both, unet, lambda low, high: low >= FOUND_DICE),
        ),
        Claim(
            "The ResNet does not find their exact place.",
            "figures 12 and 14, by eye",
            *_judge_dice(both, resnet, lambda low, high: high < FOUND_DICE),
        ),
        Claim(
            "The U-Net segments tumours more accurately than the ResNet.",
            "abstract and conclusion, by eye",
            *_judge_difference(both, differences["segmentation"], {"dice": -1}),
        ),
        Claim(
            "Both networks draw MR slices of high quality from masks.",
            "figures 13 and 15, by eye",
            *_judge_quality(both),
        ),
        Claim(
            "The ResNet's MR slices are better than the U-Net's.",
            "abstract, figures 13 and 15, by eye",
            *_judge_difference(
                both,
                differences["translation"] and differences["translation"]["b_to_a"],
                {"ssim": 1, "mae": -1},
            ),
        ),
    ]


def _judge_speed(
    both: Sequence[Mapping[str, Any]], holds: Callable[[float], bool]
) -> tuple[str, str]:
    resnet, unet = (run["seconds_per_step"] for run in both)
    if not resnet or not unet:
        return NOT_MEASURED, "The runs have no record of their seconds a step."
    ratio = resnet / unet
    found = f"{resnet:.3g} s a step and {unet:.3g} s, {ratio:.2g} times as long."
    if both[0]["devices"] != both[1]["devices"]:
        return NOT_MEASURED, f"{found} They were trained on different devices."
    return _decide(holds(ratio), found, *_lacks_for_cost(both))


def _judge_memory(both: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    resnet, unet = (run["peak_memory_mib"] for run in both)
    if not resnet or not unet:
        return NOT_MEASURED, "The runs have no record of their memory."
    ratio = resnet / unet
    found = f"At most {resnet:,.0f} MiB and {unet:,.0f} MiB, {ratio:.2g} times as much."
    if both[0]["devices"] != both[1]["devices"]:
        return NOT_MEASURED, f"{found} They were trained on different devices."
    # Of a narrow network most is of the program and its compiling, which no claim is about.
    return _decide(ratio >= _TELLING_RATIO, found, *_lacks_for_cost(both))


def _judge_loss(both: Sequence[Mapping[str, Any]], row: str, lower: str) -> tuple[str, str]:
    resnet, unet = (run["table2"]["train"][row] for run in both)
    less, more = (resnet, unet) if lower == "resnet" else (unet, resnet)
    found = f"{row} on training slices: {resnet:.3g} with the ResNet, {unet:.3g} with the U-Net."
    return _decide(less * _TELLING_RATIO <= more, found, *_lacks_for_learning(both))


def _judge_dice(
    both: Sequence[Mapping[str, Any]],
    run: Mapping[str, Any],
    holds: Callable[[float, float], bool],
) -> tuple[str, str]:
    if run["segmentation"] is None:
        return NOT_MEASURED, "No true masks are known."
    dice = run["segmentation"]["summary"]["dice"]
    found = f"Dice {show_estimate(dice)}; a tumour counts as found from {FOUND_DICE} on."
    interval = dice["interval_95"]
    return _decide(interval and holds(*interval), found, *_lacks_for_learning(both, dice))


def _judge_difference(
    both: Sequence[Mapping[str, Any]],
    differences: Mapping[str, Mapping[str, Any]] | None,
    signs: Mapping[str, int],
) -> tuple[str, str]:
    """The claim holds where each metric's interval lies on the side of 0 that `signs` names."""
    if differences is None:
        return NOT_MEASURED, "No true partners are known."
    titles = {"dice": ("Dice", "+.2f"), "ssim": ("SSIM", "+.3f"), "mae": ("MAE", "+.3f")}
    chosen = [differences[metric] for metric in signs]
    found = "ResNet minus U-Net: " + ", ".join(
        f"{titles[metric][0]} {show_estimate(differences[metric], titles[metric][1])}"
        for metric in signs
    )
    holds = all(
        summary["interval_95"] and min(sign * end for end in summary["interval_95"]) > 0
        for sign, summary in zip(signs.values(), chosen, strict=True)
    )
    return _decide(holds, f"{found}.", *_lacks_for_learning(both, chosen[0]))


def _judge_quality(both: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    why = "The paper names no measure and no bound; judge by the pictures of figures 13 and 15."
    if any(run["translation"] is None for run in both):
        return NOT_MEASURED, why
    resnet, unet = (show_estimate(run["translation"]["b_to_a"]["ssim"]) for run in both)
    return NOT_MEASURED, f"{why} SSIM to the true scan: ResNet {resnet}, U-Net {unet}."


def _decide(
    holds: Any, found: str, missing: Sequence[str], departures: Sequence[str]
) -> tuple[str, str]:
    """The verdict, and the numbers with what stands in the way of one."""
    if missing or departures:
        side = "as the paper claims" if holds else "not as the paper claims"
        why = f"{found} So far {side}, but {', '.join([*missing, *departures])}."
        return (TOO_SMALL if missing else OTHER_SETTING), why
    return (CONFIRMED if holds else NOT_CONFIRMED), found


def _lacks_for_learning(
    both: Sequence[Mapping[str, Any]], over_subjects: Mapping[str, Any] | None = None
) -> tuple[list[str], list[str]]:
    """By what the runs are smaller than the paper's, and in what they are another experiment."""
    missing = _missing_size(both, PAPER_SIZE)
    if over_subjects and over_subjects["subjects"] < LEAST_SUBJECTS:
        missing.append(
            f"the number of held-out subjects is {over_subjects['subjects']} of {LEAST_SUBJECTS}"
        )
    phantom = ["the data are a phantom"] if any(run["phantom"] for run in both) else []
    return missing, phantom + _other_recipe(both, PAPER_RECIPE)


def _lacks_for_cost(both: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """The same where the claim is about seconds or memory."""
    device = ["they were trained without a GPU"] if "cpu" in both[0]["devices"] else []
    return _missing_size(both, _SIZE_OF_COST), device + _other_recipe(both, _RECIPE_OF_COST)


def _missing_size(both: Sequence[Mapping[str, Any]], sizes: Iterable[str]) -> list[str]:
    nouns = {
        "width": "the width",
        "image_size": "the image's side",
        "steps": "the number of steps",
        "train_slices": "the number of training slices",
    }
    least = {name: min(run[name] for run in both) for name in sizes}
    return [
        f"{nouns[name]} is {value:,} of {PAPER_SIZE[name]:,}"
        for name, value in least.items()
        if value < PAPER_SIZE[name]
    ]


def _other_recipe(both: Sequence[Mapping[str, Any]], flags: Iterable[str]) -> list[str]:
    other = [
        name for name in flags if any(run["recipe"][name] != PAPER_RECIPE[name] for run in both)
    ]
    return [f"the recipe is not the paper's in {', '.join(other)}"] if other else []


def show_estimate(summary: Mapping[str, Any], form: str = ".2f") -> str:
    """'0.80 (0.74 to 0.85)'."""
    if summary["mean"] is None:
        return "undefined"
    text = f"{summary['mean']:{form}}"
    if summary["interval_95"]:
        text += " ({:{form}} to {:{form}})".format(*summary["interval_95"], form=form)
    return text
