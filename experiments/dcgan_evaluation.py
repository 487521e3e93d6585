"""A DCGAN run looked at: what the end of an epoch shows and what evaluation.json holds.

`options` holds one attribute for each flag of `dcgan.py`.
"""

import csv
import io
import json
import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from dataset import note_data

from brainsynth_jax.data.pipeline import load_images
from brainsynth_jax.data.prepared import Records, SliceDataset
from brainsynth_jax.evaluation.collapse import Collapse, find_collapse, find_fault
from brainsynth_jax.evaluation.copies import VERDICTS, Move, Slices, align, coarsen
from brainsynth_jax.evaluation.dcgan import (
    RealSlices,
    Reference,
    critic_gaps,
    evaluate_samples,
    list_copies,
    make_judge,
    measure_reference,
    rank_by_likeness,
    watch_samples,
)
from brainsynth_jax.evaluation.dcgan_report import write_dcgan_report
from brainsynth_jax.evaluation.features import FeatureSpace, make_space
from brainsynth_jax.files import write_atomically
from brainsynth_jax.plots import DCGAN_PANELS, save_curves, save_film, save_sample_grid
from brainsynth_jax.progress import Progress
from brainsynth_jax.training.dcgan import Dcgan, DcganState
from brainsynth_jax.training.logs import read_metrics
from brainsynth_jax.training.loop import EpochResult
from brainsynth_jax.training.run_folder import load_options
from brainsynth_jax.training.sampler import Sampler

_log = logging.getLogger("brainsynth_jax.dcgan")

# Real slices to compare with, at most, of each split.
_COMPARED_SLICES = 500
# Samples at the end of an epoch, and at the end of a run.
_WATCHED_SAMPLES, _EVALUATED_SAMPLES = 64, 500
# Puts the score of every bad epoch below that of every good one.
_BAD = 1e9
_SHEET_ROWS, _SHEET_COLUMNS = 4, 6
_FILM_SECONDS = 12

BEST_RULE = (
    "The checkpoint of the epoch whose samples were nearest to training slices by kernel distance "
    "(KID), among the epochs that were not bad: in which samples neither copied, nor were all "
    "alike, nor had moved away. Which epoch is nearest, held-out subjects have no say in."
)


def load_reference(options: SimpleNamespace, dataset: SliceDataset, cache_dir: Path) -> Reference:
    """The real slices that samples are compared with, in a feature space made from them."""

    def load(records: Records) -> RealSlices | None:
        return (
            RealSlices(*load_images(records, _COMPARED_SLICES, options.seed)) if records else None
        )

    train, test = load(dataset.train_a), load(dataset.test_a)
    space = make_space(train.images, options.seed, cache_dir)
    training = _look_at_all(dataset.train_a, space)
    return measure_reference(train, test, space, options.seed, training)


def _look_at_all(records: Records, space: FeatureSpace) -> Slices:
    """However many they are: a few at a time are held at full size."""
    parts = []
    for start in range(0, len(records), _COMPARED_SLICES):
        places = np.arange(start, min(start + _COMPARED_SLICES, len(records)))
        images, subjects = load_images(records.take(places))
        parts.append(Slices(coarsen(images), space.extract(images), subjects))
    return Slices(*map(np.concatenate, zip(*parts, strict=True)))


def make_finish_epoch(
    options: SimpleNamespace, model: Dcgan, real: Reference, workdir: Path
) -> Callable[[DcganState, int], EpochResult]:
    """Returns what the end of an epoch does: sample, measure, picture, warn."""
    sampler, judge = Sampler(model, options.sample_dropout), make_judge(model)

    def finish_epoch(state: DcganState, epoch: int) -> EpochResult:
        samples = sampler.draw(sampler.load(state), options.seed, _WATCHED_SAMPLES)
        gaps = critic_gaps(state, judge, samples, real)
        values = watch_samples(samples, gaps, real, options.seed)
        _save_sheet(workdir / "samples" / f"epoch_{epoch:03d}.png", samples, f"epoch {epoch}")
        before = read_metrics(workdir)
        now = {"step": int(state.step), "epoch": epoch} | values
        save_curves(workdir / "curves.png", [*before, now], DCGAN_PANELS)
        collapse = find_collapse([*before, now])
        if collapse and collapse.step == now["step"]:
            _log.warning(describe_collapse(collapse, workdir, options.stop_on_collapse))
        score = -values["kid"] - (_BAD if find_fault(now, before) else 0.0)
        return EpochResult(values, score, bool(options.stop_on_collapse and collapse))

    return finish_epoch


def evaluate_run(
    options: SimpleNamespace,
    model: Dcgan,
    state: DcganState,
    dataset: SliceDataset,
    real: Reference,
    workdir: Path,
    checkpoint: str,
) -> dict:
    """Writes evaluation.json, copies.csv, the final pictures, the film and report.html."""
    sampler = Sampler(model, options.sample_dropout)
    with Progress("Drawing slices to evaluate", _EVALUATED_SAMPLES, "slice") as progress:
        samples = sampler.draw(
            sampler.load(state), options.seed, _EVALUATED_SAMPLES, advance=progress.advance
        )
    records = read_metrics(workdir)
    collapse = find_collapse(records)
    evaluation = {
        "weights": "raw" if state.average is None else "ema",
        "checkpoint": checkpoint,
        "step": int(state.step),
        "sampling": {"seed": options.seed, "dropout": options.sample_dropout},
        "best_rule": BEST_RULE,
        "collapse": collapse._asdict() if collapse else None,
    } | evaluate_samples(
        samples, critic_gaps(state, make_judge(model), samples, real), real, options.seed
    )
    write_atomically(
        workdir / "evaluation.json", (json.dumps(evaluation, indent=2) + "\n").encode()
    )

    pictures = _write_final_pictures(samples, real, workdir / "samples", options.seed)
    closest = _write_copies(samples, real, dataset, workdir)
    film = workdir / "samples" / "film.gif"
    sheets = (workdir / "samples").glob("epoch_*.png")
    save_film(film, sorted(sheets, key=lambda path: int(path.stem[6:])), _FILM_SECONDS)
    save_curves(workdir / "curves.png", records, DCGAN_PANELS)
    write_dcgan_report(
        workdir / "report.html",
        title="DCGAN, new slices from noise",
        options=load_options(workdir),
        evaluation=evaluation,
        records=records,
        curves_png=workdir / "curves.png",
        sample_pngs=[*pictures, closest],
        film=film if film.exists() else None,
        notes=_notes(options, dataset),
    )
    return evaluation


def _write_final_pictures(
    samples: np.ndarray, real: Reference, folder: Path, seed: int
) -> list[tuple[str, str, Path]]:
    """(title, caption, path) of each picture of the report."""
    shown, compared = real.test or real.train, "held-out" if real.test else "training"
    chosen = np.random.default_rng(seed).permutation(len(shown.images))[:_SHEET_COLUMNS]
    ranked = rank_by_likeness(samples, real)
    rows = {
        f"real,\n{compared}": shown.images[chosen],
        "made": samples[:_SHEET_COLUMNS],
        "made,\nmost like\nreal ones": samples[ranked[:_SHEET_COLUMNS]],
        "made,\nleast like\nreal ones": samples[ranked[::-1][:_SHEET_COLUMNS]],
    }
    columns = min(_SHEET_COLUMNS, len(chosen))
    save_sample_grid(
        folder / "final_beside_real.png",
        [[image[..., 0] for image in images[:columns]] for images in rows.values()],
        [""] * columns,
        list(rows),
    )
    _save_sheet(folder / "final.png", samples, "")
    return [
        (
            "Real and made",
            f"Real slices of {compared} subjects, then made ones: the first of the seed, and the "
            f"most and the least like training slices of {len(samples)} (the layout of figure 1).",
            folder / "final_beside_real.png",
        ),
        (
            "More made slices",
            "The first of the seed, not chosen.",
            folder / "final.png",
        ),
    ]


def _write_copies(
    samples: np.ndarray, real: Reference, dataset: SliceDataset, workdir: Path
) -> tuple[str, str, Path]:
    """Writes copies.csv and the sheet of the closest pairs, whose part in the report it returns."""
    rows = list_copies(samples, real)
    table = io.StringIO()
    writer = csv.DictWriter(table, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(workdir / "copies.csv", table.getvalue().encode())

    def rank(row: dict) -> tuple[int, float]:
        verdict = row["verdict"]
        return -VERDICTS.index(verdict) if verdict else 0, row["image_distance"]

    closest = sorted(rows, key=rank)[:_SHEET_COLUMNS]

    def load_nearest(space: str) -> np.ndarray:
        return load_images(dataset.train_a.take([row[f"{space}_index"] for row in closest]))[0]

    sheet = {
        "made": samples[[row["sample"] for row in closest]],
        "nearest\ntraining\nslice\nby pixels,\naligned": [
            align(image[None], Move(row["mirrored"], row["down"], row["right"]))[0]
            for image, row in zip(load_nearest("image"), closest, strict=True)
        ],
        "by\nfeatures": load_nearest("feature"),
    }
    path = workdir / "samples" / "final_closest.png"
    save_sample_grid(
        path,
        [[image[..., 0] for image in images] for images in sheet.values()],
        [f"{row['verdict'] or ''} {row['image_distance']:.3f}".strip() for row in closest],
        list(sheet),
    )
    return (
        "Is anyone copied?",
        "The made slices that are most like a training slice; below, the training slice nearest by "
        "pixels, mirrored and moved as it fits best, and the one nearest by features. Above, the "
        "verdict by both, and the root-mean-square difference of the first two at 32 x 32 pixels. "
        "All are in copies.csv.",
        path,
    )


def _save_sheet(path: Path, samples: np.ndarray, title: str) -> None:
    tiles = samples[: _SHEET_ROWS * _SHEET_COLUMNS, ..., 0]
    rows = [tiles[start : start + _SHEET_COLUMNS] for start in range(0, len(tiles), _SHEET_COLUMNS)]
    save_sample_grid(path, rows, [title] + [""] * (_SHEET_COLUMNS - 1))


def describe_collapse(collapse: Collapse, workdir: Path, ends: bool) -> str:
    """What a person has to know, and can do, when a run has gone bad, which may end it."""
    way_on = (
        f"The run ends here; --workdir={workdir} --nostop_on_collapse goes on with it."
        if ends
        else f"--workdir={workdir} --stop_on_collapse ends it here."
    )
    return (
        f"The run has gone bad by epoch {collapse.epoch} (step {collapse.step}): "
        f"{collapse.reason}. Its best weights are kept, and evaluation and generate.py take them. "
        f"{way_on} A new run may hold longer with --discriminator_norm=layer, "
        "--augment=flip,intensity, a lower --learning_rate or another --loss."
    )


def _notes(options: SimpleNamespace, dataset: SliceDataset) -> list[str]:
    notes = note_data(options, dataset)
    if not dataset.test_subjects:
        notes.append(
            "No subject is held out, so samples are compared with the slices they were learnt "
            "from, and copies cannot be told."
        )
    return notes


def describe_evaluation(evaluation: dict) -> str:
    """The lines a reader needs first."""
    kid, alike = evaluation["kid"], evaluation["ms_ssim"]
    against = {"test": "held-out", "train": "training"}[evaluation["compared_with"]]
    chosen = evaluation["checkpoint"]
    which = "Weights of" if chosen.isdecimal() else f"{chosen.capitalize()} weights,"
    lines = [f"{which} step {evaluation['step']}."]
    if kid["value"] is not None:
        floor = "" if kid["floor"] is None else f"; between real subjects {kid['floor']:.3g}"
        lines.append(f"Kernel distance to {against} slices {kid['value']:.3g}{floor}.")
    real = alike["real"]["mean"]
    beside = "" if real is None else f", between two real slices {real:.2f}"
    lines.append(
        f"MS-SSIM between two samples {alike['samples']['mean']:.2f}{beside}; grid "
        f"{evaluation['grid_energy']['ratio']:.2f} times that of real slices."
    )
    return " ".join(lines)
