"""Synthetic slices looked at, whatever made them: real slices beside, pictures and copies.csv."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from brainsynth_jax.data.hygiene import name_patient
from brainsynth_jax.data.pipeline import load_images
from brainsynth_jax.data.prepared import Records, SliceDataset
from brainsynth_jax.errors import UserError
from brainsynth_jax.evaluation.copies import VERDICTS
from brainsynth_jax.evaluation.distances import UNKNOWN
from brainsynth_jax.evaluation.features import FeatureSpace, make_space
from brainsynth_jax.evaluation.neighbours import (
    Move,
    Slices,
    align,
    coarsen,
)
from brainsynth_jax.evaluation.onnx_encoder import load_encoder
from brainsynth_jax.evaluation.samples import (
    RealSlices,
    Reference,
    Samples,
    list_copies,
    measure_reference,
    rank_by_likeness,
)
from brainsynth_jax.files import write_table
from brainsynth_jax.plots import save_sample_grid

# Real slices to compare with, at most, of each split.
_COMPARED_SLICES = 500
_SHEET_ROWS, SHEET_COLUMNS = 4, 6

Picture = tuple[str, str, Path]  # title, caption, file


def check_encoder(options: SimpleNamespace, stored: dict | None) -> str | None:
    """The fingerprint of --encoder's file, None without one.

    Raises:
        UserError: it cannot be used, or the run began with another.
    """
    found = load_encoder(options.encoder).digest.hex()[:12] if options.encoder else None
    began = stored["data"].get("encoder") if stored else found
    if found != began:
        raise UserError(
            f"--encoder={options.encoder}: the run began with "
            f"{f'an encoder of fingerprint {began}' if began else 'an encoder of its own'}, and "
            "distances in two feature spaces cannot be compared. Give that one, or a new --workdir."
        )
    return found


def name_patients(dataset: SliceDataset) -> dict[str, str]:
    """Whom each subject of a dataset is: itself, but for the pictures of `trainA/ trainB/` folders.

    There each picture is a subject, and only its name can tell whose it is. Where one does not, all
    are UNKNOWN: neighbouring slices must not pass for those of different patients.
    """
    domains = dataset.train_a, dataset.train_b, dataset.test_a, dataset.test_b
    sides = [set(records.subjects.tolist()) for records in domains]
    everyone = set().union(*sides)
    if dataset.paired:
        return {name: name for name in everyone}
    patients = {name: name_patient(name) for name in everyone}
    # One name in front of all numbers, img_1 and img_2 say, is no patient's.
    told = any(len({patients[name] for name in side}) > 1 for side in sides)
    if not told or None in patients.values():
        return dict.fromkeys(everyone, UNKNOWN)
    return patients


def load_reference(
    dataset: SliceDataset, seed: int, cache_dir: Path, onnx_file: str | None
) -> Reference:
    """The real slices that samples are compared with.

    Args:
        dataset: of the run.
        seed: of the choice where there are many, and of the encoder.
        cache_dir: where an encoder that is trained on them is kept.
        onnx_file: --encoder, in whose features they are compared instead.
    """

    patients = name_patients(dataset)

    def load(records: Records) -> RealSlices | None:
        if not records:
            return None
        images, subjects = load_images(records, _COMPARED_SLICES, seed)
        return RealSlices(images, [patients[name] for name in subjects])

    train, test = load(dataset.train_a), load(dataset.test_a)
    space = make_space(train.images, seed, cache_dir, onnx_file)
    training = _look_at_all(dataset.train_a, space, patients)
    return measure_reference(train, test, space, seed, training)


def _look_at_all(records: Records, space: FeatureSpace, patients: Mapping[str, str]) -> Slices:
    """However many they are: a few at a time are held at full size."""
    parts = []
    for start in range(0, len(records), _COMPARED_SLICES):
        places = np.arange(start, min(start + _COMPARED_SLICES, len(records)))
        images, subjects = load_images(records.take(places))
        owners = [patients[name] for name in subjects]
        parts.append(Slices(coarsen(images), space.extract(images), owners))
    return Slices(*map(np.concatenate, zip(*parts, strict=True)))


def write_beside_real(samples: Samples, real: Reference, folder: Path, seed: int) -> Picture:
    """Writes final_beside_real.png: real slices, the first samples, the best and the worst."""
    shown, compared = real.test or real.train, "held-out" if real.test else "training"
    chosen = np.random.default_rng(seed).permutation(len(shown.images))[:SHEET_COLUMNS]
    made, ranked = samples.images, rank_by_likeness(samples, real)
    rows = {
        f"real,\n{compared}": shown.images[chosen],
        "made": made[:SHEET_COLUMNS],
        "made,\nmost like\nreal ones": made[ranked[:SHEET_COLUMNS]],
        "made,\nleast like\nreal ones": made[ranked[::-1][:SHEET_COLUMNS]],
    }
    columns = min(SHEET_COLUMNS, len(chosen), len(made))
    save_sample_grid(
        folder / "final_beside_real.png",
        [[image[..., 0] for image in images[:columns]] for images in rows.values()],
        [""] * columns,
        list(rows),
    )
    return (
        "Real and made",
        f"Real slices of {compared} subjects, then made ones: the first of the seed, and the "
        f"most and the least like training slices of {len(made)}.",
        folder / "final_beside_real.png",
    )


def write_copies(
    samples: Samples, real: Reference, dataset: SliceDataset, workdir: Path
) -> Picture:
    """Writes copies.csv and the sheet of the closest pairs, final_closest.png."""
    rows = list_copies(samples, real)
    for row in rows:
        for space in ("image", "feature"):  # a picture's own name says more than its patient's
            row[f"{space}_subject"] = str(dataset.train_a.subjects[row[f"{space}_index"]])
    write_table(workdir / "copies.csv", rows)

    def rank(row: dict) -> tuple[int, float]:
        verdict = row["verdict"]
        return -VERDICTS.index(verdict) if verdict else 0, row["image_distance"]

    closest = sorted(rows, key=rank)[:SHEET_COLUMNS]

    def load_nearest(space: str) -> np.ndarray:
        return load_images(dataset.train_a.take([row[f"{space}_index"] for row in closest]))[0]

    sheet = {
        "made": samples.images[[row["sample"] for row in closest]],
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


def save_sheet(path: Path, samples: np.ndarray, title: str) -> None:
    """The first samples, row by row."""
    tiles = samples[: _SHEET_ROWS * SHEET_COLUMNS, ..., 0]
    rows = [tiles[start : start + SHEET_COLUMNS] for start in range(0, len(tiles), SHEET_COLUMNS)]
    save_sample_grid(path, rows, [title] + [""] * (SHEET_COLUMNS - 1))
