"""A CycleGAN run looked at: what the end of an epoch shows and what evaluation.json holds.

`options` holds one attribute for each flag of `cyclegan.py`.
"""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import numpy as np
from dataset import note_data
from finished_run import load_utility
from samples_evaluation import (
    Picture,
    load_reference,
    name_patients,
    write_beside_real,
    write_copies,
)

from brainsynth_jax.data.masks import default_threshold, is_brain, is_tumor, mask_levels
from brainsynth_jax.data.pipeline import SliceBatch, load_slices
from brainsynth_jax.data.prepared import Records, SliceDataset
from brainsynth_jax.evaluation.cyclegan import (
    EmptySlices,
    MaskStyle,
    draw_tumors,
    evaluate_split,
    list_subjects,
    make_translate,
    score_masks,
    translate_slices,
)
from brainsynth_jax.evaluation.cyclegan_report import answer_questions, write_cyclegan_report
from brainsynth_jax.evaluation.distances import UNKNOWN
from brainsynth_jax.evaluation.model_card import write_model_card
from brainsynth_jax.evaluation.placement import LabelledSlices, score_placement
from brainsynth_jax.evaluation.report import SCHEMA
from brainsynth_jax.evaluation.samples import Reference, Samples, evaluate_samples, measure_samples
from brainsynth_jax.evaluation.threshold import ThresholdBaseline, tune_threshold
from brainsynth_jax.evaluation.translation import PUBLISHED_TABLE2
from brainsynth_jax.files import write_json, write_table
from brainsynth_jax.plots import CYCLEGAN_PANELS, save_curves, save_sample_grid
from brainsynth_jax.progress import Progress
from brainsynth_jax.training.cyclegan import CycleGan, CycleGanState
from brainsynth_jax.training.logs import read_metrics
from brainsynth_jax.training.loop import EpochResult
from brainsynth_jax.training.pairs import draw_from_masks
from brainsynth_jax.training.run_folder import load_options

# The threshold baseline is tuned on at most so many slices, spread over the training subjects.
_TUNING_SLICES = 400
# At the end of each epoch, Dice is measured on so many slices of each split.
_WATCHED_SLICES = 32
_PICTURED_SLICES = 6
# So many slices are drawn from masks, to be judged by themselves.
_SYNTHETIC_SLICES = 300
# A run whose Dice on training subjects falls by so much from its best has gone bad.
_COLLAPSE = 0.15


class Held(NamedTuple):
    """One split's slices, held in memory for evaluation.

    Attributes:
        a: slices of A.
        b: slices of B; `a` itself where the truth is known.
        empty: slices without tumour of the same subjects, or None.
    """

    a: SliceBatch
    b: SliceBatch
    empty: SliceBatch | None = None


def load_splits(options: SimpleNamespace, dataset: SliceDataset) -> dict[str, Held]:
    """Slices to look at: of those trained on, --evaluated_train_pairs; of the test split, all.

    Of the test subjects' slices without tumour, no more than --test_pairs.
    """
    test = _hold(options, dataset, dataset.test_a, dataset.test_b)
    if dataset.test_empty is not None:
        test = test._replace(empty=_load(options, dataset, dataset.test_empty, options.test_pairs))
    return {"train": _hold(options, dataset, dataset.train_a, dataset.train_b), "test": test}


def _hold(
    options: SimpleNamespace, dataset: SliceDataset, records_a: Records, records_b: Records
) -> Held:
    limit = options.evaluated_train_pairs if records_a is dataset.train_a else 0
    if dataset.paired:
        slices = _load(options, dataset, records_a, limit)
        return Held(slices, slices)
    count = min(limit or len(records_a), len(records_a), len(records_b))
    return Held(*(_load(options, dataset, part, count) for part in (records_a, records_b)))


def _load(
    options: SimpleNamespace, dataset: SliceDataset, records: Records, limit: int
) -> SliceBatch:
    return load_slices(
        records, dataset.paired, options.mask_style, options.mask_classes, limit, options.seed
    )


def spread(slices: SliceBatch, count: int) -> SliceBatch:
    """At most `count` slices, evenly spread over the batch."""
    chosen = np.unique(np.linspace(0, len(slices.image) - 1, count).astype(int))
    return SliceBatch(*(np.asarray(values)[chosen] for values in slices))


def make_finish_epoch(
    options: SimpleNamespace,
    model: CycleGan,
    splits: dict[str, Held],
    paired: bool,
    workdir: Path,
) -> Callable[[CycleGanState, int], EpochResult]:
    """Returns what the end of an epoch does: watch Dice, write pictures and curves.

    A checkpoint's score is the Dice on *training* subjects; the test subjects choose nothing.
    """
    generator_ab = _make_generator_ab(model)
    translate = make_translate(model, None)
    mask = mask_style(options)

    def finish_epoch(state: CycleGanState, epoch: int) -> EpochResult:
        values = {}
        if paired:
            for split, held in splits.items():
                watched = spread(held.a, _WATCHED_SLICES)
                fake_b = draw_tumors(generator_ab, state, watched.image)
                summary = score_masks(fake_b, watched, mask, options.seed)["summary"]
                values[f"{split}_dice"] = summary["dice"]["mean"]
        write_samples(translate, state, splits["test"], paired, workdir, f"epoch_{epoch:03d}")
        save_curves(workdir / "curves.png", read_metrics(workdir), CYCLEGAN_PANELS)
        return EpochResult(values, values.get("train_dice"))

    return finish_epoch


def _make_generator_ab(model: CycleGan) -> Callable[[Any, jax.Array], jax.Array]:
    return jax.jit(lambda params, image: model.generator.apply({"params": params}, image))


def write_samples(
    translate: Callable,
    state: CycleGanState,
    held: Held,
    paired: bool,
    workdir: Path,
    name: str,
) -> list[Path]:
    """Writes samples/NAME_a_to_b.png and _b_to_a.png: input | translated | cycled (| truth)."""
    a, b = spread(held.a, _PICTURED_SLICES), spread(held.b, _PICTURED_SLICES)
    made = translate_slices(translate, state, a.image, b.mask)
    columns = {
        "a_to_b": (a.image, made.fake_b, made.cycled_a, b.mask),
        "b_to_a": (b.mask, made.fake_a, made.cycled_b, a.image),
    }
    titles = ["input", "translated", "cycled", "truth"][: 4 if paired else 3]
    owners = {"a_to_b": a, "b_to_a": b}
    paths = []
    for direction, images in columns.items():
        rows = [[image[..., 0] for image in row] for row in zip(*images, strict=True)]
        path = workdir / "samples" / f"{name}_{direction}.png"
        save_sample_grid(
            path,
            [row[: len(titles)] for row in rows],
            titles,
            [
                f"{subject} · {number}"
                for subject, number in zip(
                    owners[direction].subjects, owners[direction].slice_numbers, strict=True
                )
            ],
        )
        paths.append(path)
    return paths


def _draw_synthetic(
    options: SimpleNamespace,
    model: CycleGan,
    state: CycleGanState,
    paired: bool,
    source: SliceBatch,
) -> tuple[np.ndarray, LabelledSlices | None]:
    """Slices that G_BA draws from the masks of training slices, (N, S, S, 1), and with their masks.

    Where the truth is known the masks are changed, so that they are nobody's; else, None for these,
    they are pictures of domain B as they are.
    """
    params = state.best_generators["ba"]

    def generate(params: Any, picture: jax.Array) -> jax.Array:
        return model.generator.apply({"params": params}, picture)

    if not paired:
        draw = jax.jit(generate)
        return np.concatenate([draw(params, picture[None]) for picture in source.mask]), None
    with Progress("Drawing slices from changed masks", _SYNTHETIC_SLICES, "slice") as progress:
        drawn = draw_from_masks(
            generate,
            params,
            source.tissue,
            options.mask_style,
            options.mask_classes,
            _SYNTHETIC_SLICES,
            options.seed,
            advance=progress.advance,
        )
    owners = [source.subjects[index] for index in drawn.sources]
    return drawn.images, LabelledSlices(drawn.images, drawn.tissue, owners)


def _measure_synthetic(
    options: SimpleNamespace,
    model: CycleGan,
    state: CycleGanState,
    dataset: SliceDataset,
    heldout: SliceBatch,
    real: Reference,
) -> tuple[Samples, dict | None]:
    """The slices that G_BA draws, and whether their tumours are where the masks say.

    The latter is None without true masks.
    """
    source = _load(options, dataset, dataset.train_b, _SYNTHETIC_SLICES)
    images, labelled = _draw_synthetic(options, model, state, dataset.paired, source)
    if labelled is None:
        patients = name_patients(dataset)
        return measure_samples(images, real, [patients[name] for name in source.subjects]), None
    training, test = (
        LabelledSlices(slices.image, slices.tissue, slices.subjects) for slices in (source, heldout)
    )
    placement = score_placement(labelled, training, test, options.seed)
    return measure_samples(images, real, labelled.subjects), placement


def _evaluate_splits(
    options: SimpleNamespace,
    model: CycleGan,
    state: CycleGanState,
    dataset: SliceDataset,
    splits: dict[str, Held],
    translate: Callable,
) -> dict[str, dict]:
    """What `evaluate_split` gives of each split."""
    baseline = tune_baseline(options, dataset) if dataset.paired else None
    mask = mask_style(options) if dataset.paired else None
    patients = name_patients(dataset)
    total = sum(len(held.a.image) for held in splits.values())
    found = {}
    with Progress("Evaluating", total, "slice") as progress:
        for split, (a, b, without_tumor) in splits.items():
            made = translate_slices(translate, state, a.image, b.mask, progress.advance)
            empty = None
            if without_tumor is not None:
                fake_b = draw_tumors(_make_generator_ab(model), state, without_tumor.image)
                empty = EmptySlices(without_tumor, fake_b)
            a = a._replace(subjects=[patients[name] for name in a.subjects])
            found[split] = evaluate_split(made, a, b, mask, baseline, options.seed, empty)
    return found


def evaluate_run(
    options: SimpleNamespace,
    model: CycleGan,
    state: CycleGanState,
    dataset: SliceDataset,
    splits: dict[str, Held],
    workdir: Path,
    checkpoint: str,
    cache_dir: Path,
) -> dict:
    """Writes evaluation.json, its tables, the final pictures, report.html and MODEL_CARD.md.

    Returns the evaluation. Without true masks there are no tables slices.csv and subjects.csv.
    """
    translate = make_translate(model, known_levels(options, dataset.paired))
    found = _evaluate_splits(options, model, state, dataset, splits, translate)
    slice_rows = {split: part.pop("slice_scores") for split, part in found.items()}["test"]
    real = load_reference(dataset, options.seed, cache_dir, options.encoder)
    samples, placement = _measure_synthetic(options, model, state, dataset, splits["test"].a, real)
    evaluation = {
        "schema": SCHEMA,
        "kind": "cyclegan",
        "generator": options.generator,
        "weights": "raw" if state.average is None else "ema",
        "checkpoint": checkpoint,
        "step": int(state.step),
        "mask_threshold": mask_style(options).threshold if dataset.paired else None,
        "published_table2": PUBLISHED_TABLE2,
        **found,
        "synthetic": evaluate_samples(samples, real, options.seed) | {"placement": placement},
        "utility": load_utility(workdir),
    }
    write_json(workdir / "evaluation.json", evaluation)
    if dataset.paired:
        write_table(workdir / "slices.csv", slice_rows)
        rows = [{"split": split} | row for split in splits for row in list_subjects(found[split])]
        write_table(workdir / "subjects.csv", rows)
    a_to_b, b_to_a = write_samples(
        translate, state, splits["test"], dataset.paired, workdir, "final"
    )
    pictures = [
        ("MR slice to mask", "Held-out subjects; the layout of figures 12 and 14.", a_to_b),
        ("Mask to MR slice", "Held-out subjects; the layout of figures 13 and 15.", b_to_a),
        write_beside_real(samples, real, workdir / "samples", options.seed),
        write_copies(samples, real, dataset, workdir),
    ]
    _write_pages(options, dataset, evaluation, pictures, workdir)
    return evaluation


def _write_pages(
    options: SimpleNamespace,
    dataset: SliceDataset,
    evaluation: dict,
    pictures: list[Picture],
    workdir: Path,
) -> None:
    """Writes curves.png, report.html and MODEL_CARD.md."""
    records, stored = read_metrics(workdir), load_options(workdir)
    save_curves(workdir / "curves.png", records, CYCLEGAN_PANELS)
    last = evaluation["checkpoint"] == "last"
    collapse = warn_of_collapse(records, workdir) if last else []
    write_cyclegan_report(
        workdir / "report.html",
        title=f"CycleGAN, {options.generator} generator",
        options=stored,
        evaluation=evaluation,
        records=records,
        curves_png=workdir / "curves.png",
        sample_pngs=pictures,
        notes=_notes(options, dataset) + collapse,
    )
    write_model_card(
        workdir / "MODEL_CARD.md", stored, evaluation, answer_questions(evaluation), bool(collapse)
    )


def tune_baseline(options: SimpleNamespace, dataset: SliceDataset) -> ThresholdBaseline:
    """The best smoothed threshold on the training subjects."""
    slices = _load(options, dataset, dataset.train_a, _TUNING_SLICES)
    return tune_threshold(
        slices.brain_z, is_brain(slices.tissue), is_tumor(slices.tissue), slices.subjects
    )


def mask_style(options: SimpleNamespace) -> MaskStyle:
    """How masks are drawn; the threshold is midway between grey levels, fixed before any data."""
    style, classes = options.mask_style, options.mask_classes
    return MaskStyle(style, classes, default_threshold(style, classes))


def warn_of_collapse(records: list[dict[str, float]], workdir: Path) -> list[str]:
    """A sentence where the last epoch finds far less tumour in training subjects than the best."""
    watched = [record for record in records if record.get("train_dice") is not None]
    if not watched:
        return []
    best, last = max(watched, key=lambda record: record["train_dice"]), watched[-1]
    if best["train_dice"] - last["train_dice"] < _COLLAPSE:
        return []
    return [
        f"The run went bad: Dice on training subjects was {best['train_dice']:.2f} at step "
        f"{best['step']} and is {last['train_dice']:.2f} at step {last['step']}. The earlier "
        "weights are kept: python experiments/evaluate.py "
        f"--workdir={workdir} --checkpoint=best\n"
        "A new run holds longer with noisier discriminators and a falling rate: "
        "--discriminator_noise=0.4 --decay_epochs=10, say."
    ]


def known_levels(options: SimpleNamespace, paired: bool) -> np.ndarray | None:
    """The grey levels of the masks that this program draws; a folder of pictures has its own."""
    return mask_levels(options.mask_style, options.mask_classes) if paired else None


def _notes(options: SimpleNamespace, dataset: SliceDataset) -> list[str]:
    notes = note_data(options, dataset)
    if not dataset.paired:
        notes.append(
            "The folder has no true masks, so Dice, the threshold baseline, the paired errors and "
            "the truth column are left out."
        )
        if UNKNOWN in name_patients(dataset).values():
            notes.append(
                "The pictures' names do not tell whose they are, so there are no intervals over "
                "subjects; PATIENT_7.png would, or a subfolder for each patient. What is called "
                "subjects here are pictures."
            )
    return notes


def describe_evaluation(evaluation: dict) -> str:
    """One line a reader needs first: Dice on held-out subjects beside the threshold's."""
    test = evaluation["test"]
    if test["segmentation"] is None:
        return "No true masks, so no Dice; evaluation.json holds Table 2 and the cycle errors."

    def dice(scores: dict) -> str:
        summary = scores["summary"]["dice"]
        interval = summary["interval_95"]
        return f"{summary['mean']:.3f}" + (
            f" (95 % interval {interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
        )

    return (
        f"Whole-tumour Dice on {test['subjects']} held-out subjects: {dice(test['segmentation'])}; "
        f"best smoothed threshold: {dice(test['threshold_baseline'])}."
    )
