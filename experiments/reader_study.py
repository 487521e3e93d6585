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
from pathlib import Path

import command_line
import numpy as np
from catalogue_flags import (
    define_catalogue_flags,
    define_filter_flags,
    define_run_flags,
    open_catalogue,
    read_filter,
)
from command_line import FLAGS, FlagGroup, refuse_flags
from drawing import prepare_dataset
from finished_run import load_run
from web_server import define_server_flags, import_pages, serve

from brainsynth_jax.catalogue.exports.selection import (
    select,
    tell_kept,
    tell_left,
)
from brainsynth_jax.catalogue.reader_study.analysis import GUESSING, analyse_study
from brainsynth_jax.catalogue.reader_study.answers import read_answers
from brainsynth_jax.catalogue.reader_study.sample_size import (
    slices_for_interval,
    slices_for_power,
)
from brainsynth_jax.catalogue.reader_study.study import (
    RealSource,
    Sources,
    SyntheticSource,
    check_shown_slices,
    create_study,
    load_key,
    open_study,
)
from brainsynth_jax.catalogue.reader_study.study_report import write_study_report
from brainsynth_jax.catalogue.words import count_words
from brainsynth_jax.data.pictures import grey_levels
from brainsynth_jax.data.pipeline import load_slices
from brainsynth_jax.errors import UserError
from brainsynth_jax.files import check_new_folder

COMMANDS = ("size", "create", "serve", "analyse")

study = FlagGroup("Study")
study.string("study", None, "The study's folder. Needed, but by size.")

drawing = FlagGroup("Slices (create)")
drawing.integer("count", 100, "Slices to be shown, half of them real; an even number.", 2, 9998)
drawing.integer("seed", 0, "Decides which slices are drawn, and their order for each reader.")
drawing.string("title", "Real or synthetic?", "What readers see above each slice.")
drawing.choice("real", "test", ("test", "train"), "Whose real slices: held-out subjects' or not.")
drawing.integer(
    "floor",
    16,
    "Levels below it, of 255, are shown black in all slices: a program's background is never quite "
    "black, which a bright window would tell.",
    0,
    128,
)
define_catalogue_flags()
filter_flags = define_filter_flags()
define_run_flags("The run that drew the images (create)")

define_server_flags()

analysis = FlagGroup("Analysis (analyse)")
analysis.string("key", None, "The study's key.json, where it was put away until the analysis.")

precision = FlagGroup("How many slices (size)")
precision.number("accuracy", 0.6, "Share of right answers that is expected of a reader.", 0.0, 1.0)
precision.number("half_width", 0.1, "Half of the 95 % interval's width that is wanted.", 0.01, 0.5)
precision.number(
    "power", 0.8, "Chance that a reader who is so good is told from one who guesses.", 0.01, 0.999
)

# What each command goes by, beside --study.
_FLAGS = {
    "size": precision.names,
    "create": [*drawing.names, *filter_flags, "database", "image_dir", "workdir", "data_dir"],
    "serve": ["host", "port", "token"],
    "analyse": analysis.names,
}


def main(command: str) -> None:
    """Does one of `COMMANDS`."""
    of_others = {name for names in _FLAGS.values() for name in names} - set(_FLAGS[command])
    refuse_flags(sorted(of_others), f"{command} does not go by it")
    if command == "size":
        print_size()
        return
    if FLAGS.study is None:
        raise UserError("--study is needed: the folder of a study.")
    {"create": create, "serve": show, "analyse": analyse}[command](Path(FLAGS.study).expanduser())


def print_size() -> None:
    """How many slices --accuracy, --half_width and --power take."""
    print(
        f"{slices_for_interval(FLAGS.accuracy, FLAGS.half_width):,} slices, half of them real, for "
        f"a reader's 95 % interval of {FLAGS.accuracy:g} +- {FLAGS.half_width:g} at most."
    )
    if FLAGS.accuracy != GUESSING:
        print(
            f"{slices_for_power(FLAGS.accuracy, FLAGS.power):,} slices to tell such a reader from "
            f"one who guesses, with a chance of {FLAGS.power:g} (exact test, 5 %)."
        )


def create(folder: Path) -> None:
    """Catalogue and scans -> a study's folder."""
    check_new_folder(folder, "--study")
    if FLAGS.count % 2:
        raise UserError(f"--count={FLAGS.count}: half of the slices are real; give an even number.")
    catalogue = open_catalogue()
    selection = select(catalogue, read_filter())
    rows = list(selection)
    if not rows:
        raise UserError(
            f"No synthetic image fits the flags and may be shown. {' '.join(tell_kept(selection))}"
        )
    if len(runs := {row.origin.run for row in rows}) > 1:
        raise UserError(
            f"The images are of {len(runs)} runs ({', '.join(sorted(runs))}), and the real slices "
            "are to be those of one. Choose it by --run."
        )
    cache_dir = Path(FLAGS.cache_dir).expanduser()
    command_line.use_cache(cache_dir)
    run = load_run(FLAGS.workdir or rows[0].origin.run, ("dcgan", "cyclegan"), FLAGS.data_dir)
    dataset = prepare_dataset(run, cache_dir)
    records = dataset.test_a if FLAGS.real == "test" else dataset.train_a
    half = FLAGS.count // 2
    if half > min(len(records), len(rows)):
        raise UserError(
            f"--count={FLAGS.count} needs {half} slices of either kind; there are {len(records)} "
            f"real ones (--real={FLAGS.real}) and {len(rows)} synthetic ones. Ask for "
            f"{2 * min(len(records), len(rows))} at most, or bring more."
        )
    real = load_slices(records.take(spread(records.subjects, half)), False, "tumor", "whole")
    chosen = np.sort(np.random.default_rng(FLAGS.seed).permutation(len(rows))[:half])
    shown = [rows[place] for place in chosen]
    made = create_study(
        folder,
        grey_levels(real.image[..., 0]),
        np.stack([catalogue.load(row).image for row in shown]),
        Sources(
            [
                RealSource(hashlib.sha256(name.encode()).hexdigest(), int(number))
                for name, number in zip(real.subjects, real.slice_numbers, strict=True)
            ],
            [SyntheticSource(row.id, row.content_hash) for row in shown],
        ),
        FLAGS.count,
        FLAGS.seed,
        FLAGS.title,
        FLAGS.floor,
    )
    print(
        f"{made.count} slices in {folder}: {half} real ones of "
        f"{count_words(made.real_subjects, 'subject')}, {half} synthetic ones of {len(rows):,}. "
        + " ".join(tell_left(selection) + tell_kept(selection))
        + f"\nWhich are real stands in {folder / 'key.json'}: put it away until the analysis.\n"
        f"To show them: python experiments/reader_study.py serve --study={folder}"
    )


def spread(subjects: np.ndarray, count: int) -> np.ndarray:
    """Places of so many slices, as many of each subject as can be, and those far from each other.

    Args:
        subjects: whose each slice is; a subject's slices stand together, in their order.
        count: of slices, no more than there are.
    """
    places = {name: np.flatnonzero(subjects == name) for name in np.unique(subjects)}
    taken = dict.fromkeys(places, 0)
    for _ in range(count):
        fewest = min((n for n in taken if taken[n] < len(places[n])), key=taken.__getitem__)
        taken[fewest] += 1
    middles = {n: (np.arange(k) + 0.5) * len(places[n]) / max(k, 1) for n, k in taken.items()}
    return np.sort(np.concatenate([places[n][middles[n].astype(int)] for n in places]))


def show(folder: Path) -> None:
    """A study's folder -> pages for its readers."""
    import_pages()
    from brainsynth_jax.catalogue.pages.study_app import create_study_app

    opened = open_study(folder)
    check_shown_slices(opened)
    print(f"{opened.title}: {opened.count} slices in {folder}")
    serve(create_study_app(opened))


def analyse(folder: Path) -> None:
    """A study's answers and its key -> analysis.json and analysis.html."""
    opened = open_study(folder)
    check_shown_slices(opened)
    key = load_key(opened, Path(FLAGS.key).expanduser() if FLAGS.key else None)
    analysis = analyse_study(opened, key, read_answers(opened))
    write_study_report(folder, analysis)
    print(f"Open {folder / 'analysis.html'}")


if __name__ == "__main__":
    command_line.run(main, commands=COMMANDS)
