"""A catalogue as a folder of pages that need no server: to be read, not to be changed."""

import shutil
from itertools import islice, pairwise
from pathlib import Path

from brainsynth_jax.catalogue.catalogue import Catalogue
from brainsynth_jax.catalogue.exports.selection import Selection, select
from brainsynth_jax.catalogue.filters import EVERYTHING, Filter
from brainsynth_jax.catalogue.pages.links import FolderLinks
from brainsynth_jax.catalogue.pages.render import (
    ASSETS,
    TUMOR_COLOURS,
    Shown,
    describe,
    look_at,
    render,
)
from brainsynth_jax.data.pictures import encode_levels, encode_overlay
from brainsynth_jax.files import filled_folder

IMAGES_A_PAGE = 120

_LINKS = FolderLinks()


def write_static_copy(
    catalogue: Catalogue,
    wanted: Filter,
    folder: Path,
    include_suspected_copies: bool = False,
) -> Selection:
    """Writes pages that a browser opens from a disk; who opens them needs nothing else.

    Images whose files are missing or altered are shown to be so.

    Args:
        catalogue: open.
        wanted: which images.
        folder: for them, new or empty.
        include_suspected_copies: as `exports.selection.select`.

    Returns:
        What was written and what was kept out.

    Raises:
        OSError: the disk refuses.
    """
    selection = select(catalogue, wanted, include_suspected_copies)
    ids = [row.id for row in selection]
    around = dict(pairwise(ids)), dict(pairwise(reversed(ids)))
    with filled_folder(folder) as unfinished:
        shutil.copytree(ASSETS, unfinished / "assets")
        (unfinished / "pictures").mkdir()
        rows = iter(selection)
        for number in range(1, max(1, -(-len(ids) // IMAGES_A_PAGE)) + 1):
            images = [look_at(catalogue, row) for row in islice(rows, IMAGES_A_PAGE)]
            for shown in images:
                _write_image(unfinished, shown, around, catalogue.public_name)
            page = render(
                "images.html",
                _LINKS,
                total=len(ids),
                images=images,
                form=None,
                filtered=wanted != EVERYTHING,
                earlier=_LINKS.page(number - 1) if number > 1 else None,
                later=_LINKS.page(number + 1) if number * IMAGES_A_PAGE < len(ids) else None,
            )
            (unfinished / _LINKS.page(number)).write_text(page, encoding="utf-8")
        next(rows, None)  # the selection counts to its end
    return selection


def _write_image(
    folder: Path, shown: Shown, around: tuple[dict[int, int], dict[int, int]], database: str
) -> None:
    row, pixels = shown.row, shown.pixels
    following, preceding = around
    page = render(
        "image.html",
        _LINKS,
        earlier=_LINKS.image(preceding[row.id]) if row.id in preceding else None,
        later=_LINKS.image(following[row.id]) if row.id in following else None,
        nearest=None,
        may_review=False,
        **describe(shown, database, leaves=True),
    )
    (folder / _LINKS.image(row.id)).write_text(page, encoding="utf-8")
    if pixels is not None:
        (folder / _LINKS.png(row.id)).write_bytes(encode_levels(pixels.image))
        if pixels.mask is not None:
            overlay = encode_overlay(pixels.mask, TUMOR_COLOURS)
            (folder / _LINKS.mask(row.id)).write_bytes(overlay)
