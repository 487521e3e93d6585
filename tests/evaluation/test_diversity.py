import json
import math
from itertools import combinations

import numpy as np
import pytest
from scipy.linalg import logm
from scipy.spatial.distance import cdist, pdist

from brainsynth_jax.evaluation import diversity
from brainsynth_jax.evaluation.distances import RealSet
from brainsynth_jax.evaluation.diversity import (
    compare_diversity,
    gaussian_similarity,
    subject_spread,
    vendi_score,
)


def normal(count, dimensions=5, seed=0):
    return np.random.default_rng(seed).normal(size=(count, dimensions))


def draw_subjects(count, each, seed=0, spread=1.0, dimensions=5):
    """Images scatter by 0.5 around their subject's centre, the centres by `spread`."""
    centres = np.repeat(spread * normal(count, dimensions, seed), each, axis=0)
    features = centres + 0.5 * normal(count * each, dimensions, seed + 1)
    return RealSet(features, np.repeat([f"P{k:02d}" for k in range(count)], each))


def entropy_number(*shares):
    return math.exp(-sum(share * math.log(share) for share in shares))


def test_vendi_score_gives_the_published_values_of_its_authors():
    assert vendi_score([[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1]]) == pytest.approx(2.1573, abs=1e-4)
    numbers = np.array([0, 0, 10, 10, 20, 20])
    similarity = np.exp(-np.abs(numbers[:, None] - numbers))
    assert vendi_score(similarity) == pytest.approx(2.9999, abs=1e-4)


def test_vendi_score_agrees_with_a_matrix_logarithm():
    similarity = gaussian_similarity(normal(12), 1.5)
    density = similarity / 12
    assert vendi_score(similarity) == pytest.approx(np.exp(-np.trace(density @ logm(density))))


def test_vendi_score_counts_what_is_different():
    assert vendi_score(np.eye(7)) == pytest.approx(7)
    assert vendi_score(np.ones((7, 7))) == pytest.approx(1)
    assert vendi_score([[1]]) == 1
    groups = np.equal.outer([0] * 6 + [1] * 2, [0] * 6 + [1] * 2)
    assert vendi_score(groups) == pytest.approx(entropy_number(6 / 8, 2 / 8))
    assert vendi_score(groups[4:, 4:]) == pytest.approx(2)


def test_gaussian_similarity_agrees_with_its_formula():
    features = normal(6)
    expected = [
        [math.exp(-(np.linalg.norm(x - y) ** 2) / (2 * 1.7**2)) for y in features] for x in features
    ]
    np.testing.assert_allclose(gaussian_similarity(features, 1.7), expected)


@pytest.mark.parametrize(
    "similarity",
    [
        np.eye(3)[:2],
        np.eye(0),
        2 * np.eye(3),
        [[1, 0.5], [0.2, 1]],
        [[1, np.nan], [np.nan, 1]],
    ],
)
def test_what_is_no_similarity_is_refused(similarity):
    with pytest.raises(ValueError, match="1 on its diagonal"):
        vendi_score(similarity)


@pytest.mark.parametrize("bandwidth", [0, -1, np.nan])
def test_a_bandwidth_is_above_zero(bandwidth):
    with pytest.raises(ValueError, match="bandwidth above 0"):
        gaussian_similarity(normal(3), bandwidth)


def test_scores_of_equal_numbers_by_hand():
    samples, real = 0.6 * normal(10, seed=1), RealSet(normal(10), list("aaaabbbccc"))
    median = np.median([np.linalg.norm(x - y) for x, y in combinations(real.features, 2)])

    def expected(features):
        density = np.exp(-(cdist(features, features) ** 2) / (2 * (median / 2) ** 2)) / 10
        return np.exp(-np.trace(density @ logm(density)))

    result = compare_diversity(samples, real, seed=0)
    assert result["samples"] == pytest.approx(expected(samples))
    assert result["real"] == pytest.approx(expected(real.features))
    assert result["ratio"] == pytest.approx(expected(samples) / expected(real.features))
    assert result["bandwidth"] == pytest.approx(median / 2)
    assert (result["images"], result["subjects"]) == (10, 3)
    assert result["ratio_of_halves"] is None, "a half has fewer than 8 images"


def test_scores_are_compared_at_equal_numbers():
    few, many = normal(40), normal(200, seed=1)
    for samples, real in ((few, many), (many, few)):
        result = compare_diversity(samples, RealSet(real, range(len(real))), seed=0)
        assert result["images"] == 40
        assert result["ratio"] == pytest.approx(1, abs=0.15)
        assert result["bandwidth"] == pytest.approx(np.median(pdist(real)) / 2), "of all real ones"
    everything = compare_diversity(many, RealSet(many, range(200)), seed=0, cuts=1)
    assert everything["samples"] > 1.5 * result["samples"]


def test_a_score_is_the_mean_over_cuts():
    real = RealSet(normal(20), range(20))

    def deviation(cuts):
        samples = normal(60, seed=1)
        return np.std([compare_diversity(samples, real, k, cuts)["samples"] for k in range(8)])

    assert deviation(cuts=20) < 0.5 * deviation(cuts=1)


def test_a_cut_keeps_as_many_subjects_as_can_be():
    # Slices of a subject are equal, those of two are equally far apart: with all ten subjects every
    # pair of the ten that are drawn has the similarity exp(-2).
    of_subject = np.repeat(np.arange(10), [20, *[1] * 9])
    real = RealSet(np.eye(10)[of_subject], of_subject)
    result = compare_diversity(np.eye(10), real, seed=0)
    score = vendi_score(np.full((10, 10), math.exp(-2)) + (1 - math.exp(-2)) * np.eye(10))
    assert result["real"] == pytest.approx(score)
    assert result["ratio"] == pytest.approx(1)


def test_a_collapsed_set_scores_low_and_the_more_so_the_fewer_it_repeats():
    real, varied = draw_subjects(20, 5), normal(100, seed=7)
    results = [
        compare_diversity(varied[np.arange(100) % modes], real, seed=0, cuts=1)
        for modes in (1, 2, 5, 20, 100)
    ]
    ratios = [result["ratio"] for result in results]
    assert ratios == sorted(ratios)
    assert ratios[-2] < 0.6 * ratios[-1]
    assert results[0]["samples"] == pytest.approx(1)


def test_samples_drawn_together_are_seen_and_shifted_ones_are_as_varied():
    """The cosine would have it the other way round."""
    real = draw_subjects(20, 5)
    assert compare_diversity(0.05 * real.features, real, seed=0)["ratio"] < 0.2
    assert compare_diversity(real.features + 3, real, seed=0)["ratio"] == pytest.approx(1)


def test_unit_of_the_features_does_not_matter():
    samples, real = normal(30, seed=1), draw_subjects(4, 10)
    result = compare_diversity(samples, real, seed=0)
    scaled = compare_diversity(100 * samples, real._replace(features=100 * real.features), seed=0)
    assert scaled["bandwidth"] == pytest.approx(100 * result["bandwidth"])
    assert scaled["ratio"] == pytest.approx(result["ratio"])
    assert scaled["ratio_of_halves"] == pytest.approx(result["ratio_of_halves"])


def test_fresh_subjects_are_within_the_ratio_of_halves_and_repeated_slices_are_not():
    within = []
    for seed in range(0, 100, 10):
        real, fresh = draw_subjects(12, 8, seed), draw_subjects(12, 8, 1000 + seed)
        result = compare_diversity(fresh.features, real, seed, cuts=5)
        low, high = result["ratio_of_halves"]
        assert low * high == pytest.approx(1)
        within.append(low <= result["ratio"] <= high)
        repeated = fresh.features[np.arange(96) % 12]
        assert compare_diversity(repeated, real, seed, cuts=5)["ratio"] < low
    assert np.mean(within) >= 0.8


def test_halves_are_of_different_subjects():
    # Two subjects that never vary: whatever else is halved would score more than 1.
    real = RealSet(np.repeat(np.eye(2), 10, axis=0), np.repeat(["a", "b"], 10))
    assert compare_diversity(normal(20, 2), real, seed=0)["ratio_of_halves"] == [1, 1]


def test_large_sets_are_cut(monkeypatch):
    monkeypatch.setattr(diversity, "MOST_IMAGES", 20)
    result = compare_diversity(normal(50), RealSet(normal(60, seed=1), range(60)), seed=0)
    assert result["images"] == 20
    assert 1 < result["samples"] < 20


@pytest.mark.parametrize(
    ("samples", "real"),
    [
        (normal(7), RealSet(normal(30), ["a"] * 30)),
        (normal(30), RealSet(normal(7), ["a"] * 7)),
        (normal(30), RealSet(np.ones((30, 5)), ["a"] * 30)),
    ],
    ids=["few samples", "few real", "real images all equal"],
)
def test_what_has_no_score_gives_no_number(samples, real):
    result = compare_diversity(samples, real, seed=0)
    assert result.pop("images") == min(len(samples), len(real.features))
    assert result.pop("subjects") == 1
    assert set(result.values()) == {None}


def spread_of(samples, train, heldout=None, **arguments):
    return subject_spread(samples, train, heldout, seed=0, **arguments)


def test_samples_of_one_subject_fall_on_one():
    train = draw_subjects(6, 10, spread=10.0)
    samples = train.features[train.subjects == "P04"] + 0.1
    result = spread_of(samples, train)
    assert result["effective_subjects"] == 1
    assert result["shares"] == {f"P{k:02d}": float(k == 4) for k in range(6)}
    assert (result["subjects"], result["samples"], result["slices_a_subject"]) == (6, 10, 10)
    assert result["heldout"] is None


def test_even_samples_fall_on_all():
    train = draw_subjects(6, 10, spread=10.0)
    result = spread_of(train.features + 0.1, train)
    assert result["effective_subjects"] == pytest.approx(6)
    assert result["effective_subjects_of_training"] == pytest.approx(6)


def test_shares_and_their_number_by_hand():
    train = draw_subjects(3, 8, spread=10.0)
    samples = train.features[[0, 1, 2, 3, 4, 5, 8, 9, 10, 16]]
    result = spread_of(samples, train)
    assert result["shares"] == pytest.approx({"P00": 0.6, "P01": 0.3, "P02": 0.1})
    assert result["effective_subjects"] == pytest.approx(entropy_number(0.6, 0.3, 0.1))


def test_the_nearest_slice_agrees_with_scipy(monkeypatch):
    monkeypatch.setattr(diversity, "_IMAGES_A_CALL", 16)
    samples, train = normal(50, seed=9) + 5, draw_subjects(4, 10)
    nearest = cdist(samples, train.features).argmin(axis=1)
    names, counts = np.unique(train.subjects[nearest], return_counts=True)
    shares = {name: share for name, share in spread_of(samples, train)["shares"].items() if share}
    assert shares == pytest.approx(dict(zip(names, counts / 50, strict=True)))


def test_a_subject_with_more_slices_attracts_no_more():
    samples = normal(200, seed=1)
    subjects = np.repeat(list("abcde"), [400, 20, 20, 20, 20])
    result = spread_of(samples, RealSet(normal(480), subjects))
    assert result["slices_a_subject"] == 20
    assert result["shares"]["a"] == pytest.approx(0.2, abs=0.06)
    assert result["effective_subjects"] > 4.5
    assert result["effective_subjects_of_training"] == pytest.approx(
        entropy_number(400 / 480, *[20 / 480] * 4)
    )


def test_each_cut_leaves_other_slices_out():
    # Of a's two slices one stands in each cut. Where it is that at 10, b is nearer to 0.
    train = RealSet(np.array([[0.0], [10.0], [1.0], [11.0]]), list("aabc"))
    result = spread_of(np.zeros((8, 1)), train, cuts=50)
    assert result["slices_a_subject"] == 1
    assert result["shares"]["a"] == pytest.approx(0.5, abs=0.3)
    assert result["shares"]["a"] + result["shares"]["b"] == 1
    assert result["effective_subjects"] == 1


def test_a_subject_with_few_slices_takes_none_from_the_others():
    train = draw_subjects(5, 10, spread=10.0)
    train = RealSet(train.features[:41], train.subjects[:41])
    result = spread_of(train.features[:40], train)
    assert result["slices_a_subject"] == 10
    assert result["shares"] == {"P00": 0.25, "P01": 0.25, "P02": 0.25, "P03": 0.25, "P04": 0.0}


def test_held_out_slices_stand_beside_as_many_samples():
    """Of 40 subjects 20 images can't reach more than 20, however even."""
    train = draw_subjects(40, 5, spread=10.0)
    heldout = RealSet(train.features[::10], [f"H{k % 4}" for k in range(20)])
    result = spread_of(train.features, train, heldout)
    assert result["effective_subjects"] == pytest.approx(40)
    beside = result["heldout"]
    assert (beside["images"], beside["subjects"]) == (20, 4)
    assert beside["effective_subjects"] == pytest.approx(20)
    assert 13 < beside["effective_subjects_of_samples"] < 20
    assert beside["shares"] == {f"P{k:02d}": 0.05 * (k % 2 == 0) for k in range(40)}

    swapped = spread_of(heldout.features, train, train)
    assert swapped["effective_subjects"] == pytest.approx(20)
    assert swapped["heldout"]["effective_subjects_of_samples"] == pytest.approx(20)
    # One slice each of 20 subjects is drawn, none of them twice.
    assert swapped["heldout"]["effective_subjects"] == pytest.approx(20)


def test_too_little_has_no_spread():
    train = draw_subjects(4, 5)
    one_subject = RealSet(train.features, ["a"] * 20)
    for samples, known in ((normal(7), train), (normal(20), one_subject)):
        result = spread_of(samples, known, train)
        assert result.pop("samples") == len(samples)
        assert result.pop("subjects") == len(set(known.subjects))
        assert set(result.values()) == {None}
    few = RealSet(train.features[:7], train.subjects[:7])
    assert spread_of(normal(20), train, few)["heldout"] is None


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (normal(9, 4), r"equally long.* \(9, 4\)"),
        (np.zeros(9), r"equally long.* \(9,\)"),
        (np.full((9, 5), np.nan), "45 numbers not finite"),
        (np.full((9, 5), np.inf), "45 numbers not finite"),
        (normal(8), "One subject an image .* 9 for 8"),
    ],
)
def test_what_cannot_be_compared_is_refused(features, words):
    bad, good = RealSet(features, ["a"] * 9), draw_subjects(4, 5)
    with pytest.raises(ValueError, match=words):
        compare_diversity(good.features, bad, seed=0)
    with pytest.raises(ValueError, match=words):
        spread_of(good.features, bad)
    with pytest.raises(ValueError, match=words):
        spread_of(good.features, good, bad)
    if len(features) == 9:
        with pytest.raises(ValueError, match=words):
            compare_diversity(features, good, seed=0)
        with pytest.raises(ValueError, match=words):
            spread_of(features, good)


def test_same_seed_same_numbers_and_all_can_be_written():
    samples, train = np.float32(normal(60, seed=5)), draw_subjects(6, 15)
    heldout = draw_subjects(3, 10, seed=20)
    results = [
        (compare_diversity(samples, train, seed), subject_spread(samples, train, heldout, seed))
        for seed in (0, 0, 1)
    ]
    assert results[0] == results[1] != results[2]
    assert json.loads(json.dumps(results[0], allow_nan=False)) == list(results[0])
