"""Usefulness: does a segmentation network trained with synthetic pairs get better on real patients?

Trains small networks of one recipe on n annotated subjects, on these and synthetic pairs in
several shares, on synthetic pairs only, and with the usual flips and changes of brightness, for
several n and seeds, and tests all on the same held-out subjects. Writes utility.html: one sentence
with its interval, a table, a plot of Dice against n.

  python experiments/utility.py                              # phantom, demo size, minutes
  python experiments/utility.py --data_dir=BraTS             # BraTS or your own data
  python experiments/utility.py --run=runs/cyclegan-001      # pairs by a CycleGAN that is trained
  python experiments/utility.py --data_dir=BraTS --pairs_dir=PAIRS     # pairs made elsewhere
  python experiments/utility.py --workdir=runs/utility-001   # goes on where it stopped

Synthetic pairs are masks of the n subjects, moved, scaled and bent, and the slices that a CycleGAN
draws from them. It is trained for each n on these n subjects alone, so that nothing of other
subjects comes in; a CycleGAN given by --run saw all its training subjects, whatever n.
"""

import itertools
import os
import time
from pathlib import Path
from types import SimpleNamespace

import command_line
import numpy as np
from command_line import FlagGroup
from dataset import describe_data, list_subjects, warn_of_data
from finished_run import UTILITY_FILE, load_run
from run_options import Run, resolve_run
from utility_data import (
    MOST_TRAINING_SLICES,
    Annotated,
    HeldOut,
    annotate,
    load_held_out,
    open_data,
)
from utility_pairs import count_copies, load_ready_pairs, parse_flags, take_data_of
from utility_results import Results, notes_of, save_pairs, write_results

from brainsynth_jax.data.pipeline import limit_subjects
from brainsynth_jax.errors import UserError
from brainsynth_jax.evaluation import utility
from brainsynth_jax.evaluation.utility import Arm, Training
from brainsynth_jax.evaluation.utility_report import describe_comparison
from brainsynth_jax.files import write_json
from brainsynth_jax.models.segmenter import check_image_size
from brainsynth_jax.progress import duration
from brainsynth_jax.training.run_folder import claim_run_folder, held_run_folder, save_options
from brainsynth_jax.training.segmenter import STEPS, predict, train_segmenter

PRESETS = {
    "demo": {
        "subjects": "3,12",
        "shares": "0.5",
        "seeds": 1,
        "synthetic_pairs": 200,
        "steps": 250,
        "generator_flags": "--epochs=3 --decay_epochs=3",
    },
    "full": {},
}

experiment = FlagGroup("The experiment")
experiment.string(
    "workdir",
    None,
    "Folder of the experiment; an earlier one's goes on with it. "
    "Without it: the next free runs/utility-NNN.",
)
experiment.choice(
    "preset",
    None,
    tuple(PRESETS),
    "Sets several flags at once; a flag of its own wins. "
    "Without it: demo without --data_dir, full with.",
)
experiment.string(
    "subjects", "3,5,10,all", "Numbers of annotated subjects, with commas between; all for all."
)
experiment.string(
    "shares", "0.25,0.5,0.75", "Shares of synthetic pairs in training, between 0 and 1."
)
experiment.integer("seeds", 2, "Trainings of each kind, each with a seed of its own.", 1)
experiment.integer("seed", 0, "Seed of split, choice of subjects and pairs.", highest=2**32 - 1)

data = FlagGroup("Data, as of cyclegan.py")
data.string("data_dir", None, "Folder with scans and true masks. Without it a phantom is made.")
data.string(
    "cache_dir",
    os.path.join("~", ".cache", "brainsynth_jax"),
    "Folder for the phantom, prepared slices and compiled steps.",
)
data.choice("modality", "flair", ("flair", "t1", "t1ce", "t2"), "MR sequence.")
data.choice("intensity", "median", ("median", "percentiles"), "Scaling of each volume.")
data.integer("image_size", 256, "Height and width of a prepared slice in pixels.", 16)
data.integer("min_tumor_area_pixels", 50, "Tumour that a slice must show, in pixels.")
data.number("test_fraction", 0.2, "Share of the subjects held out, between 0 and 1.", 0.0, 1.0)
data.switch("skip_bad_subjects", "Go on without subjects that cannot be used, and list them.")

pairs = FlagGroup("Synthetic pairs")
pairs.string("run", None, "Folder of a trained CycleGAN that draws them; its data are used.")
pairs.string(
    "pairs_dir",
    None,
    "Folder with ready pairs, images/ + masks/ or any layout of --data_dir, made without the "
    "held-out subjects.",
)
pairs.integer("synthetic_pairs", 500, "How many are made for each number of subjects.", 1)
pairs.choice("generator", "unet", ("unet", "resnet"), "Architecture of the CycleGAN.")
pairs.choice("generator_preset", "demo", ("demo", "paper"), "The CycleGAN's preset.")
pairs.string(
    "generator_flags", "", "More flags of cyclegan.py for its training: '--width=32 --epochs=10'."
)

segmenter = FlagGroup("The segmentation network")
segmenter.integer("segmenter_size", 128, "Slices are shrunk to this size; a multiple of 16.", 32)
segmenter.integer("steps", STEPS, "Updates of each training, of 8 pairs.", 1)

# May differ between the parts of one experiment: they change no number of it.
_FREE = {"workdir", "cache_dir", "data_dir"}


def main() -> None:
    """Data -> pairs -> trainings -> table, plot and page."""
    started = time.monotonic()
    experiment = resolve_run("utility", PRESETS, _FREE)
    options, run = open_generator(experiment.options)
    check_sizes(options)
    parse_flags(options.generator_flags)
    shares = parse_shares(options.shares)
    arms = utility.list_arms(shares)
    cache_dir = Path(options.cache_dir).expanduser()
    command_line.use_cache(cache_dir)

    dataset = open_data(options, run, cache_dir)
    experiment.check_data(dataset.fingerprint)
    counts = parse_subjects(options.subjects, len(dataset.train_subjects))
    ready = None
    if options.pairs_dir:
        ready = load_ready_pairs(options, dataset, MOST_TRAINING_SLICES, cache_dir)

    total = len(counts) * len(arms) * options.seeds
    workdir = experiment.workdir or claim_run_folder(Path("runs"), "utility")
    print(
        f"Folder {workdir}. Preset {options.preset}. To train on "
        f"{list_subjects(dataset.train_subjects)}; to test on "
        f"{list_subjects(dataset.test_subjects)}.\n{total} networks: {len(arms)} sets of pairs x "
        f"{len(counts)} numbers of subjects x {options.seeds} seeds."
    )
    for warning in warn_of_data(options, dataset):
        print(warning)
    with (
        held_run_folder(workdir),
        command_line.on_interrupt(
            f"What is done is kept. To go on:\n  python experiments/utility.py --workdir={workdir}"
        ),
    ):
        save_options(workdir, "utility", vars(options), describe_data(dataset))
        held_out = load_held_out(options, dataset)
        results = Results(workdir / UTILITY_FILE)
        notes, pictures, number = notes_of(options, dataset, run), [], 0
        for count in counts:
            fewer = limit_subjects(dataset, count, options.seed)
            annotated = annotate(options, run, ready, fewer, held_out, workdir, cache_dir)
            results.check_generator(count, annotated.generator_step, workdir)
            results.thresholds[count] = annotated.threshold
            pictures.append(save_pairs(annotated, count, workdir))
            if ready and count == counts[-1]:
                notes += note_copies(options, annotated, held_out)
            for arm, seed in itertools.product(arms, range(options.seeds)):
                number += 1
                print(f"Network {number} of {total}: {count} subjects, {arm.name}, seed {seed}")
                train_one(options, arm, count, seed, annotated, held_out, results)
        summary = write_results(options, results, arms, shares, pictures, notes, workdir)
        if run:
            keep_with_run(run, summary, annotated.generator_step, workdir)
    print(describe_comparison(summary["comparisons"][0], summary["held_out"]))
    print(f"Done in {duration(time.monotonic() - started)}. Open {workdir / 'utility.html'}")


def open_generator(options: SimpleNamespace) -> tuple[SimpleNamespace, Run | None]:
    """The CycleGAN's run that --run names, if any, and the options with that run's data."""
    if options.run and options.pairs_dir:
        raise UserError("--run and --pairs_dir: pairs come from one or the other; leave one out.")
    if not options.run:
        return options, None
    run = load_run(options.run, ("cyclegan",), options.data_dir, flag="--run")
    return take_data_of(run, options), run


def check_sizes(options: SimpleNamespace) -> None:
    """Raises UserError where slices cannot be shrunk to the segmentation network's size."""
    check_image_size(options.segmenter_size, flag="--segmenter_size")
    if options.segmenter_size > options.image_size:
        raise UserError(
            f"--segmenter_size={options.segmenter_size}: slices are shrunk to it, so it can be "
            f"--image_size={options.image_size} at most."
        )


def parse_shares(text: str) -> list[float]:
    """ "0.25,0.5" -> [0.25, 0.5]."""
    try:
        shares = sorted({float(part) for part in text.split(",")})
    except ValueError:
        shares = []
    if not shares or not 0 < shares[0] <= shares[-1] < 1:
        raise UserError(
            f"--shares={text}: numbers above 0 and below 1 with commas between are needed, such "
            "as 0.25,0.5. (None and all synthetic pairs are always tried.)"
        )
    if len({arm.name for arm in utility.list_arms(shares)}) < len(utility.list_arms(shares)):
        raise UserError(
            f"--shares={text}: two of them are the same in whole percent; leave one out."
        )
    return shares


def parse_subjects(text: str, available: int) -> list[int]:
    """ "3,5,all" -> [3, 5, 12] where 12 are available; larger numbers are left out, and said."""
    parts = text.split(",")
    if not all(part == "all" or (part.isdecimal() and int(part)) for part in parts):
        raise UserError(
            f"--subjects={text}: numbers above 0 with commas between are needed, such as 3,5,10; "
            "or all."
        )
    wanted = {available if part == "all" else int(part) for part in parts}
    if too_many := sorted(count for count in wanted if count > available):
        print(
            f"warning: --subjects={text}: only {available} subjects are there to train on, so "
            f"{', '.join(map(str, too_many))} is left out."
        )
    counts = sorted(count for count in wanted if count <= available)
    if not counts:
        raise UserError(
            f"--subjects={text}: only {available} subjects are there to train on. Ask for fewer, "
            "or hold out fewer by a lower --test_fraction."
        )
    return counts


def note_copies(options: SimpleNamespace, annotated: Annotated, held_out: HeldOut) -> list[str]:
    """A sentence where ready pairs show held-out slices again, which is printed as well."""
    copied = count_copies(
        annotated.synthetic, annotated.real, held_out.pairs, held_out.slices.subjects
    )
    if not copied:
        return []
    note = (
        f"{copied} of the pairs in {options.pairs_dir} that were looked at are nearly held-out "
        "slices, so the networks were tested on what they had seen: the result is worthless."
    )
    print(f"warning: {note}")
    return [note]


def train_one(
    options: SimpleNamespace,
    arm: Arm,
    count: int,
    seed: int,
    annotated: Annotated,
    held_out: HeldOut,
    results: Results,
) -> None:
    """One network trained and tested, unless that was done before."""
    if results.has(arm, count, seed):
        print("  Done before.")
        return
    started = time.monotonic()
    real, synthetic = annotated.real, annotated.synthetic
    params = train_segmenter(
        np.concatenate([real.images, synthetic.images]),
        np.concatenate([real.masks, synthetic.masks]),
        seed,
        options.steps,
        arm.augmented,
        chances=utility.draw_chances(arm.share, len(real.masks), len(synthetic.masks)),
    )
    slices, pairs = held_out
    drawn = predict(params, pairs.images)
    scores = utility.score_dice(drawn, pairs.masks, slices.subjects, slices.slice_numbers)
    results.add(Training(arm.name, count, seed, scores))
    print(
        f"  Dice {np.mean(list(scores.values())):.3f}, threshold "
        f"{np.mean(list(annotated.threshold.values())):.3f}, "
        f"{duration(time.monotonic() - started)}.",
        flush=True,
    )


def keep_with_run(run: Run, summary: dict, generator_step: int, workdir: Path) -> None:
    """Leaves what was found in the CycleGAN's folder, for its report."""
    path = run.workdir / UTILITY_FILE
    found = {"generator_step": generator_step, "experiment": str(workdir.absolute())}
    write_json(path, summary | found)
    print(
        f"Kept in {path} as well, in place of what was found before. To see it in that run's "
        f"report:\n  python experiments/evaluate.py --workdir={run.workdir}"
    )


if __name__ == "__main__":
    command_line.run(main, PRESETS)
