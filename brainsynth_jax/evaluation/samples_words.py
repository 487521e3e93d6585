"""What the numbers of synthetic slices say, and what they don't, in plain words.

A verdict claims no more than the intervals, and the ranges of real slices, carry. Each answer has
one line of evidence; the table has the rest.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from brainsynth_jax.evaluation import copies, distances, grid, neighbours
from brainsynth_jax.evaluation.report import count, short, show_percent, show_range, warn_of_few

DISTANCES = {"kid": "kernel distance (KID)", "frechet": "Fréchet distance"}
_COMPARED = {"test": "held-out", "train": "training"}
_OTHERS = "; real slices of other subjects: "
_LIKENESS = {
    "further": "Samples are further from {compared} slices than real slices of different subjects "
    "are from each other: the whole interval lies above what real ones show.",
    "nearer": "Samples are nearer to {compared} slices than real slices of different subjects are "
    "to each other. They may be copies, or these subjects ordinary ones.",
    "open": "Samples are not shown to be further from {compared} slices than real slices of "
    "different subjects are from each other, which is no proof that they are as good.",
    "unknown": "There is too little to compare with, so it stays open.",
}
# Fewer can be halved in fewer ways than are drawn, so that a range says little of how they differ.
_LEAST_TO_DIVIDE = 6
_VARIETY = {
    "less": "Less: samples are more alike than real slices are.",
    "more": "Samples are less alike than real slices are, which is no merit in itself: noise is, "
    "and so are shapes that are no brains.",
    "open": "No difference in variety is shown.",
    "unknown": "There is too little to tell a difference from chance.",
}


class Answer(NamedTuple):
    """What a reader asks first, what can be said to it, and the numbers behind that."""

    question: str
    verdict: str
    evidence: str = ""


def introduce_samples(evaluation: Mapping[str, Any], made: str) -> Answer:
    """What is compared with what; `made` says how, as in "drawn from noise, of no patient"."""
    split = evaluation[evaluation["compared_with"]]
    subjects = split["subjects"]
    whose = "unknown subjects" if subjects is None else count(subjects, "subject")
    compared = f"{count(split['slices'], 'real slice')} of {whose}"
    samples = f"{count(evaluation['samples'], 'slice')} {made}, beside"
    if not evaluation["test"]:
        return Answer(
            "What is this?",
            f"{samples} {compared} that the generator was trained on. No subject was held out, so "
            "the numbers flatter a generator that copies.",
        )
    caution = []
    if subjects is None:
        caution = [
            "Nothing tells which slices are of one subject, so nothing is compared between "
            "subjects: there are no intervals, and no verdict on copies."
        ]
    elif subjects > 1:
        caution = warn_of_few(subjects)
    return Answer("What is this?", f"{samples} {compared} kept out of training.", " ".join(caution))


def judge_samples(evaluation: Mapping[str, Any]) -> list[Answer]:
    """Like real slices, as varied, copied, with a grid? From what `evaluate_samples` gives."""
    return [
        _judge_likeness(evaluation),
        _judge_variety(evaluation),
        _judge_copies(evaluation),
        _judge_grid(evaluation["grid_energy"]),
    ]


def distance_ratio(distance: Mapping[str, Any]) -> str:
    """Samples' distance by real slices'; "" where the latter is too near to 0 to divide by."""
    if None in (distance["value"], distance["floor"]):
        return ""
    if distance["floor_range"][0] <= 0 or distance["value"] <= 0:
        return ""
    return short(distance["value"] / distance["floor"])


def _judge_likeness(evaluation: Mapping[str, Any]) -> Answer:
    compared, overlap = _COMPARED[evaluation["compared_with"]], evaluation["overlap"]
    verdicts = {DISTANCES[name]: _compare_to_floor(name, evaluation[name]) for name in DISTANCES}
    sentences = {key: text.format(compared=compared) for key, text in _LIKENESS.items()}
    short_of = _list_shortfalls(evaluation, "precision", "coverage")
    told = [_tell_distance(name, evaluation[name]) for name in DISTANCES]
    agreed = len(set(verdicts.values())) == 1
    shares = ""
    if overlap["precision"]["value"] is not None:
        among = _tell_share(
            overlap["precision"], f"of samples lie among {compared} slices", f"precision{_OTHERS}"
        )
        near = _tell_share(overlap["coverage"], "of those slices have a sample near", "coverage; ")
        shares = f"{among}, and {near}."
    return Answer(
        "Like real slices?",
        _say_together(verdicts, sentences, "further", short_of),
        " ".join(filter(None, [*(told[:1] if agreed else told), shares])),
    )


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
        return (
            f"{ours}; too few real slices are known to be of different subjects to measure it "
            "between these."
        )
    ratio = distance_ratio(distance)
    times = f"{ratio} times the" if ratio else "beside"
    fewer = _has_raised_floor(name, distance)
    return (
        f"{ours}, {times} {short(distance['floor'])} between real slices "
        f"({show_range(distance['floor_range'])}, as the subjects are divided"
        f"{'; of fewer slices, which raises it' if fewer else ''})."
    )


def _judge_variety(evaluation: Mapping[str, Any]) -> Answer:
    question = "As varied as real slices?"
    made, real = evaluation["ms_ssim"]["samples"], evaluation["ms_ssim"]["real"]
    vendi, recall = evaluation["diversity"], evaluation["overlap"]["recall"]
    verdicts, evidence = {}, []
    if None not in (made["mean"], real["mean"]):
        verdicts["similarity of pairs (MS-SSIM)"] = _compare_intervals(made, real)
        evidence.append(
            "Similarity of two samples (MS-SSIM): "
            f"{_estimate(made['mean'], made['interval_95'])}; of training slices of two subjects: "
            f"{_estimate(real['mean'], real['interval_95'])}."
        )
    if vendi["ratio"] is not None:
        verdicts["Vendi score"] = _compare_to_halves(vendi)
        halves = vendi["ratio_of_halves"]
        evidence.append(
            f"Different slices in effect (Vendi score): {short(vendi['ratio'])} times those in as "
            "many training slices"
            f"{f' (between halves of their subjects: {show_range(halves)})' if halves else ''}."
        )
    if not verdicts:
        return Answer(question, "Left out: it needs more samples, and real slices of two subjects.")
    if recall["value"] is not None:
        compared = _COMPARED[evaluation["compared_with"]]
        told = _tell_share(recall, f"of {compared} slices lie among samples", f"recall{_OTHERS}")
        evidence.append(f"{told}.")
    evidence.append(_tell_spread(evaluation["subject_spread"]))
    short_of = _list_shortfalls(evaluation, "recall")
    return Answer(
        question,
        _say_together(verdicts, _VARIETY, "less", short_of),
        " ".join(filter(None, evidence)),
    )


def _compare_intervals(made: Mapping[str, Any], real: Mapping[str, Any]) -> str:
    """What both intervals of the MS-SSIM allow to say, a key of `_VARIETY`."""
    if None in (made["interval_95"], real["interval_95"]):
        return "unknown"
    if made["interval_95"][0] > real["interval_95"][1]:
        return "less"
    return "more" if made["interval_95"][1] < real["interval_95"][0] else "open"


def _compare_to_halves(diversity: Mapping[str, Any]) -> str:
    """What the halves of the real subjects allow to say of the ratio, a key of `_VARIETY`."""
    if diversity["ratio_of_halves"] is None or diversity["subjects"] < _LEAST_TO_DIVIDE:
        return "unknown"
    lowest, highest = diversity["ratio_of_halves"]
    if diversity["ratio"] < lowest:
        return "less"
    return "more" if diversity["ratio"] > highest else "open"


def _tell_spread(spread: Mapping[str, Any]) -> str:
    if spread["effective_subjects"] is None:
        return ""
    heldout, subjects = spread["heldout"], f"of {spread['subjects']} training subjects in effect"
    if heldout is None:
        return f"Samples fall on {short(spread['effective_subjects'])} {subjects}."
    return (
        f"Samples fall on {short(heldout['effective_subjects_of_samples'])} {subjects}, as many "
        f"held-out slices on {short(heldout['effective_subjects'])}."
    )


def _tell_share(measure: Mapping[str, Any], what: str, beside: str) -> str:
    """'31 % of all (recall; 50 to 71 %)' for "of all", "recall; " and the range of real slices."""
    if measure["real_range"] is None:
        return f"{100 * measure['value']:.0f} % {what} ({beside.partition(';')[0]})"
    low, high = (f"{100 * share:.0f}" for share in measure["real_range"])
    return f"{100 * measure['value']:.0f} % {what} ({beside}{low} to {high} %)"


def _list_shortfalls(evaluation: Mapping[str, Any], *names: str) -> list[str]:
    """The measures by which no cut of samples reaches any division of real slices."""
    splits = [evaluation[name] for name in ("train", "test") if evaluation[name]]
    if sum(split["subjects"] or 1 for split in splits) < _LEAST_TO_DIVIDE:
        return []
    return [name for name in names if _falls_short(evaluation["overlap"][name])]


def _falls_short(measure: Mapping[str, Any]) -> bool:
    if None in (measure["value"], measure["real_range"]):
        return False
    return max(measure["range"] or [measure["value"]]) < measure["real_range"][0]


def _say_together(
    verdicts: Mapping[str, str], sentences: Mapping[str, str], worst: str, short_of: Sequence[str]
) -> str:
    """One sentence where all measures agree, else one for each.

    Args:
        verdicts: measure -> key of `sentences`.
        sentences: "open" and "unknown" among them.
        worst: the verdict to which shortfalls add nothing.
        short_of: measures by which samples fall short all the same.
    """
    low = " and ".join(short_of)
    if low and set(verdicts.values()) <= {"open", "unknown"}:
        return (
            f"Less so than real slices of other subjects, by {low}; by the other measures it stays "
            "open."
        )
    if len(set(verdicts.values())) == 1:
        said = sentences[next(iter(verdicts.values()))]
    else:
        told = {name: sentences[key] for name, key in verdicts.items()}
        said = " ".join(
            f"By the {name}: {text[0].lower()}{text[1:]}" for name, text in told.items()
        )
    if low and worst not in verdicts.values():
        return f"{said} Yet by {low} they fall short of what real slices of other subjects reach."
    return said


def _judge_copies(evaluation: Mapping[str, Any]) -> Answer:
    question, summary = "Copies of training slices?", evaluation["copies"]
    if summary is None:
        return Answer(
            question, "Left out: without held-out subjects nothing says how near is too near."
        )
    if summary["copied"] is None:
        return Answer(question, f"Left out: {_tell_no_yardstick(evaluation)}.")
    side = neighbours.COMPARED_SIZE
    shares = {name: found / summary["samples"] for name, found in summary["verdicts"].items()}
    return Answer(
        question,
        _tell_copies(summary),
        f"{show_percent(shares['suspicious'])} of samples are suspicious: so near to a training "
        "slice, by pixels or by features, as fresh patients' slices hardly come. Another "
        f"{show_percent(shares['near'])} are near: nearer than 99 % of the slices of every "
        "held-out subject, as 3 to 13 % of fresh BraTS slices are, and more where pictures are "
        f"blurred. At {side} x {side} pixels a copied detail, such as one tumour, goes unseen.",
    )


def _tell_copies(summary: Mapping[str, Any]) -> str:
    found = summary["verdicts"]["suspicious"]
    if not found:
        return "None was found by this measure."
    some = f"{found:,} of {summary['samples']:,} samples {'is' if found == 1 else 'are'}"
    if summary["copied"]:
        return (
            f"Yes: {some} nearer to a training slice than fresh patients' slices come; copies.csv "
            "names them."
        )
    return (
        f"Most likely: {some} nearer to a training slice than fresh patients' slices "
        "come. Look at the closest pairs; copies.csv names them."
    )


def _tell_no_yardstick(evaluation: Mapping[str, Any]) -> str:
    if evaluation["test"]["subjects"] is None:
        return "held-out subjects tell how near is too near, and whose slices these are is unknown"
    summary = evaluation["copies"]
    slices, subjects = copies.LEAST_IMAGES, copies.LEAST_SUBJECTS
    enough = min(summary["samples"], summary["heldout"]) >= slices
    if enough and summary["heldout_subjects"] >= subjects:
        return "held-out slices equal training slices, so nothing says how near is too near"
    return (
        f"it needs {slices} samples and as many held-out slices, of {subjects} subjects, and here "
        f"are {summary['samples']} and {summary['heldout']}, of {summary['heldout_subjects']}"
    )


def _judge_grid(energy: Mapping[str, Any] | None) -> Answer:
    question = "A grid in the pictures?"
    if energy is None:
        return Answer(
            question,
            f"Left out: it needs pictures whose side is a multiple of {grid.LONGEST_PERIOD} pixels "
            f"and at least {grid.SMALLEST_SIDE}.",
        )
    return Answer(
        question,
        f"{short(energy['ratio'])} times that of real slices; 1 is none.",
        "How far the spectrum stands out at the frequencies of the network's up-sampling. There is "
        "no interval, so a little more or less than 1 means nothing.",
    )


def _estimate(value: float, interval: Sequence[float] | None) -> str:
    if interval is None:
        return f"{short(value)} (no interval)"
    return f"{short(value)} (95 % interval {show_range(interval)})"
