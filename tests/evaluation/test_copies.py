import json

import numpy as np
import pytest
from near_images import look, moved, patients
from scipy.ndimage import gaussian_filter

from brainsynth_jax.evaluation.copies import (
    SUMMARY,
    authentic_share,
    find_limits,
    judge_images,
    summarize_copies,
    summarize_distances,
)
from brainsynth_jax.evaluation.neighbours import (
    MOVES,
    Move,
    Nearest,
    Neighbours,
    find_neighbours,
    nearest_features,
)


def at(*distances):
    indices, moves = np.zeros((2, len(distances)), int)
    return Nearest(np.array(distances, float), indices, moves)


def test_limits_are_those_of_the_nearest_held_out_subject():
    """Subject b is nearer to training than a as a whole, and its like is no copy."""
    heldout = np.concatenate([np.linspace(2, 3, 101), np.linspace(1, 2, 11)])
    near, suspicious = find_limits(heldout, ["a"] * 101 + ["b"] * 11)
    assert near == pytest.approx(1.01)
    assert suspicious == pytest.approx(0.6 * 1.01)


@pytest.mark.parametrize(
    ("heldout", "subjects"),
    [
        (np.ones(7), ["a", "b"] * 3 + ["a"]),
        (np.ones(30), ["a"] * 30),
        (np.zeros(30), ["a", "b"] * 15),
    ],
    ids=["few slices", "one subject", "training slices"],
)
def test_without_a_yardstick_nothing_is_judged(heldout, subjects):
    assert find_limits(heldout, subjects) is None
    summary = summarize_distances(np.ones(20), heldout, subjects)
    assert summary["near"] is summary["near_share"] is summary["suspicious_share"] is None
    copy, slices = Neighbours(at(0), at(0)), Neighbours(at(*heldout), at(*heldout))
    (row,) = judge_images(copy, ["x"], slices, subjects)
    assert row["verdict"] is row["image_verdict"] is row["feature_verdict"] is None
    assert row["image_distance"] == 0


def test_the_worse_verdict_of_the_two_spaces_counts():
    heldout = Neighbours(at(*[1] * 10), at(*[10] * 10))
    samples = Neighbours(at(1, 0.99, 0.59, 0.99, 1), at(10, 10, 10, 5.9, 6.1))
    rows = judge_images(samples, ["x"], heldout, ["a", "b"] * 5)
    json.dumps(rows, allow_nan=False)
    verdicts = [(row["verdict"], row["image_verdict"], row["feature_verdict"]) for row in rows]
    assert verdicts == [
        ("fresh", "fresh", "fresh"),
        ("near", "near", "fresh"),
        ("suspicious", "suspicious", "fresh"),
        ("suspicious", "near", "suspicious"),
        ("near", "fresh", "near"),
    ]


def test_a_row_names_the_nearest_slices_and_how_they_lie():
    move = Move(mirrored=True, down=-2, right=4)
    samples = Neighbours(
        Nearest(np.array([0.5]), np.array([1]), np.array([MOVES.index(move)])),
        Nearest(np.array([7.0]), np.array([2]), np.array([0])),
    )
    (row,) = judge_images(samples, np.array(["x", "y", "z"]), None, ())
    assert row == {
        "sample": 0,
        "verdict": None,
        "image_verdict": None,
        "image_distance": 0.5,
        "image_index": 1,
        "image_subject": "y",
        "feature_verdict": None,
        "feature_distance": 7.0,
        "feature_index": 2,
        "feature_subject": "z",
        "mirrored": True,
        "down": -2,
        "right": 4,
    }
    json.dumps(row, allow_nan=False)


def test_summary_by_hand():
    heldout = np.linspace(1, 2, 101)
    samples = np.array([0.6] + [1.0] + [1.5] * 8)
    assert summarize_distances(samples, heldout, ["a"] * 51 + ["b"] * 50) == pytest.approx(
        {
            "median": 1.5,
            "percentile_5": 0.6 + 0.45 * 0.4,
            "heldout_median": 1.5,
            "heldout_percentile_5": 1.05,
            "median_ratio": 1.0,
            "percentile_5_ratio": (0.6 + 0.45 * 0.4) / 1.05,
            "near": 1.005,
            "near_share": 0.2,
            "suspicious": 0.603,
            "suspicious_share": 0.1,
        }
    )


@pytest.mark.parametrize(("samples", "heldout"), [(7, 30), (30, 7)])
def test_too_few_images_give_no_number(samples, heldout):
    summary = summarize_distances(np.ones(samples), np.ones(heldout), np.arange(heldout))
    assert summary == dict.fromkeys(SUMMARY)


def test_nothing_is_divided_by_a_held_out_distance_of_0():
    summary = summarize_distances(
        np.ones(9), np.array([0.0] + 9 * [1.0]).repeat(2), ["a", "b"] * 10
    )
    assert summary["heldout_percentile_5"] == 0
    assert summary["percentile_5_ratio"] is None
    assert summary["median_ratio"] == 1


@pytest.fixture(scope="module")
def training():
    return patients(12, 6, seed=0)


@pytest.fixture(scope="module")
def summarize(training):
    reference, (heldout, subjects) = look(*training), patients(8, 6, seed=100)

    def find(images):
        seen = look(images)
        return find_neighbours(seen.coarse, seen.features, reference)

    heldout_nearest = find(heldout)
    return lambda samples: summarize_copies(find(samples), heldout_nearest, subjects, reference)


@pytest.mark.parametrize(
    "disguise",
    [
        lambda images: images,
        lambda images: images[:, :, ::-1],
        lambda images: moved(images, 2, -1),
        lambda images: gaussian_filter(images, (0, 1, 1, 0)),
        lambda images: images + np.random.default_rng(0).normal(0, 0.1, images.shape),
    ],
    ids=["exact", "mirrored", "moved", "blurred", "noisy"],
)
def test_copies_are_found_in_their_disguises(training, summarize, disguise):
    summary = summarize(disguise(training[0]).astype(np.float32))
    json.dumps(summary, allow_nan=False)
    assert summary["copied"] is True
    assert summary["verdicts"] == {"fresh": 0, "near": 0, "suspicious": 72}
    assert summary["suspicious_share"] == 1
    assert summary["median_ratio"] < 0.5


def test_exact_copies_are_found_by_features_and_are_not_authentic(training, summarize):
    summary = summarize(training[0])
    assert summary["features"]["suspicious_share"] == 1
    assert summary["authenticity"]["samples"] == 0
    assert summary["authenticity"]["heldout"] > 0.3


def test_slices_of_fresh_patients_are_no_copies(summarize):
    fresh, _ = patients(8, 6, seed=200)
    for samples in (fresh, gaussian_filter(fresh, (0, 1, 1, 0))):
        summary = summarize(samples)
        assert summary["copied"] is False
        assert summary["verdicts"]["suspicious"] == 0
    summary = summarize(fresh)
    assert summary["verdicts"]["fresh"] >= 40
    assert summary["median_ratio"] == pytest.approx(1, abs=0.15)
    assert summary["features"]["median_ratio"] == pytest.approx(1, abs=0.15)
    assert summary["authenticity"]["samples"] == pytest.approx(
        summary["authenticity"]["heldout"], abs=0.25
    )


def test_a_few_copies_among_fresh_slices_are_counted(training, summarize):
    fresh, _ = patients(8, 6, seed=200)
    summary = summarize(np.concatenate([fresh, training[0][:5]]))
    assert summary["verdicts"]["suspicious"] == 5
    assert summary["copied"] is True
    assert sum(summary["verdicts"].values()) == summary["samples"] == 53


def test_one_copy_in_a_hundred_is_not_yet_a_copied_set(training):
    heldout = Neighbours(*2 * [at(*[1] * 10)])
    for number, copied in ((1, False), (2, True)):
        samples = Neighbours(*2 * [at(*[0.1] * number, *[2] * (100 - number))])
        summary = summarize_copies(samples, heldout, ["a", "b"] * 5, look(*training))
        assert summary["copied"] is copied


def test_a_constant_set_is_no_copy(summarize):
    summary = summarize(np.full((10, 64, 64, 1), 0.5, np.float32))
    assert summary["copied"] is False


def test_one_held_out_subject_or_few_samples_give_no_verdict(training):
    reference = look(*training)
    few, many = (Neighbours(*2 * [at(*[1] * number)]) for number in (7, 9))
    cases = ((few, many, ["a", "b", "c"] * 3, 7), (many, many, ["a"] * 9, 9))
    for samples, heldout, subjects, number in cases:
        summary = summarize_copies(samples, heldout, subjects, reference)
        json.dumps(summary, allow_nan=False)
        assert summary["copied"] is summary["verdicts"] is summary["near"] is None
        assert summary["features"]["near"] is None
        numbers = [summary[name] for name in ("samples", "heldout", "heldout_subjects", "training")]
        assert numbers == [number, 9, len(set(subjects)), 72]


def test_authenticity_agrees_with_a_loop_over_its_definition():
    rng = np.random.default_rng(0)
    references, subjects = rng.normal(size=(40, 3)), [f"{number % 5}" for number in range(40)]
    samples = 0.7 * rng.normal(size=(60, 3))
    authentic = 0
    for sample in samples:
        distances = [np.linalg.norm(sample - reference) for reference in references]
        nearest = int(np.argmin(distances))
        others = [
            np.linalg.norm(references[nearest] - reference)
            for reference, subject in zip(references, subjects, strict=True)
            if subject != subjects[nearest]
        ]
        authentic += min(distances) > min(others)
    share = authentic_share(nearest_features(samples, references), references, subjects)
    assert share == authentic / 60
    assert 0.1 < share < 0.9


def test_a_neighbouring_slice_of_the_same_subject_hides_no_copy():
    """Slices of a subject are 0.1 apart, subjects 10; a sample is 0.5 from the nearest slice."""
    references = np.array([[0.0], [0.1], [10.0], [10.1]])
    nearest = nearest_features(np.full((8, 1), 10.6), references)
    assert authentic_share(nearest, references, ["a", "a", "b", "b"]) == 0
    assert authentic_share(nearest, references, ["a", "b", "a", "b"]) == 1


def test_a_copy_of_a_slice_that_two_subjects_share_is_not_authentic():
    references = np.ones((2, 3))
    assert (
        authentic_share(nearest_features(np.ones((8, 3)), references), references, ["a", "b"]) == 0
    )


def test_authenticity_needs_images_and_a_second_subject():
    references = np.arange(10.0)[:, None]
    enough, few = (nearest_features(np.ones((count, 1)), references) for count in (8, 7))
    assert authentic_share(enough, references, ["a", "b"] * 5) == 0
    assert authentic_share(few, references, ["a", "b"] * 5) is None
    assert authentic_share(enough, references, ["a"] * 10) is None
