"""The numbers of synthetic slices as a page shows them: a table, and strips.

`samples_parts.html` draws both.
"""

from collections.abc import Mapping, Sequence
from math import ceil, floor, log10
from typing import Any, NamedTuple

from brainsynth_jax.evaluation import distances, diversity, manifold, neighbours
from brainsynth_jax.evaluation.report import count, short, show_percent, show_range
from brainsynth_jax.evaluation.samples_words import DISTANCES, distance_ratio

_TABLED = {
    **DISTANCES,
    "frechet_extrapolated": "Fréchet distance, extrapolated to infinitely many slices",
}
_DISTANCE_MEANINGS = {
    "kid": "unbiased, so about 0 for two sets of one kind; no units",
    "frechet": "squared units of the features; grows as images get fewer",
    "frechet_extrapolated": "squared units of the features; about 0 for two sets of one kind",
}
_OVERLAP = {
    "precision": ("share of samples that lie among real slices", "as real, more if blurred"),
    "recall": ("share of real slices that lie among samples", "as real"),
    "coverage": ("share of real slices with a sample near", "as real"),
    "density": ("how thickly samples lie among real slices", "as real; above, they crowd"),
}


class Numbers(NamedTuple):
    """What `samples_parts.html` shows.

    Attributes:
        rows: of the table.
        left_out: sentences that name what is not in it, and why.
        strips: some of it drawn.
        space: the feature space, as in evaluation.json.
    """

    rows: list["Row"]
    left_out: list[str]
    strips: list["Strip"]
    space: Mapping[str, Any]


class Cell(NamedTuple):
    """A number of the table.

    Attributes:
        value: the number itself, "" for none.
        interval: how far it can be trusted, "" where that is not known.
        basis: what it was measured on.
    """

    value: str = ""
    interval: str = ""
    basis: str = ""


class Row(NamedTuple):
    """A line of the table: what, samples, real slices, the first by the second, what is good."""

    name: str
    meaning: str
    made: Cell
    real: Cell
    ratio: str
    good: str


class Strip(NamedTuple):
    """Samples and real slices on one axis.

    Attributes:
        title: of the axis.
        lanes: (name, CSS class, place, interval of places or None) of each, in parts of the axis.
        ticks: (place, label).
    """

    title: str
    lanes: list[tuple[str, str, float, list[float] | None]]
    ticks: list[tuple[float, str]]


def show_numbers(evaluation: Mapping[str, Any]) -> Numbers:
    """From what `evaluate_samples` gives."""
    return Numbers(
        _rows(evaluation),
        _list_left_out(evaluation),
        _strips(evaluation),
        evaluation["feature_space"],
    )


def _rows(evaluation: Mapping[str, Any]) -> list[Row]:
    """The table of numbers: those that there are."""
    return [
        *(
            _distance_row(label, _DISTANCE_MEANINGS[name], evaluation[name])
            for name, label in _TABLED.items()
            if evaluation[name]["value"] is not None
        ),
        *_overlap_rows(evaluation["overlap"]),
        *_similarity_rows(evaluation["ms_ssim"]),
        *_diversity_rows(evaluation["diversity"]),
        *_spread_rows(evaluation["subject_spread"]),
        *_grid_rows(evaluation["grid_energy"]),
        *_copies_rows(evaluation["copies"]),
    ]


def _distance_row(label: str, meaning: str, distance: Mapping[str, Any]) -> Row:
    def basis(images: Sequence[int]) -> str:
        return f"{images[0]:,} and {images[1]:,} slices"

    real = Cell()
    if distance["floor"] is not None:
        real = Cell(
            short(distance["floor"]),
            show_range(distance["floor_range"]),
            basis(distance["floor_images"]),
        )
    return Row(
        _title(label),
        meaning,
        Cell(
            short(distance["value"]), show_range(distance["interval_95"]), basis(distance["images"])
        ),
        real,
        distance_ratio(distance),
        "as low as between real slices",
    )


def _overlap_rows(overlap: Mapping[str, Any]) -> list[Row]:
    if overlap["compared_images"] is None:
        return []
    basis = f"{overlap['compared_images']:,} slices a side"
    rows = []
    for name, (meaning, good) in _OVERLAP.items():
        measure, show = overlap[name], short if name == "density" else show_percent
        cells = [
            Cell()
            if measure[value] is None
            else Cell(show(measure[value]), " to ".join(map(show, measure[spread] or ())), basis)
            for value, spread in (("value", "range"), ("real", "real_range"))
        ]
        ratio = _ratio(measure["value"], measure["real"])
        rows.append(Row(name.capitalize(), meaning, *cells, ratio, good))
    return rows


def _similarity_rows(ms_ssim: Mapping[str, Any]) -> list[Row]:
    made, real = ms_ssim["samples"], ms_ssim["real"]
    if None in (made["mean"], real["mean"]):
        return []
    cells = (
        Cell(
            short(part["mean"]),
            show_range(part["interval_95"]),
            f"{part['pairs']} pairs of {count(part['images'], 'slice')}",
        )
        for part in (made, real)
    )
    return [
        Row(
            "MS-SSIM of pairs",
            "0 to 1, 1 for equal images",
            *cells,
            _ratio(made["mean"], real["mean"]),
            "as real: above is too alike, below may be noise",
        )
    ]


def _diversity_rows(vendi: Mapping[str, Any]) -> list[Row]:
    if vendi["ratio"] is None:
        return []
    halves = vendi["ratio_of_halves"]
    good = f"1; half of the subjects by the other: {show_range(halves)}" if halves else "1"
    basis = f"{vendi['images']:,} slices"
    return [
        Row(
            "Vendi score",
            "effective number of different slices, 1 to all",
            Cell(short(vendi["samples"]), basis=basis),
            Cell(short(vendi["real"]), basis=f"{basis} of training"),
            short(vendi["ratio"]),
            good,
        )
    ]


def _spread_rows(spread: Mapping[str, Any]) -> list[Row]:
    if spread["effective_subjects"] is None:
        return []
    heldout = spread["heldout"]
    if heldout is None:
        made, images = spread["effective_subjects"], spread["samples"]
        real = Cell()
    else:
        made, images = heldout["effective_subjects_of_samples"], heldout["images"]
        basis = f"{images:,} slices of {count(heldout['subjects'], 'subject')}"
        real = Cell(short(heldout["effective_subjects"]), basis=basis)
    return [
        Row(
            "Training subjects drawn on",
            "effective number of those whose slices are nearest, by features; "
            f"{spread['subjects']} there are",
            Cell(short(made), basis=count(images, "slice")),
            real,
            "",
            "more than held-out slices, which are of few subjects",
        )
    ]


def _grid_rows(grid: Mapping[str, Any] | None) -> list[Row]:
    if grid is None:
        return []
    return [
        Row(
            "Grid energy",
            "power at the frequencies of the up-sampling by that around them",
            Cell(short(grid["samples"])),
            Cell(short(grid["real"])),
            short(grid["ratio"]),
            "1 times the real",
        )
    ]


def _copies_rows(summary: Mapping[str, Any] | None) -> list[Row]:
    if summary is None or summary["copied"] is None:
        return []
    made, real = (count(summary[name], "slice") for name in ("samples", "heldout"))
    side = neighbours.COMPARED_SIZE
    rows = [
        *_nearness_rows(summary, "pixels", f"at {side} x {side} pixels, 0 to 2", made, real),
        *_nearness_rows(summary["features"], "features", "of the features", made, real),
    ]
    shares = summary["authenticity"]
    if None not in shares.values():
        rows.append(
            Row(
                "Authentic",
                "further from the nearest training slice than this from slices of other subjects, "
                "by features",
                Cell(show_percent(shares["samples"]), basis=made),
                Cell(show_percent(shares["heldout"]), basis=real),
                "",
                "not far below held-out",
            )
        )
    return rows


def _nearness_rows(
    summary: Mapping[str, Any], space: str, unit: str, made: str, real: str
) -> list[Row]:
    distances = [
        Row(
            f"Distance to the nearest training slice by {space}, {label}",
            f"root-mean-square {unit}",
            Cell(short(summary[name]), basis=made),
            Cell(short(summary[f"heldout_{name}"]), basis=real),
            "" if summary[f"{name}_ratio"] is None else short(summary[f"{name}_ratio"]),
            "not far below held-out",
        )
        for name, label in (("median", "median"), ("percentile_5", "lowest 5 %"))
    ]
    shares = [
        Row(
            f"{label} by {space}",
            f"samples nearer than {short(summary[name])} to a training slice, {meaning}",
            Cell(show_percent(summary[f"{name}_share"]), basis=made),
            Cell(),
            "",
            good,
        )
        for name, label, meaning, good in (
            ("near", "Near", "as some fresh slices are", "a few %, more if blurred"),
            ("suspicious", "Suspiciously near", "where copies are", "none"),
        )
    ]
    return distances + shares


def _list_left_out(evaluation: Mapping[str, Any]) -> list[str]:
    """What is None in evaluation.json, but for copies and the grid, of which the answers tell."""
    made = evaluation["samples"]
    theirs = evaluation[evaluation["compared_with"]]["slices"]
    here = f"and here are {made:,} and {theirs:,}"
    least = dict.fromkeys(_TABLED, distances.LEAST_IMAGES)
    least["frechet_extrapolated"] = 2 * max(
        evaluation["feature_space"]["dimensions"], distances.LEAST_IMAGES
    )
    sentences = []
    for name, label in _TABLED.items():
        if evaluation[name]["value"] is None:
            sentences.append(f"{_title(label)}: it needs {least[name]:,} slices a side, {here}.")
        elif evaluation[name]["floor"] is None:
            sentences.append(
                f"{_title(label)} between real slices: it needs {least[name]:,} slices a side, of "
                "different subjects."
            )
    overlap = evaluation["overlap"]
    if overlap["compared_images"] is None:
        names = "Precision, recall, coverage and density"
        sentences.append(f"{names}: they need {manifold.LEAST_IMAGES} slices a side, {here}.")
    elif overlap["precision"]["real"] is None:
        sentences.append(
            f"Precision and the like between real slices: they need {manifold.LEAST_IMAGES} slices "
            "a side, of different subjects."
        )
    if None in (evaluation["ms_ssim"][part]["mean"] for part in ("samples", "real")):
        sentences.append(
            "Similarity of pairs: it needs two samples, and real slices of two subjects."
        )
    vendi, spread = evaluation["diversity"], evaluation["subject_spread"]
    if vendi["ratio"] is None:
        sentences.append(
            f"Vendi score: it needs {diversity.LEAST_IMAGES} samples and as many training slices "
            f"that differ, and here are {made:,} and {evaluation['train']['slices']:,}."
        )
    if spread["effective_subjects"] is None:
        unknown = evaluation["train"]["subjects"] is None
        sentences.append(
            f"Training subjects drawn on: it needs {diversity.LEAST_IMAGES} samples and "
            f"{diversity.LEAST_SUBJECTS} training subjects, and here are {made:,} and "
            f"{'unknown ones' if unknown else spread['subjects']}."
        )
    elif spread["heldout"] is None:
        sentences.append(
            f"Training subjects that held-out slices fall on: it needs {diversity.LEAST_IMAGES} "
            "held-out slices."
        )
    return sentences


def _strips(evaluation: Mapping[str, Any]) -> list[Strip]:
    """Distances and likeness, samples above real slices."""
    strips = []
    for name, label in DISTANCES.items():
        distance = evaluation[name]
        if None not in (distance["value"], distance["floor"]):
            ours = distance["value"], distance["interval_95"]
            real = distance["floor"], distance["floor_range"]
            strips.append(_strip(f"{_title(label)}: left is nearer", ours, real))
    made, real = evaluation["ms_ssim"]["samples"], evaluation["ms_ssim"]["real"]
    if None not in (made["mean"], real["mean"]):
        ours, theirs = ((part["mean"], part["interval_95"]) for part in (made, real))
        strips.append(_strip("Likeness of two slices (MS-SSIM): best as real", ours, theirs))
    return strips


def _strip(title: str, *pairs: tuple[float, list[float] | None]) -> Strip:
    values = [value for mean, interval in pairs for value in (mean, *(interval or ()))]
    bottom, top = min(0.0, *values), _round_up(max(values))

    def place(value: float) -> float:
        return (value - bottom) / (top - bottom)

    names = (("Samples", "ours"), ("Real slices", "rival"))
    return Strip(
        title,
        [
            (*name, place(mean), interval and [place(value) for value in interval])
            for name, (mean, interval) in zip(names, pairs, strict=True)
        ],
        [(place(value), short(value)) for value in (0.0, top / 2, top)],
    )


def _round_up(value: float) -> float:
    """The next half or whole of its first digit; 1 for what is not above 0."""
    if value <= 0:
        return 1.0
    unit = 10.0 ** floor(log10(value))
    return ceil(2 * value / unit) / 2 * unit


def _ratio(made: float | None, real: float | None) -> str:
    return short(made / real) if made is not None and real else ""


def _title(label: str) -> str:
    return label[0].upper() + label[1:]
