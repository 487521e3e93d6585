"""report.html of a DCGAN run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from brainsynth_jax.evaluation.dcgan_words import answer_questions
from brainsynth_jax.evaluation.report import embed, write_page
from brainsynth_jax.evaluation.samples_numbers import show_numbers


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
        evaluation: what evaluation.json holds. What is None in it is left out, and the page says
            why.
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
        numbers=show_numbers(evaluation["synthetic"]),
        gaps=evaluation["critic_gap"],
        film=embed(film) if film else None,
    )
