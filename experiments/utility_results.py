"""What utility.py found, kept as it goes, and shown: utility.json, .csv, .png and .html.

`options` holds one attribute for each flag of `utility.py`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from dataset import note_data
from run_options import Run
from samples_evaluation import Picture
from utility_data import Annotated

from brainsynth_jax.data.prepared import SliceDataset
from brainsynth_jax.errors import UserError
from brainsynth_jax.evaluation import utility
from brainsynth_jax.evaluation.report import SCHEMA
from brainsynth_jax.evaluation.utility import Arm, Training
from brainsynth_jax.evaluation.utility_report import write_utility_report
from brainsynth_jax.files import write_json, write_table
from brainsynth_jax.plots import save_dice_curves, save_sample_grid

_SHOWN_PAIRS = 6


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


def save_pairs(annotated: Annotated, count: int, workdir: Path) -> Picture:
    """Pictures of real and synthetic pairs."""
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
    pictures: Sequence[Picture],
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
