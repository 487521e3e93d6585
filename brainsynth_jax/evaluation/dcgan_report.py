"""report.html of a DCGAN run."""

from collections.abc import Mapping, Sequence
from math import ceil, floor, log10
from pathlib import Path
from typing import Any, NamedTuple

from brainsynth_jax.evaluation import copies
from brainsynth_jax.evaluation.dcgan_words import DISTANCES, answer_questions, distance_ratio
from brainsynth_jax.evaluation.report import (
    count,
    embed,
    short,
    show_percent,
    show_range,
    write_page,
)

_DISTANCE_MEANINGS = {
    "kid": "unbiased, so about 0 for two sets of one kind; no units",
    "frechet": "squared units of the features; grows as images get fewer",
}


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


def write_dcgan_report(
    path: Path,
    title: str,
    options: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    records: Sequence[Mapping[str, float]],
    curves_png: Path | None,
    sample_pngs: Sequence[tuple[str, str, Path]],
    film: Path | None,
    notes: Sequence[str],
) -> None:
    """Writes the page.

    Args:
        path: as the others, see `write_page`.
        title: its heading.
        options: what the run began with.
        evaluation: what evaluation.json holds: the numbers of `evaluate_samples`, and `weights`,
            `checkpoint`, `step`, `sampling`, `best_rule`, `collapse`. What is None in it is left
            out, and the page says why.
        records: the objects of metrics.jsonl.
        curves_png: picture of the losses, None for none.
        sample_pngs: (title, caption, file) of each picture.
        film: a GIF of the samples over the epochs, None for none.
        notes: sentences that the reader has to know.

    Raises:
        UserError: the page can't be written.
    """
    write_page(
        path,
        "dcgan_report.html",
        title,
        options,
        records,
        curves_png,
        sample_pngs,
        notes,
        answers=answer_questions(evaluation),
        strips=_strips(evaluation),
        rows=_rows(evaluation),
        gaps=evaluation["critic_gap"],
        space=evaluation["feature_space"],
        film=embed(film) if film else None,
    )


def _rows(evaluation: Mapping[str, Any]) -> list[Row]:
    """The table of numbers: those that there are."""
    rows = []
    for name, label in DISTANCES.items():
        if evaluation[name]["value"] is not None:
            rows.append(_distance_row(label, _DISTANCE_MEANINGS[name], evaluation[name]))
    made, real = evaluation["ms_ssim"]["samples"], evaluation["ms_ssim"]["real"]
    if None not in (made["mean"], real["mean"]):
        rows.append(
            Row(
                "MS-SSIM of pairs",
                "0 to 1, 1 for equal images",
                *(
                    Cell(
                        short(part["mean"]),
                        show_range(part["interval_95"]),
                        f"{part['pairs']} pairs of {count(part['images'], 'slice')}",
                    )
                    for part in (made, real)
                ),
                short(made["mean"] / real["mean"]),
                "as real: above is too alike, below may be noise",
            )
        )
    grid = evaluation["grid_energy"]
    rows.append(
        Row(
            "Grid energy",
            "power at the frequencies of the up-sampling by that around them",
            Cell(short(grid["samples"])),
            Cell(short(grid["real"])),
            short(grid["ratio"]),
            "1 times the real",
        )
    )
    return rows + _copies_rows(evaluation["copies"])


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
        label[0].upper() + label[1:],
        meaning,
        Cell(
            short(distance["value"]), show_range(distance["interval_95"]), basis(distance["images"])
        ),
        real,
        distance_ratio(distance),
        "as low as between real slices",
    )


def _copies_rows(summary: Mapping[str, Any] | None) -> list[Row]:
    if summary is None or summary["copied"] is None:
        return []
    made, real = (count(summary[name], "slice") for name in ("samples", "heldout"))
    side = copies.COMPARED_SIZE
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


def _strips(evaluation: Mapping[str, Any]) -> list[Strip]:
    """Distances and likeness, samples above real slices."""
    strips = []
    for name, label in DISTANCES.items():
        distance = evaluation[name]
        if None not in (distance["value"], distance["floor"]):
            ours = distance["value"], distance["interval_95"]
            real = distance["floor"], distance["floor_range"]
            strips.append(_strip(f"{label[0].upper()}{label[1:]}: left is nearer", ours, real))
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
