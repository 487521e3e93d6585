"""What the numbers of a DCGAN's evaluation say, and what they don't, in plain words.

A verdict claims no more than the intervals carry.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from brainsynth_jax.evaluation import copies, distances
from brainsynth_jax.evaluation.report import count, short, show_percent, show_range, warn_of_few

DISTANCES = {"kid": "kernel distance (KID)", "frechet": "Fréchet distance"}
_COMPARED = {"test": "held-out", "train": "training"}
_LIKENESS = {
    "further": "Samples are further from {compared} slices than real slices of different subjects "
    "are from each other: the whole interval lies above what real ones show.",
    "nearer": "Samples are nearer to {compared} slices than real slices of different subjects are "
    "to each other. They may be copies, or these subjects ordinary ones.",
    "open": "Samples are not shown to be further from {compared} slices than real slices of "
    "different subjects are from each other, which is no proof that they are as good.",
    "unknown": "There is too little to compare with, so it stays open.",
}


class Answer(NamedTuple):
    """What a reader asks first, what can be said to it, and the numbers behind that."""

    question: str
    verdict: str
    evidence: str = ""


def answer_questions(evaluation: Mapping[str, Any]) -> list[Answer]:
    """The answers, most important first, from what evaluation.json holds."""
    answers = [
        _introduce(evaluation),
        _judge_likeness(evaluation),
        _judge_variety(evaluation["ms_ssim"]),
        _judge_copies(evaluation["copies"]),
        _judge_grid(evaluation["grid_energy"]),
        _judge_gaps(evaluation["critic_gap"]),
        _name_network(evaluation),
    ]
    return [_tell_collapse(evaluation), *answers] if evaluation["collapse"] else answers


def distance_ratio(distance: Mapping[str, Any]) -> str:
    """Samples' distance by real slices'; "" where the latter is too near to 0 to divide by."""
    if distance["floor"] is None or distance["floor_range"][0] <= 0 or distance["value"] <= 0:
        return ""
    return short(distance["value"] / distance["floor"])


def _tell_collapse(evaluation: Mapping[str, Any]) -> Answer:
    collapse, step = evaluation["collapse"], evaluation["step"]
    when = "before" if step < collapse["step"] else "not before"
    return Answer(
        "This run went bad.",
        f"By epoch {collapse['epoch']} (step {collapse['step']:,}) {collapse['reason']}. What is "
        f"shown here is from step {step:,}, {when} that was seen.",
    )


def _introduce(evaluation: Mapping[str, Any]) -> Answer:
    split = evaluation[evaluation["compared_with"]]
    compared = f"{count(split['slices'], 'real slice')} of {count(split['subjects'], 'subject')}"
    made = f"{count(evaluation['samples'], 'slice')} drawn from noise, of no patient, beside"
    if not evaluation["test"]:
        return Answer(
            "What is this?",
            f"{made} {compared} that the generator was trained on. No subject was held out, so the "
            "numbers flatter a generator that copies.",
        )
    caution = warn_of_few(split["subjects"]) if split["subjects"] > 1 else []
    return Answer("What is this?", f"{made} {compared} kept out of training.", " ".join(caution))


def _judge_likeness(evaluation: Mapping[str, Any]) -> Answer:
    compared = _COMPARED[evaluation["compared_with"]]
    verdicts = {name: _compare_to_floor(name, evaluation[name]) for name in DISTANCES}
    if len(set(verdicts.values())) == 1:
        verdict = _LIKENESS[verdicts["kid"]].format(compared=compared)
    else:
        verdict = " ".join(
            f"By the {DISTANCES[name]}: {text[0].lower()}{text[1:]}"
            for name, key in verdicts.items()
            for text in [_LIKENESS[key].format(compared=compared)]
        )
    evidence = " ".join(_tell_distance(name, evaluation[name]) for name in DISTANCES)
    return Answer("Like real slices?", verdict, evidence)


def _compare_to_floor(name: str, distance: Mapping[str, Any]) -> str:
    """What the interval and the floor allow to say, a key of `_LIKENESS`."""
    if None in (distance["value"], distance["floor"], distance["interval_95"]):
        return "unknown"
    low, high = distance["interval_95"]
    lowest, highest = distance["floor_range"]
    if low > highest:
        return "further"
    return "nearer" if high < lowest and not _has_raised_floor(name, distance) else "open"


def _has_raised_floor(name: str, distance: Mapping[str, Any]) -> bool:
    """Whether the floor is too high: the Fréchet distance grows as images get fewer."""
    return name == "frechet" and distance["floor_images"] != distance["images"]


def _tell_distance(name: str, distance: Mapping[str, Any]) -> str:
    label = f"{DISTANCES[name][0].upper()}{DISTANCES[name][1:]}"
    if distance["value"] is None:
        return (
            f"{label}: left out, as it needs {distances.LEAST_IMAGES} images on either side, and "
            f"here are {distance['images'][0]} and {distance['images'][1]}."
        )
    ours = f"{label}: {_estimate(distance['value'], distance['interval_95'])}"
    if distance["floor"] is None:
        return f"{ours}; the real slices are too few to measure it between them."
    ratio = distance_ratio(distance)
    times = f"{ratio} times the" if ratio else "beside"
    fewer = _has_raised_floor(name, distance)
    return (
        f"{ours}, {times} {short(distance['floor'])} between real slices "
        f"({show_range(distance['floor_range'])}, as the subjects are divided"
        f"{'; of fewer slices, which raises it' if fewer else ''})."
    )


def _judge_variety(ms_ssim: Mapping[str, Any]) -> Answer:
    question = "As varied as real slices?"
    made, real = ms_ssim["samples"], ms_ssim["real"]
    if made["mean"] is None or real["mean"] is None:
        return Answer(question, "Left out: it needs two samples and real slices of two subjects.")
    if made["interval_95"] is None or real["interval_95"] is None:
        verdict = "Without an interval a difference can't be told from chance."
    elif made["interval_95"][0] > real["interval_95"][1]:
        verdict = "Less: samples are more alike than real slices are."
    elif made["interval_95"][1] < real["interval_95"][0]:
        verdict = "Samples are less alike than real slices are, which is no merit in itself."
    else:
        verdict = "No difference in variety is shown."
    return Answer(
        question,
        verdict,
        "Mean structural similarity (MS-SSIM) of two samples: "
        f"{_estimate(made['mean'], made['interval_95'])}; of training slices of two subjects: "
        f"{_estimate(real['mean'], real['interval_95'])}. Far above real slices, towards 1, it is "
        "mode collapse: one picture drawn again and again. Far below, it is noise or shapes that "
        "are no brains.",
    )


def _judge_copies(summary: Mapping[str, Any] | None) -> Answer:
    question = "Copies of training slices?"
    if summary is None:
        return Answer(
            question, "Left out: without held-out subjects nothing says how near is too near."
        )
    if summary["copied"] is None:
        return Answer(question, f"Left out: {_tell_no_yardstick(summary)}.")
    side = copies.COMPARED_SIZE
    shares = {name: found / summary["samples"] for name, found in summary["verdicts"].items()}
    return Answer(
        question,
        "Yes: some samples are nearer to a training slice than fresh patients' slices come."
        if summary["copied"]
        else "Not by this measure.",
        f"{show_percent(shares['suspicious'])} of samples are suspicious: so near to a training "
        "slice, by pixels or by features, as fresh patients' slices hardly come. Another "
        f"{show_percent(shares['near'])} are near: nearer than 99 % of the slices of every "
        "held-out subject, as 3 to 13 % of fresh BraTS slices are, and more where pictures are "
        f"blurred, which brings them near to everything. {_tell_authenticity(summary)}At "
        f"{side} x {side} pixels a copied detail, such as one tumour, goes unseen.",
    )


def _tell_no_yardstick(summary: Mapping[str, Any]) -> str:
    slices, subjects = copies.LEAST_IMAGES, copies.LEAST_SUBJECTS
    enough = min(summary["samples"], summary["heldout"]) >= slices
    if enough and summary["heldout_subjects"] >= subjects:
        return "held-out slices equal training slices, so nothing says how near is too near"
    return (
        f"it needs {slices} samples and as many held-out slices, of {subjects} subjects, and here "
        f"are {summary['samples']} and {summary['heldout']}, of {summary['heldout_subjects']}"
    )


def _tell_authenticity(summary: Mapping[str, Any]) -> str:
    shares = summary["authenticity"]
    if None in shares.values():
        return ""
    return (
        "Authentic, that is further from the nearest training slice than this from slices of other "
        f"subjects, are {show_percent(shares['samples'])} of samples and "
        f"{show_percent(shares['heldout'])} of held-out slices. "
    )


def _judge_grid(grid: Mapping[str, Any]) -> Answer:
    return Answer(
        "A grid in the pictures?",
        f"{short(grid['ratio'])} times that of real slices; 1 is none.",
        "How far the spectrum stands out at the frequencies of the network's up-sampling. There is "
        "no interval, so a little more or less than 1 means nothing.",
    )


def _judge_gaps(gaps: Mapping[str, float | None]) -> Answer:
    question = "Training slices known by heart?"
    train = f"The discriminator scores training slices {_gap(gaps['train'])} samples"
    if gaps["test"] is None:
        return Answer(question, "Left out: there are no held-out slices to score.", f"{train}.")
    return Answer(
        question,
        f"{train}, held-out slices {_gap(gaps['test'])}.",
        "In its own units, without an interval. Held-out slices far below training slices are a "
        "sign that it knows these by heart (over-training).",
    )


def _gap(gap: float) -> str:
    return f"{short(abs(gap))} {'above' if gap >= 0 else 'below'}"


def _name_network(evaluation: Mapping[str, Any]) -> Answer:
    weights = {
        "ema": "the running average of the generator's weights (EMA)",
        "raw": "the generator's weights as the last step left them",
    }[evaluation["weights"]]
    sampling = evaluation["sampling"]
    return Answer(
        "Which network?",
        f"All numbers are of {weights}, after {count(evaluation['step'], 'step')}, from the "
        f'checkpoint "{evaluation["checkpoint"]}".',
        f"How the best is chosen: {evaluation['best_rule']} Samples are drawn with seed "
        f"{sampling['seed']}, dropout {'on' if sampling['dropout'] else 'off'}.",
    )


def _estimate(value: float, interval: Sequence[float] | None) -> str:
    if interval is None:
        return f"{short(value)} (no interval)"
    return f"{short(value)} (95 % interval {show_range(interval)})"
