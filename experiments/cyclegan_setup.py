"""What a CycleGAN run's options mean: its data, its networks, its evaluation and its pictures.

`cyclegan.py` and `evaluate.py` share it. `options` holds one attribute for each flag of
`cyclegan.py`.
"""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from command_line import describe_options

from brainsynth_jax.data.masks import default_threshold, is_brain, is_tumor
from brainsynth_jax.data.phantom import PHANTOM_VERSION, write_phantom
from brainsynth_jax.data.pipeline import SliceBatch, load_slices
from brainsynth_jax.data.prepared import SliceDataset, prepare_slices
from brainsynth_jax.data.slices import SliceOptions
from brainsynth_jax.data.sources import recognise
from brainsynth_jax.errors import UserError
from brainsynth_jax.evaluation.cyclegan import (
    MaskStyle,
    draw_tumors,
    evaluate_split,
    make_translate,
    score_masks,
    translate_slices,
)
from brainsynth_jax.evaluation.report import write_report
from brainsynth_jax.evaluation.threshold import ThresholdBaseline, tune_threshold
from brainsynth_jax.evaluation.translation import PUBLISHED_TABLE2
from brainsynth_jax.models import resnet, unet
from brainsynth_jax.models.patch import PatchDiscriminator
from brainsynth_jax.plots import save_curves, save_sample_grid
from brainsynth_jax.progress import Progress
from brainsynth_jax.training.cyclegan import CycleGan, CycleGanState
from brainsynth_jax.training.logs import read_metrics
from brainsynth_jax.training.loop import EpochResult
from brainsynth_jax.training.optimizer import make_adam, make_schedule

_log = logging.getLogger("brainsynth_jax.cyclegan")

GENERATORS = {"unet": unet.UnetGenerator, "resnet": resnet.ResnetGenerator}
PRECISIONS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}

# The threshold baseline is tuned on at most so many slices, spread over the training subjects.
_TUNING_SLICES = 400
# At the end of each epoch, Dice is measured on so many slices of each split.
_WATCHED_SLICES = 32
_PICTURED_SLICES = 6


class Held(NamedTuple):
    """One split's slices, held in memory for evaluation.

    Attributes:
        a: slices of A.
        b: slices of B; `a` itself where the truth is known.
    """

    a: SliceBatch
    b: SliceBatch


def prepare_dataset(options: SimpleNamespace, cache_dir: Path) -> SliceDataset:
    """The prepared slices of `--data_dir`, or of the phantom where there is none."""
    if options.data_dir is None:
        _log.info("No --data_dir: a phantom of brains with gliomas stands in for scans.")
        data_dir = write_phantom(cache_dir / f"phantom-{PHANTOM_VERSION}")
    else:
        data_dir = Path(options.data_dir).expanduser()
    return prepare_slices(
        recognise(data_dir, options.modality),
        SliceOptions(
            modality=options.modality,
            intensity=options.intensity,
            image_size=options.image_size,
            min_tumor_area_pixels=options.min_tumor_area_pixels,
            slices=parse_slices(options.slices),
            test_fraction=options.test_fraction,
            seed=options.seed,
            skip_bad_subjects=options.skip_bad_subjects,
        ),
        cache_dir,
    )


def parse_slices(text: str | None) -> tuple[int, int] | None:
    """ "60:107" -> (60, 107), the first and the last slice; None -> None."""
    if text is None:
        return None
    first, _, last = text.partition(":")
    if not (first.isdigit() and last.isdigit() and int(first) <= int(last)):
        raise UserError(
            f"--slices={text}: the first and the last slice number are needed, FIRST:LAST, such "
            "as 60:107."
        )
    return int(first), int(last)


def check_dataset(options: SimpleNamespace, dataset: SliceDataset) -> None:
    """Raises UserError where the options ask for what the data do not hold."""
    if options.mask_classes == "classes" and dataset.paired and not dataset.has_classes:
        raise UserError(
            "--mask_classes=classes: these masks only tell tumour from no tumour. "
            "Use --mask_classes=whole."
        )


def build_model(options: SimpleNamespace) -> CycleGan:
    """The networks, optimisers and weights that the options describe."""
    network = {"unet": unet, "resnet": resnet}[options.generator]
    network.check_image_size(options.image_size)
    if options.decay_epochs > options.epochs:
        raise UserError(
            f"--decay_epochs={options.decay_epochs} is more than --epochs={options.epochs}; the "
            "decay takes the last epochs, so at most all of them."
        )
    dtype = PRECISIONS[options.precision]
    schedule = make_schedule(
        options.learning_rate,
        options.epochs * options.steps_per_epoch,
        options.decay_epochs * options.steps_per_epoch,
    )
    return CycleGan(
        generator=GENERATORS[options.generator](
            width=options.width, upsample=options.upsample, dtype=dtype
        ),
        discriminator=PatchDiscriminator(width=options.width, dtype=dtype),
        generator_optimizer=make_adam(schedule),
        discriminator_optimizer=make_adam(schedule),
        cycle_weight=options.cycle_weight,
        identity_weight=options.identity_weight,
        pool_size=options.pool_size,
        discriminator_noise=options.discriminator_noise,
        average_decay=options.average_decay,
    )


def mask_style(options: SimpleNamespace) -> MaskStyle:
    """How masks are drawn; the threshold is midway between grey levels, fixed before any data."""
    style, classes = options.mask_style, options.mask_classes
    return MaskStyle(style, classes, default_threshold(style, classes))


def load_split(options: SimpleNamespace, dataset: SliceDataset, split: str, limit: int) -> Held:
    """At most `limit` slices of a split (0: all), a choice of the seed spread over subjects."""
    sources = {
        "train": (dataset.train_a, dataset.train_b),
        "test": (dataset.test_a, dataset.test_b),
    }[split]
    if dataset.paired:
        slices = _load(options, sources[0], limit)
        return Held(slices, slices)
    limit = min(limit or len(sources[0]), *map(len, sources))
    return Held(*(_load(options, source, limit) for source in sources))


def _load(options: SimpleNamespace, source, limit: int) -> SliceBatch:
    return load_slices(
        source, options.mask_style, options.mask_classes, limit or None, options.seed
    )


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
    generator_ab = jax.jit(lambda params, image: model.generator.apply({"params": params}, image))
    translate = make_translate(model)
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
        save_curves(workdir / "curves.png", read_metrics(workdir))
        return EpochResult(values, values.get("train_dice"))

    return finish_epoch


def spread(slices: SliceBatch, count: int) -> SliceBatch:
    """At most `count` slices, evenly spread over the batch."""
    chosen = np.unique(np.linspace(0, len(slices.image) - 1, count).astype(int))
    return SliceBatch(*(np.asarray(values)[chosen] for values in slices))


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
        path.parent.mkdir(exist_ok=True)
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


def tune_baseline(options: SimpleNamespace, dataset: SliceDataset) -> ThresholdBaseline:
    """The best smoothed threshold on the training subjects."""
    slices = _load(options, dataset.train_a, min(_TUNING_SLICES, len(dataset.train_a)))
    return tune_threshold(
        slices.brain_z, is_brain(slices.tissue), is_tumor(slices.tissue), slices.subjects
    )


def evaluate_run(
    options: SimpleNamespace,
    model: CycleGan,
    state: CycleGanState,
    dataset: SliceDataset,
    workdir: Path,
    checkpoint: str,
) -> dict:
    """Writes evaluation.json, the final pictures and report.html; returns the evaluation."""
    translate = make_translate(model)
    paired = dataset.paired
    splits = load_splits(options, dataset)
    baseline = tune_baseline(options, dataset) if paired else None
    mask = mask_style(options) if paired else None
    evaluation = {
        "generator": options.generator,
        "weights": "raw" if state.average is None else "ema",
        "checkpoint": checkpoint,
        "step": int(state.step),
        "mask_threshold": mask.threshold if mask else None,
        "published_table2": PUBLISHED_TABLE2,
    }
    total = sum(len(held.a.image) for held in splits.values())
    with Progress("Evaluating", total, "slice") as progress:
        for split, held in splits.items():
            made = translate_slices(translate, state, held.a.image, held.b.mask, progress.advance)
            evaluation[split] = evaluate_split(made, held.a, held.b, mask, baseline, options.seed)
    partial = workdir / "evaluation.json.tmp"
    partial.write_text(json.dumps(evaluation, indent=2) + "\n")
    partial.replace(workdir / "evaluation.json")

    pictures = write_samples(translate, state, splits["test"], paired, workdir, "final")
    records = read_metrics(workdir)
    save_curves(workdir / "curves.png", records)
    write_report(
        workdir / "report.html",
        title=f"CycleGAN, {options.generator} generator",
        options=json.loads((workdir / "options.json").read_text()),
        evaluation=evaluation,
        records=records,
        curves_png=workdir / "curves.png",
        sample_pngs=[
            (
                "MR slice to mask",
                "Held-out subjects; the layout of figures 12 and 14.",
                pictures[0],
            ),
            (
                "Mask to MR slice",
                "Held-out subjects; the layout of figures 13 and 15.",
                pictures[1],
            ),
        ],
        notes=_notes(options, dataset),
    )
    return evaluation


def describe_data(dataset: SliceDataset) -> dict:
    """What options.json says of the data: who is where, and of what they are a fingerprint."""
    return {
        "fingerprint": dataset.fingerprint,
        "train_subjects": list(dataset.train_subjects),
        "test_subjects": list(dataset.test_subjects),
        "left_out": list(dataset.skipped),
    }


def describe_run(
    options: SimpleNamespace, dataset: SliceDataset, state: CycleGanState, devices: list
) -> str:
    """The lines printed before the first step: options, data, networks, devices."""
    parameters = {
        name: sum(leaf.size for leaf in jax.tree.leaves(params))
        for name, params in (
            ("generator", state.generators["ab"]),
            ("discriminator", state.discriminators["a"]),
        )
    }
    domains = [
        f"{split}: {len(a)} slices of A and {len(b)} masks of B, {len(subjects)} subjects "
        f"({', '.join(subjects)})"
        for split, a, b, subjects in (
            ("train", dataset.train_a, dataset.train_b, dataset.train_subjects),
            ("test", dataset.test_a, dataset.test_b, dataset.test_subjects),
        )
    ]
    return "\n".join(
        [
            describe_options(options),
            *domains,
            *(f"left out: {problem}" for problem in dataset.skipped),
            f"Networks: 2 {options.generator} generators of {parameters['generator']:,} parameters "
            f"and 2 discriminators of {parameters['discriminator']:,}.",
            f"Devices: {len(devices)} x {devices[0].device_kind}; batch {options.batch_size}.",
        ]
    )


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


def load_splits(options: SimpleNamespace, dataset: SliceDataset) -> dict[str, Held]:
    """Both splits' slices for evaluation."""
    return {
        "train": load_split(options, dataset, "train", options.evaluated_train_pairs),
        "test": load_split(options, dataset, "test", options.test_pairs),
    }


def _notes(options: SimpleNamespace, dataset: SliceDataset) -> list[str]:
    notes = []
    if options.data_dir is None:
        notes.append("The data are a phantom made by this program, not scans of patients.")
    if not dataset.paired:
        notes.append(
            "The folder has no true masks, so Dice, the threshold baseline, the paired errors and "
            "the truth column are left out."
        )
    if dataset.skipped:
        notes.append(f"{len(dataset.skipped)} subjects were left out: {' '.join(dataset.skipped)}")
    return notes
