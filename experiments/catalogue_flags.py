"""The catalogue that a script works on, and which of its images are wanted."""

import os
import re
from pathlib import Path

from command_line import FLAGS, FlagGroup

from brainsynth_jax.catalogue.catalogue import Catalogue
from brainsynth_jax.catalogue.database import is_sqlite
from brainsynth_jax.catalogue.filters import HALVES, Filter
from brainsynth_jax.catalogue.tables import MODELS, REVIEWS
from brainsynth_jax.errors import UserError
from brainsynth_jax.evaluation.copies import VERDICTS

_MOST_STRETCHES = 500  # databases answer no question of any length
_UNKNOWN = "unknown"


def define_catalogue_flags() -> None:
    """Where the catalogue is."""
    group = FlagGroup("Catalogue")
    group.string(
        "database",
        "runs/catalogue.sqlite",
        "File of SQLite, or the URL of a database that a group shares, such as "
        "postgresql+psycopg://USER:PASSWORD@HOST/NAME.",
    )
    group.string(
        "image_dir",
        None,
        "Folder of its images. Without it: beside the SQLite file, by its name and _images.",
    )


def define_run_flags(what: str) -> None:
    """Where the run is that drew the images, for a script that needs its slices.

    Args:
        what: its slices are for, the group's title.
    """
    group = FlagGroup(what)
    group.string("workdir", None, "Where the run's folder is now, if it has moved.")
    group.string("data_dir", None, "Where its scans are now, if they have moved.")
    group.string(
        "cache_dir",
        os.path.join("~", ".cache", "brainsynth_jax"),
        "Folder for the phantom and prepared slices.",
    )


def define_filter_flags() -> list[str]:
    """Which images are wanted; gives the flags' names."""
    group = FlagGroup("Which images")
    group.string("images", None, "Numbers of images, such as 3,10-19. Without it: all.")
    group.choice("model", None, MODELS, "What drew them; of a CycleGAN, from masks or to masks.")
    group.string("run", None, "Only those of the run in this folder.")
    group.choice("verdict", None, (*VERDICTS, _UNKNOWN), "Only those of this verdict on copies.")
    group.number("least_realism", 0, "Only those of this realism score or more.")
    group.integer("least_tumor", 0, "Only those whose mask has so many pixels of tumour.")
    group.integer("most_tumor", 0, "Only those whose mask has no more pixels of it; 0 for any.")
    group.choice("place", None, tuple(HALVES), "Only those whose tumour's centre lies there.")
    group.choice(
        "review", None, (*REVIEWS, "none"), "Only those that somebody gave this; none: nobody any."
    )
    return group.names


def open_catalogue(must_exist: bool = True) -> Catalogue:
    """The catalogue of --database.

    Args:
        must_exist: a file of SQLite that is not there is refused, not made.

    Raises:
        UserError: it cannot be used, or its images' folder is needed and not given.
    """
    if not is_sqlite(FLAGS.database):
        if FLAGS.image_dir is None:
            raise UserError(
                "--image_dir is needed with this --database: a folder for the images, which all "
                "who share the database can see."
            )
        return Catalogue(FLAGS.database, Path(FLAGS.image_dir).expanduser())
    file = Path(FLAGS.database.removeprefix("sqlite:///")).expanduser()
    if must_exist and not file.is_file():
        raise UserError(
            f"--database={FLAGS.database} is not there. experiments/generate.py makes one; or give "
            "where yours is."
        )
    folder = FLAGS.image_dir or file.with_name(f"{file.stem}_images")
    return Catalogue(f"sqlite:///{file}", Path(folder).expanduser())


def read_filter() -> Filter:
    """What the flags want.

    Raises:
        UserError: --images is no list of numbers.
    """
    verdicts = None
    if FLAGS.verdict is not None:
        verdicts = [None if FLAGS.verdict == _UNKNOWN else FLAGS.verdict]
    return Filter(
        numbers=parse_numbers(FLAGS.images) if FLAGS.images is not None else None,
        model=FLAGS.model,
        run=FLAGS.run and str(Path(FLAGS.run).expanduser().resolve()),
        verdicts=verdicts,
        least_realism=FLAGS.least_realism or None,
        least_tumor=FLAGS.least_tumor or None,
        most_tumor=FLAGS.most_tumor or None,
        **HALVES.get(FLAGS.place, {}),
        review=FLAGS.review,
    )


def parse_numbers(text: str) -> list[tuple[int, int]]:
    """ "3,10-19" -> [(3, 3), (10, 19)]: first and last of each stretch."""
    stretches, parts = [], text.split(",")
    if len(parts) > _MOST_STRETCHES:
        raise UserError(
            f"--images has {len(parts):,} parts, and {_MOST_STRETCHES} at most are taken: join "
            "neighbours to stretches, or use the other filters."
        )
    for part in parts:
        found = re.fullmatch(r"\s*(\d{1,18})(?:\s*-\s*(\d{1,18}))?\s*", part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if first > last:
            raise UserError(
                f"--images={text}: numbers of images are needed, single ones and stretches, such "
                "as 3,10-19."
            )
        stretches.append((first, last))
    return stretches
