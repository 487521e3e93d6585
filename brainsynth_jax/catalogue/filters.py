"""Which images of a catalogue are wanted."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Select, or_

from brainsynth_jax.catalogue.tables import ImageRow, OriginRow, ReviewRow


class Filter(NamedTuple):
    """Which images are wanted: those for which all that is given holds.

    Attributes:
        numbers: stretches of ids, first and last.
        model: one of `tables.MODELS`.
        run: its folder.
        verdicts: of `copies.VERDICTS`, and None for images that were not compared.
        least_realism: their realism or more.
        least_tumor, most_tumor: pixels of tumour.
        rows, columns: where the tumour's centre lies, from and to, 0 to 1.
        review: one of `tables.REVIEWS` that somebody gave; "none" for images without any.
    """

    numbers: Sequence[tuple[int, int]] | None = None
    model: str | None = None
    run: str | None = None
    verdicts: Sequence[str | None] | None = None
    least_realism: float | None = None
    least_tumor: int | None = None
    most_tumor: int | None = None
    rows: tuple[float, float] | None = None
    columns: tuple[float, float] | None = None
    review: str | None = None


EVERYTHING = Filter()

# Where a tumour may lie, as filters: row 0 is anterior, column 0 the patient's right.
HALVES = {
    "right": {"columns": (0.0, 0.5)},
    "left": {"columns": (0.5, 1.0)},
    "front": {"rows": (0.0, 0.5)},
    "back": {"rows": (0.5, 1.0)},
}


def choose(query: Select, wanted: Filter) -> Select:
    """A query of `ImageRow`, of what is wanted only."""
    if wanted.model is not None or wanted.run is not None:
        query = query.join(OriginRow, ImageRow.origin_id == OriginRow.id)
    conditions = {
        "numbers": _is_numbered,
        "model": lambda value: OriginRow.model == value,
        "run": lambda value: OriginRow.run == value,
        "verdicts": _is_among,
        "least_realism": lambda value: ImageRow.realism >= value,
        "least_tumor": lambda value: ImageRow.tumor_pixels >= value,
        "most_tumor": lambda value: ImageRow.tumor_pixels <= value,
        "rows": lambda value: ImageRow.tumor_row.between(*value),
        "columns": lambda value: ImageRow.tumor_column.between(*value),
        "review": _was_reviewed,
    }
    for name, value in wanted._asdict().items():
        if value is not None:
            query = query.where(conditions[name](value))
    return query


def _is_numbered(stretches: Sequence[tuple[int, int]]):
    single = [first for first, last in stretches if first == last]
    longer = [ImageRow.id.between(*stretch) for stretch in stretches if stretch[0] != stretch[1]]
    return or_(ImageRow.id.in_(single), *longer)


def _is_among(verdicts: Sequence[str | None]):
    known = ImageRow.copy_verdict.in_([verdict for verdict in verdicts if verdict is not None])
    return known | ImageRow.copy_verdict.is_(None) if None in verdicts else known


def _was_reviewed(verdict: str):
    if verdict == "none":
        return ~ImageRow.reviews.any()
    return ImageRow.reviews.any(ReviewRow.verdict == verdict)
