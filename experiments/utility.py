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

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import command_line
import numpy as np
from command_line import FlagGroup
from cyclegan_setup import prepare_dataset
from dataset import describe_data, list_subjects, note_data, warn_of_data
from finished_run import UTILITY_FILE, load_run
from run_options import Run, resolve_run
from utility_pairs import (
    count_copies,
    draw_pairs,
    load_ready_pairs,
    parse_flags,
    take_data_of,
    train_generator,
)

from brainsynth_jax.data.masks import is_brain, is_tumor
from brainsynth_jax.data.pipeline import SliceBatch, limit_subjects, load_slices
from brainsynth_jax.data.prepared import Records, SliceDataset
from brainsynth_jax.errors import UserError
from brainsynth_jax.evaluation import utility
from brainsynth_jax.evaluation.report import SCHEMA
from brainsynth_jax.evaluation.threshold import apply_threshold, tune_threshold
from brainsynth_jax.evaluation.utility import Arm, Training
from brainsynth_jax.evaluation.utility_report import describe_comparison, write_utility_report
from brainsynth_jax.files import write_json, write_table
from brainsynth_jax.models.segmenter import check_image_size
from brainsynth_jax.plots import save_dice_curves, save_sample_grid
from brainsynth_jax.progress import duration
from brainsynth_jax.training.pairs import Pairs, shrink_pairs
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
_SHOWN_PAIRS = 6
# Slices in memory, at most, spread over the subjects: a hundred of 256 x 256 take 85 MB.
_MOST_TRAINING_SLICES, _MOST_TEST_SLICES = 3000, 1500


class Annotated(NamedTuple):
    """What is there for one number of annotated subjects.

    Attributes:
        real: their pairs.
        synthetic: those made from them, or ready ones.
        threshold: Dice of each held-out subject by the best smoothed threshold on `real`.
        generator_step: of the CycleGAN that drew the synthetic ones; None of ready ones.
    """

    real: Pairs
    synthetic: Pairs
    threshold: dict[str, float]
    generator_step: int | None


class HeldOut(NamedTuple):
    """The slices that all networks are tested on, as they are prepared and shrunk."""

    slices: SliceBatch
    pairs: Pairs


def main() -> None:
    """Data -> pairs -> trainings -> table, plot and page."""
    started = time.monotonic()
    experiment = resolve_run("utility", PRESETS, _FREE)
    options = experiment.options
    if options.run and options.pairs_dir:
        raise UserError("--run and --pairs_dir: pairs come from one or the other; leave one out.")
    run = None
    if options.run:
        run = load_run(options.run, ("cyclegan",), options.data_dir, flag="--run")
    if run:
        options = take_data_of(run, options)
    check_image_size(options.segmenter_size, flag="--segmenter_size")
    if options.segmenter_size > options.image_size:
        raise UserError(
            f"--segmenter_size={options.segmenter_size}: slices are shrunk to it, so it can be "
            f"--image_size={options.image_size} at most."
        )
    shares = parse_shares(options.shares)
    arms = utility.list_arms(shares)
    parse_flags(options.generator_flags)
    cache_dir = Path(options.cache_dir).expanduser()
    command_line.use_cache(cache_dir)

    dataset = open_data(options, run, cache_dir)
    experiment.check_data(dataset.fingerprint)
    counts = parse_subjects(options.subjects, len(dataset.train_subjects))
    ready = None
    if options.pairs_dir:
        ready = load_ready_pairs(options, dataset, _MOST_TRAINING_SLICES, cache_dir)

    workdir = experiment.workdir or claim_run_folder(Path("runs"), "utility")
    print(
        f"Folder {workdir}. Preset {options.preset}. To train on "
        f"{list_subjects(dataset.train_subjects)}; to test on "
        f"{list_subjects(dataset.test_subjects)}.\n{len(counts) * len(arms) * options.seeds} "
        f"networks: {len(arms)} sets of pairs x {len(counts)} numbers of subjects x "
        f"{options.seeds} seeds."
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
            for arm in arms:
                for seed in range(options.seeds):
                    number += 1
                    title = f"Network {number}: {count} subjects, {arm.name}, seed {seed}"
                    train_one(options, arm, count, seed, annotated, held_out, results, title)
        summary = write_results(options, results, arms, shares, pictures, notes, workdir)
        if run:
            found = summary | {
                "generator_step": annotated.generator_step,
                "experiment": str(workdir.absolute()),
            }
            write_json(run.workdir / UTILITY_FILE, found)
            print(
                f"Kept in {run.workdir / UTILITY_FILE} as well, in place of what was found before. "
                "To see it in that run's report:\n"
                f"  python experiments/evaluate.py --workdir={run.workdir}"
            )
    print(describe_comparison(summary["comparisons"][0], summary["held_out"]))
    print(f"Done in {duration(time.monotonic() - started)}. Open {workdir / 'utility.html'}")


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


def open_data(options: SimpleNamespace, run: Run | None, cache_dir: Path) -> SliceDataset:
    """Prepared slices with true masks: of the CycleGAN's run, or as the flags say."""
    whole = {"slices": None, "mask_classes": "whole", "train_subjects": 0}
    unlimited = {"train_pairs": 0, "test_pairs": 0}
    asked = vars(run.options) if run else vars(options) | whole
    dataset = prepare_dataset(SimpleNamespace(**asked | unlimited), cache_dir)
    if run:
        run.check_data(dataset.fingerprint)
    if not dataset.paired:
        raise UserError(
            f"--data_dir={options.data_dir}: these images have no true masks of their own, which "
            "training and testing a segmentation network needs. Give a folder with scans and masks."
        )
    return dataset


def load_held_out(options: SimpleNamespace, dataset: SliceDataset) -> HeldOut:
    """Slices of the test subjects: with tumour, and of each some without, if there are any.

    What a network draws into slices without tumour lowers its subject's Dice.
    """
    slices = load_some(options, dataset.test_a, _MOST_TEST_SLICES)
    if dataset.test_empty is not None:
        empty = load_some(options, dataset.test_empty, _MOST_TEST_SLICES)
        slices = SliceBatch(*map(np.concatenate, zip(slices, empty, strict=True)))
    return HeldOut(slices, shrink(slices, options.segmenter_size))


def load_some(options: SimpleNamespace, records: Records, most: int) -> SliceBatch:
    """At most so many slices, spread over the subjects."""
    return load_slices(records, True, "tumor", "whole", most, options.seed)


def shrink(slices: SliceBatch, size: int) -> Pairs:
    """Slices and their true masks, at the segmentation network's size."""
    return shrink_pairs(Pairs(slices.image, is_tumor(slices.tissue)), size)


def annotate(
    options: SimpleNamespace,
    run: Run | None,
    ready: Pairs | None,
    dataset: SliceDataset,
    held_out: HeldOut,
    workdir: Path,
    cache_dir: Path,
) -> Annotated:
    """Real and synthetic pairs, and the threshold, of the subjects that `dataset` trains on."""
    slices = load_some(options, dataset.train_a, _MOST_TRAINING_SLICES)
    real, step = shrink(slices, options.segmenter_size), None
    if ready is None:
        run = run or train_generator(options, dataset, workdir, cache_dir)
        ready, step = draw_pairs(run, slices.tissue, options)
    return Annotated(real, ready, score_threshold(slices, held_out, options), step)


def score_threshold(
    slices: SliceBatch, held_out: HeldOut, options: SimpleNamespace
) -> dict[str, float]:
    """Dice of each held-out subject by the best smoothed threshold on `slices`.

    Its masks are shrunk as the slices are, and compared with the same truth as the networks'.
    """
    brain, tumor = is_brain(slices.tissue), is_tumor(slices.tissue)
    baseline = tune_threshold(slices.brain_z, brain, tumor, slices.subjects)
    test, pairs = held_out
    drawn = apply_threshold(baseline, test.brain_z, is_brain(test.tissue))
    drawn = shrink_pairs(Pairs(test.image, drawn), options.segmenter_size).masks
    return utility.score_dice(drawn, pairs.masks, test.subjects, test.slice_numbers)


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


class Results:
    """What is done, kept in a file that is written after each training.

    Attributes:
        path: of the file.
        trainings: those done.
        thresholds: number of subjects -> Dice of each held-out subject.
        generator_steps: number of subjects -> step of the CycleGAN that drew the pairs.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        stored = json.loads(path.read_text()) if path.exists() else {"trainings": []}
        self.trainings = [Training(**training) for training in stored["trainings"]]
        self.thresholds: dict[int, dict[str, float]] = {}
        steps = stored.get("generator_steps", {})
        self.generator_steps = {int(count): step for count, step in steps.items()}

    def has(self, arm: Arm, count: int, seed: int) -> bool:
        """Whether that training is done."""
        key = (arm.name, count, seed)
        return any((one.arm, one.subjects, one.seed) == key for one in self.trainings)

    def check_generator(self, count: int, step: int | None, workdir: Path) -> None:
        """Raises UserError where pairs of these subjects were drawn by other weights before."""
        before = self.generator_steps.setdefault(count, step)
        if before != step and any(one.subjects == count for one in self.trainings):
            raise UserError(
                f"--workdir={workdir}: its pairs of {count} subjects were drawn by the CycleGAN's "
                f"step {before}, and would be by step {step} now. Begin again in a new --workdir."
            )

    def add(self, training: Training) -> None:
        """Keeps one more."""
        self.trainings.append(training)
        self.save({})

    def save(self, summary: dict) -> None:
        """Writes the file."""
        done = [training._asdict() for training in self.trainings]
        steps = {str(count): step for count, step in self.generator_steps.items()}
        write_json(self.path, summary | {"generator_steps": steps, "trainings": done})


def train_one(
    options: SimpleNamespace,
    arm: Arm,
    count: int,
    seed: int,
    annotated: Annotated,
    held_out: HeldOut,
    results: Results,
    title: str,
) -> None:
    """One network trained and tested, unless that was done before."""
    if results.has(arm, count, seed):
        print(f"{title}: done before.")
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
        f"{title}: Dice {np.mean(list(scores.values())):.3f}, threshold "
        f"{np.mean(list(annotated.threshold.values())):.3f}, "
        f"{duration(time.monotonic() - started)}.",
        flush=True,
    )


def save_pairs(annotated: Annotated, count: int, workdir: Path) -> tuple[str, str, Path]:
    """Pictures of real and synthetic pairs; (title, caption, path)."""
    path = workdir / "samples" / f"pairs_{count:03d}.png"

    def spread(values: np.ndarray) -> Sequence[np.ndarray]:
        return values[np.linspace(0, len(values) - 1, _SHOWN_PAIRS).astype(int)]

    rows = {}
    for name, (images, masks) in (("real", annotated.real), ("synthetic", annotated.synthetic)):
        rows[name] = spread(images)[..., 0]
        rows[f"{name},\nmask"] = spread(masks) * np.float32(2) - 1
    save_sample_grid(path, list(rows.values()), [""] * _SHOWN_PAIRS, list(rows))
    return (
        f"Pairs of {count} annotated subject{'' if count == 1 else 's'}",
        "Real slices with their masks; below, synthetic ones with theirs, evenly spread, not "
        "chosen.",
        path,
    )


def write_results(
    options: SimpleNamespace,
    results: Results,
    arms: Sequence[Arm],
    shares: Sequence[float],
    pictures: Sequence[tuple[str, str, Path]],
    notes: Sequence[str],
    workdir: Path,
) -> dict:
    """Writes utility.json, utility.csv, utility.png and utility.html; returns the first."""
    summary = utility.summarize_trainings(
        results.trainings, results.thresholds, arms, utility.main_share(shares)
    ) | {"schema": SCHEMA, "held_out": len(results.trainings[0].dice)}
    results.save(summary)

    write_table(
        workdir / "utility.csv",
        [
            {
                "arm": training.arm,
                "subjects": training.subjects,
                "seed": training.seed,
                "held_out_subject": name,
                "dice": value,
            }
            for training in results.trainings
            for name, value in training.dice.items()
        ],
    )

    curves: dict[str, list] = {}
    for row in summary["rows"]:
        point = row["subjects"], row["dice"]["mean"], row["dice"]["interval_95"]
        curves.setdefault(row["arm"], []).append(point)
    threshold = "best threshold, no network"
    curves[threshold] = [
        (int(count), one["mean"], one["interval_95"]) for count, one in summary["threshold"].items()
    ]
    plot = workdir / "utility.png"
    save_dice_curves(plot, curves, dashed=(utility.REAL.name, utility.USUAL.name, threshold))
    write_utility_report(
        workdir / "utility.html",
        summary,
        {name: value for name, value in vars(options).items() if name != "cache_dir"},
        plot,
        pictures,
        notes,
    )
    return summary


def notes_of(options: SimpleNamespace, dataset: SliceDataset, run: Run | None) -> list[str]:
    """What a reader has to know."""
    notes = note_data(options, dataset)
    empty = len(dataset.test_empty) if dataset.test_empty is not None else 0
    notes.append(
        f"All networks were trained on slices that show tumour, and tested on such and on {empty} "
        "slices of the held-out subjects without tumour."
    )
    if options.seeds == 1:
        notes.append(
            "Each network was trained once: another seed changes Dice by some 0.02, of which the "
            "intervals know nothing. --seeds=3 tells more."
        )
    if run:
        notes.append(
            f"The synthetic pairs were drawn by the CycleGAN in {run.workdir}, which saw all "
            f"{len(dataset.train_subjects)} training subjects, unaligned. With fewer annotated "
            "subjects it knows more than the network without synthetic pairs."
        )
    elif options.pairs_dir:
        notes.append(
            f"The synthetic pairs are those in {options.pairs_dir}, the same for every number of "
            "annotated subjects. If they were made from held-out subjects, the result is worthless."
        )
    else:
        notes.append(
            "For each number of annotated subjects a CycleGAN was trained on these subjects alone."
        )
    return notes


if __name__ == "__main__":
    command_line.run(main, PRESETS)
