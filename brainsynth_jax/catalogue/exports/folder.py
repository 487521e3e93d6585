"""A folder of exported images, which says of itself what it holds."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from brainsynth_jax.catalogue.catalogue import Catalogue
from brainsynth_jax.catalogue.exports.formats import Format
from brainsynth_jax.catalogue.exports.items import COLUMNS, LABEL, Item, load_items, modality_of
from brainsynth_jax.catalogue.exports.selection import Selection, tell_kept, tell_left
from brainsynth_jax.catalogue.words import count_words
from brainsynth_jax.errors import UserError
from brainsynth_jax.files import check_new_folder, filled_folder, write_atomically

README = "README.md"


def export(
    catalogue: Catalogue,
    selection: Selection,
    form: Format,
    folder: Path,
    label_share: float = 0.0,
    advance: Callable[[], None] = lambda: None,
) -> list[str]:
    """Writes images and what is to be known of them into a folder, which is whole or not there.

    Args:
        catalogue: that has them.
        selection: of its images, see `select`.
        form: in which they leave.
        folder: new or empty.
        label_share: of them, this share has a visible label, 0 to 1.
        advance: is called after each image.

    Returns:
        Sentences that say what left, and what stayed and why.

    Raises:
        UserError: the folder holds something, there is no image to write, one is missing or
            altered, or the format does not take them.
        OSError: the disk refuses.
    """
    check_new_folder(folder, "--output_dir")
    masks = labels = 0

    def items() -> Iterator[Item]:
        nonlocal masks, labels
        for item in load_items(catalogue, selection, label_share):
            masks += item.row.has_mask
            labels += item.labelled
            yield item
            advance()

    leaving = items()
    with filled_folder(folder) as unfinished:
        first = next(leaving, None)
        if first is None:
            raise UserError(
                f"No image of those asked for can be exported. {' '.join(tell_kept(selection))} "
                "Ask for others."
            )
        form.write(unfinished, chain([first], leaving))
        said = [f"{count_words(selection.images, 'image')}, {masks} with a mask."]
        if labels:
            said.append(f"With the word {LABEL} in the pixels: {labels}.")
        said += tell_left(selection) + tell_kept(selection)
        if form.caution:
            said.append(form.caution)
        write_atomically(unfinished / README, _describe(selection, form, said).encode())
    return said


def _describe(selection: Selection, form: Format, said: Sequence[str]) -> str:
    """The page for who finds the folder."""
    wanted = selection.wanted
    if wanted.run is not None:
        wanted = wanted._replace(run=Path(wanted.run).name)
    asked = [
        f"* {name}: {_in_words(value)}"
        for name, value in wanted._asdict().items()
        if value is not None
    ]
    makers = [
        f"* {count_words(count, 'image')}: {origin.model}, run {Path(origin.run).name}, "
        f"step {origin.step}, weights {origin.checkpoint_hash}, brainsynth_jax "
        f"{origin.code_version}, trained on {modality_of(origin)} slices with fingerprint "
        f"{origin.data_fingerprint}"
        for origin, count in selection.origins.values()
    ]
    return "\n".join(
        [
            "# SYNTHETIC brain MR slices: not for diagnosis",
            "",
            "Every image in this folder is SYNTHETIC: a neural network drew it.",
            "Research use only; not for diagnosis.",
            "",
            "## What is here",
            "",
            *(f"* {sentence}" for sentence in said),
            f"* Written on {datetime.now(UTC):%Y-%m-%d} (UTC).",
            "",
            "## What was asked for",
            "",
            *(asked or ["* all images of the catalogue"]),
            "",
            "## What made them",
            "",
            *makers,
            "",
            "## Files",
            "",
            form.about,
            "",
            *(f"  * `{name}`: {meaning}" for name, meaning in COLUMNS.items()),
            "",
        ]
    )


def _in_words(value: Any) -> str:
    """Of a filter: 3 to 5, 10 to 19; fresh, not compared."""
    if isinstance(value, tuple):
        return " to ".join(map(str, value))
    if isinstance(value, list):
        return ", ".join(map(_in_words, value))
    return "not compared" if value is None else str(value)
