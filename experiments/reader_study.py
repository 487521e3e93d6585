"""Can readers tell synthetic slices from real ones? A visual Turing test.

  python experiments/reader_study.py size --accuracy=0.6
  python experiments/reader_study.py create --study=FOLDER --count=100
  python experiments/reader_study.py serve --study=FOLDER
  python experiments/reader_study.py analyse --study=FOLDER

size says how many slices a wanted precision takes. create draws as many real as synthetic slices,
mixed, with nothing that gives them away; serve shows them in a browser, to each reader in an order
of their own; analyse writes analysis.json and analysis.html.
"""

import hashlib
import os
from pathlib import Path

import command_line
import numpy as np
from catalogue_flags import define_catalogue_flags, define_filter_flags, open_catalogue, read_filter
from command_line import FLAGS, FlagGroup
from drawing import prepare_dataset
from finished_run import load_run
from web_server import define_server_flags, import_pages, serve

from brainsynth_jax.catalogue.exports.selection import select
from brainsynth_jax.catalogue.reader_study.analysis import analyse_study
from brainsynth_jax.catalogue.reader_study.answers import read_answers
from brainsynth_jax.catalogue.reader_study.sample_size import (
    slices_for_interval,
    slices_for_power,
)
from brainsynth_jax.catalogue.reader_study.study import (
    RealSource,
    Sources,
    SyntheticSource,
    create_study,
    load_key,
    open_study,
)
from brainsynth_jax.catalogue.reader_study.study_report import write_study_report
from brainsynth_jax.data.pictures import grey_levels
from brainsynth_jax.data.pipeline import load_slices
from brainsynth_jax.errors import UserError

COMMANDS = ("size", "create", "serve", "analyse")

# So many are looked at of either kind, spread over all of them.
_MOST_SLICES = 10_000

study = FlagGroup("Study")
study.string("study", None, "The study's folder. Needed, but by size.")
study.integer("count", 100, "Slices to be shown, half of them real; an even number.", 2, 9998)
study.integer("seed", 0, "Decides which slices are drawn, and their order for each reader.")
study.string("title", "Real or synthetic?", "What readers see above each slice.")
study.choice("real", "test", ("test", "train"), "Of whom the real slices are: held out or not.")
study.string("key", None, "The study's key.json, where it was put away until the analysis.")

precision = FlagGroup("How many slices (size)")
precision.number("accuracy", 0.6, "Share of right answers that is expected of a reader.", 0.0, 1.0)
precision.number("half_width", 0.1, "Half of the 95 % interval's width that is wanted.", 0.01, 0.5)
precision.number(
    "power", 0.8, "Chance that a reader who is so good is told from one who guesses.", 0.01, 0.999
)

define_catalogue_flags()
define_filter_flags()
define_server_flags()

real = FlagGroup("Real slices")
real.string("data_dir", None, "Where the run's scans are now, if they have moved.")
real.string(
    "cache_dir",
    os.path.join("~", ".cache", "brainsynth_jax"),
    "Folder for the phantom and prepared slices.",
)


def main(command: str) -> None:
    """Does one of `COMMANDS`."""
    if command == "size":
        print(describe_size())
        return
    if FLAGS.study is None:
        raise UserError("--study is needed: the folder of a study.")
    {"create": create, "serve": show, "analyse": analyse}[command](Path(FLAGS.study).expanduser())


def describe_size() -> str:
    """How many slices --accuracy, --half_width and --power take."""
    lines = [
        f"{slices_for_interval(FLAGS.accuracy, FLAGS.half_width):,} slices, half of them real, for "
        f"a reader's 95 % interval of {FLAGS.accuracy:g} +- {FLAGS.half_width:g} at most."
    ]
    if FLAGS.accuracy != 0.5:
        lines.append(
            f"{slices_for_power(FLAGS.accuracy, FLAGS.power):,} slices to tell such a reader from "
            f"one who guesses, with a chance of {FLAGS.power:g} (exact test, 5 %)."
        )
    return "\n".join(lines)


def create(folder: Path) -> None:
    """Catalogue and scans -> a study's folder."""
    catalogue = open_catalogue()
    rows = list(select(catalogue, read_filter()))
    if not rows:
        raise UserError(
            "No synthetic image may be shown: none fits the flags, or all are suspected copies."
        )
    if len(runs := {row.origin.run for row in rows}) > 1:
        raise UserError(
            f"The images are of {len(runs)} runs ({', '.join(sorted(runs))}), and the real slices "
            "are to be those of one. Choose it by --run."
        )
    cache_dir = Path(FLAGS.cache_dir).expanduser()
    command_line.use_cache(cache_dir)
    run = load_run(rows[0].origin.run, ("dcgan", "cyclegan"), FLAGS.data_dir)
    dataset = prepare_dataset(run, cache_dir)
    records = dataset.test_a if FLAGS.real == "test" else dataset.train_a
    if not records:
        raise UserError("--real=test: nobody is held out in this run. Give --real=train.")
    found = load_slices(records, False, "tumor", "whole", _MOST_SLICES, FLAGS.seed)
    rows = spread(rows)
    made = create_study(
        folder,
        grey_levels(found.image[..., 0]),
        np.stack([catalogue.load(row).image for row in rows]),
        Sources(
            [
                RealSource(hashlib.sha256(name.encode()).hexdigest(), int(number))
                for name, number in zip(found.subjects, found.slice_numbers, strict=True)
            ],
            [SyntheticSource(row.id, row.content_hash) for row in rows],
        ),
        FLAGS.count,
        FLAGS.seed,
        FLAGS.title,
    )
    print(
        f"{made.count} slices in {folder}. Which are real stands in {folder / 'key.json'}: put it "
        f"away until the analysis.\nTo show them: python experiments/reader_study.py serve "
        f"--study={folder}"
    )


def spread(rows: list) -> list:
    """At most so many, at equal distances."""
    places = np.unique(np.linspace(0, len(rows) - 1, _MOST_SLICES).astype(int))
    return [rows[place] for place in places]


def show(folder: Path) -> None:
    """A study's folder -> pages for its readers."""
    import_pages()
    from brainsynth_jax.catalogue.pages.study_app import create_study_app

    opened = open_study(folder)
    print(f"{opened.title}: {opened.count} slices in {folder}")
    serve(create_study_app(opened))


def analyse(folder: Path) -> None:
    """A study's answers and its key -> analysis.json and analysis.html."""
    opened = open_study(folder)
    key = load_key(opened, Path(FLAGS.key).expanduser() if FLAGS.key else None)
    analysis = analyse_study(opened, key, read_answers(opened), FLAGS.seed)
    write_study_report(folder, analysis)
    print(f"Open {folder / 'analysis.html'}")


if __name__ == "__main__":
    command_line.run(main, commands=COMMANDS)
