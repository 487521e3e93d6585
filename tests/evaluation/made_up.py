"""What evaluation.json holds of synthetic slices, made up."""

import numpy as np

from brainsynth_jax.evaluation.copies import summarize_copies
from brainsynth_jax.evaluation.neighbours import Nearest, Neighbours, Slices

HELD_OUT = np.linspace(0.1, 0.2, 72)


def make_distance(value=0.52, interval=(0.41, 0.64), floor=0.11, floor_range=(0.05, 0.22)):
    return {
        "value": value,
        "interval_95": interval and list(interval),
        "images": [500, 72],
        "subjects": 3,
        "floor": floor,
        "floor_range": floor_range and list(floor_range),
        "floor_images": [390, 72],
    }


def make_similarity(made=(0.43, 0.47), real=(0.36, 0.45)):
    return {
        name: {
            "mean": None if interval is None else sum(interval) / 2,
            "interval_95": interval and list(interval),
            "pairs": 400,
            "images": images,
        }
        for name, interval, images in (("samples", made, 500), ("real", real, 390))
    }


def make_overlap(value=0.6, spread=(0.55, 0.65), real=0.7, real_spread=(0.5, 0.8)):
    """All four measures alike; those of real slices None for `real=None`."""
    measure = {
        "value": value,
        "range": spread and list(spread),
        "real": real,
        "real_range": real and list(real_spread),
    }
    return {
        **dict.fromkeys(("precision", "recall", "density", "coverage"), measure),
        "images": [500, 72],
        "subjects": 3,
        "compared_images": None if value is None else 70,
        "neighbours": 5,
    }


def make_diversity(ratio=0.9, halves=(0.8, 1.25), subjects=15):
    return {
        "samples": ratio and 100 * ratio,
        "real": ratio and 100.0,
        "ratio": ratio,
        "ratio_of_halves": halves and list(halves),
        "bandwidth": ratio and 3.0,
        "images": 390,
        "subjects": subjects,
    }


def make_spread(effective=9.1, heldout=(6.2, 8.5)):
    """`heldout`: the effective subjects of held-out slices, and of as many samples."""
    return {
        "shares": effective and {"a": 1.0},
        "effective_subjects": effective,
        "effective_subjects_of_training": effective and 14.9,
        "slices_a_subject": effective and 26,
        "heldout": heldout
        and {
            "shares": {"a": 1.0},
            "effective_subjects": heldout[0],
            "effective_subjects_of_samples": heldout[1],
            "images": 72,
            "subjects": 3,
        },
        "subjects": 15,
        "samples": 500,
    }


def make_copies(samples, heldout=HELD_OUT, subjects=("a", "b", "c")):
    """Of distances by pixels; those by features are ten times as far, half of them authentic."""

    def neighbours(distances):
        of_pixels = Nearest(distances, *np.zeros((2, len(distances)), int))
        return Neighbours(of_pixels, of_pixels._replace(distances=10 * distances))

    training = Slices(np.zeros(2), np.array([[0.0], [1.5]]), ["x", "y"])
    names = np.resize(subjects, len(heldout))
    return summarize_copies(neighbours(np.asarray(samples)), neighbours(heldout), names, training)


def make_samples(**changes):
    """As `evaluate_samples` gives it."""
    nothing = make_distance(None, None, None, None) | {"floor_images": None}
    return {
        "samples": 500,
        "train": {"slices": 390, "subjects": 15},
        "test": {"slices": 72, "subjects": 3},
        "compared_with": "test",
        "feature_space": {
            "name": "encoder",
            "recipe": "An encoder.",
            "dimensions": 256,
            "fingerprint": "0a1b2c3d4e5f",
        },
        "frechet": make_distance(92.4, (81.2, 104.6), 61.0, (48.2, 80.1)),
        "frechet_extrapolated": nothing,
        "kid": make_distance(),
        "overlap": make_overlap(),
        "ms_ssim": make_similarity(),
        "diversity": make_diversity(),
        "subject_spread": make_spread(),
        "grid_energy": {"samples": 1.31, "real": 1.05, "ratio": 1.248},
        "copies": make_copies(np.full(500, 0.13)),
    } | changes
