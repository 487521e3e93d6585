import json

import numpy as np
import pytest
from scipy.spatial import cKDTree

from brainsynth_jax.evaluation.distances import RealSet
from brainsynth_jax.evaluation.manifold import (
    Overlap,
    compare_overlap,
    measure_overlap,
    realism_scores,
)

MEASURES = Overlap._fields


def normal(count, dimensions=4, mean=0.0, scale=1.0, seed=0):
    return np.random.default_rng(seed).normal(mean, scale, size=(count, dimensions))


def draw_subjects(count, each, seed=0, spread=0.7):
    """Images scatter by 1 around their subject's centre, the centres by `spread`."""
    centres = np.repeat(normal(count, scale=spread, seed=seed), each, axis=0)
    names = np.repeat([f"P{seed}_{k}" for k in range(count)], each)
    return RealSet(centres + normal(count * each, seed=1000 + seed), names)


def compare_alone(samples, real):
    """To real images of one subject, which cannot be divided."""
    alone = RealSet(real, ["a"] * len(real))
    return compare_overlap(samples, alone, alone, seed=0)


@pytest.mark.parametrize(("count", "real_count"), [(40, 30), (30, 40), (530, 600)])
@pytest.mark.parametrize("k", [1, 5])
def test_overlap_agrees_with_the_definitions(count, real_count, k):
    samples, real = normal(count, 3, mean=0.5, seed=1), normal(real_count, 3, seed=2)

    def in_ball(centres, points):
        radii = cKDTree(centres).query(centres, k + 1)[0][:, -1]
        return np.linalg.norm(centres[:, None] - points, axis=2) < radii[:, None]

    in_real, in_samples = in_ball(real, samples), in_ball(samples, real)
    expected = Overlap(
        precision=in_real.any(axis=0).mean(),
        recall=in_samples.any(axis=0).mean(),
        density=in_real.sum() / (k * count),
        coverage=in_real.any(axis=1).mean(),
    )
    assert 0.3 < min(expected) < 0.95
    assert measure_overlap(samples, real, k) == pytest.approx(expected, abs=1e-12)


def test_overlap_by_hand():
    # Balls of the real images: 0 +- 1, 1 +- 1, 3 +- 2, 20 +- 0 twice; of the samples: -1 +- 3,
    # 2 +- 0.25, 2.25 +- 0.25, 7 +- 0 thrice. Samples -1 and 2 lie on the surface of a ball.
    real, samples = [0, 1, 3, 20, 20], [-1, 2, 2.25, 7, 7, 7]
    overlap = measure_overlap(*(np.array(x, float)[:, None] for x in (samples, real)), 1)
    assert overlap == pytest.approx(Overlap(3 / 6, 2 / 5, (1 + 2 + 1) / 6, 3 / 5))


def test_realism_by_hand():
    # Balls of the real images: 0 +- 1, 1 +- 1, 3 +- 2, 6 +- 3; only the smaller half counts.
    real, samples = [0, 1, 3, 6], [-2, 0.25, 3, 1]
    scores = realism_scores(*(np.array(x, float)[:, None] for x in (samples, real)), 1)
    np.testing.assert_allclose(scores, [1 / 2, 1 / 0.25, 1 / 2, np.inf])


def test_realism_is_that_of_equation_5_and_falls_with_distance():
    real, k = normal(60, 3, seed=2), 4
    radii = cKDTree(real).query(real, k + 1)[0][:, -1]
    kept = radii <= np.median(radii)
    for away in (0.0, 1.0, 4.0):
        samples = normal(40, 3, mean=away, seed=1)
        distances = np.linalg.norm(samples[:, None] - real[kept], axis=2)
        expected = (radii[kept] / distances).max(axis=1)
        np.testing.assert_allclose(realism_scores(samples, real, k), expected)
    near, far = (realism_scores(normal(40, 3, mean=m, seed=1), real, k) for m in (0, 4))
    assert np.median(near) > 1 > far.max()


def test_more_than_k_equal_images_hold_just_their_equals():
    real = np.array([[5.0]] * 4 + [[6.0], [8.0]])
    scores = realism_scores(np.array([[5.0], [5.5]]), real, 2)
    assert scores.tolist() == [np.inf, 0]


@pytest.mark.parametrize(("mean", "dimensions"), [(0.0, 2), (7.0, 30)])
def test_two_sets_of_one_distribution_have_the_published_expectations(mean, dimensions):
    n, m, k = 20, 30, 3
    values = np.array(
        [
            measure_overlap(
                normal(m, dimensions, mean, seed=seed),
                normal(n, dimensions, mean, seed=9000 + seed),
                k,
            )
            for seed in range(300)
        ]
    )
    of_last = [(n - i) / (n + m - i) for i in range(1, k + 1)]
    error = 3 * values.std(axis=0) / np.sqrt(len(values))
    assert values[:, 2].mean() == pytest.approx(1, abs=error[2])
    assert values[:, 3].mean() == pytest.approx(1 - np.prod(of_last), abs=error[3])


def test_a_copied_set_has_all_of_itself_and_each_centre_in_its_ball():
    real = normal(60)
    copies = np.random.default_rng(1).permutation(real)
    assert measure_overlap(copies, real) == pytest.approx(Overlap(1, 1, 6 / 5, 1))


def test_sets_far_apart_have_nothing_in_common():
    assert measure_overlap(normal(30) + 100, normal(40)) == Overlap(0, 0, 0, 0)


def test_a_constant_set_lies_in_itself_and_in_compare_alone():
    constant = np.full((20, 4), 0.3)
    assert measure_overlap(constant, constant[:15]) == Overlap(1, 1, 15 / 5, 1)
    assert measure_overlap(constant, constant + 1e-9) == Overlap(0, 0, 0, 0)


def test_a_collapsed_set_is_precise_and_recalls_compare_alone():
    real = normal(40)
    overlap = measure_overlap(np.repeat(real[:1], 40, axis=0), real)
    assert overlap.precision == 1
    assert overlap.recall == 1 / 40
    # The one image is in as many balls as it covers.
    assert overlap.density * 5 == pytest.approx(overlap.coverage * 40)


def test_precision_sees_what_is_not_real_and_recall_what_is_missing():
    here, there = normal(100), normal(100, seed=1) + 100
    both = np.concatenate([here, there])
    half = measure_overlap(normal(200, seed=2), both)
    assert half.precision > 0.9
    assert half.density == pytest.approx(1, abs=0.2)
    assert max(half.recall, half.coverage) <= 0.5
    double = measure_overlap(both, normal(200, seed=2))
    assert double.recall > 0.9
    assert double.precision <= 0.5
    assert double.density == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize(
    ("samples", "real", "found"),
    [
        (normal(5), normal(9), r"at least 6 .* \(5, 4\)"),
        (normal(9), normal(5), r"at least 6 .* \(5, 4\)"),
        (normal(9, 3), normal(9, 4), r"\(9, 3\) and \(9, 4\)"),
        (normal(9), np.full((9, 4), np.nan), "36 numbers not finite"),
    ],
)
def test_what_has_no_overlap_is_refused(samples, real, found):
    with pytest.raises(ValueError, match=found):
        measure_overlap(samples, real)


def test_with_nothing_to_cut_the_value_is_that_of_the_sets():
    samples, real = normal(60, seed=1, mean=0.3), normal(60)
    result = compare_alone(samples, real)
    for name, value in measure_overlap(samples, real)._asdict().items():
        assert result[name] == pytest.approx(
            {"value": value, "range": None, "real": None, "real_range": None}
        )
    assert result["images"] == [60, 60]
    assert result["compared_images"] == 60


def mean_overlap(count, real_count, draws=40):
    return np.mean(
        [
            measure_overlap(normal(count, mean=1, seed=k), normal(real_count, seed=500 + k))
            for k in range(draws)
        ],
        axis=0,
    )


def test_more_samples_than_real_images_do_not_inflate_recall_and_coverage():
    equal, uncut = Overlap(*mean_overlap(60, 60)), Overlap(*mean_overlap(900, 60, draws=5))
    assert uncut.recall > 1.05 * equal.recall
    assert uncut.coverage > 1.3 * equal.coverage
    result = compare_alone(normal(900, mean=1, seed=1), normal(60))
    assert result["compared_images"] == 60
    for name, expected in equal._asdict().items():
        low, high = result[name]["range"]
        assert low <= result[name]["value"] <= high
        assert result[name]["value"] == pytest.approx(expected, rel=0.2)


def test_more_real_images_than_samples_are_cut_as_well():
    result = compare_alone(normal(60, mean=1, seed=1), normal(900))
    assert result["compared_images"] == 60
    for name, expected in zip(MEASURES, mean_overlap(60, 60), strict=True):
        assert result[name]["value"] == pytest.approx(expected, rel=0.2)


def test_fresh_subjects_are_like_real_ones_and_others_are_not():
    everyone = draw_subjects(24, 20)
    real = RealSet(everyone.features[:160], everyone.subjects[:160])
    fresh = compare_overlap(draw_subjects(8, 20, seed=1).features, real, everyone, seed=0)
    apart = compare_overlap(draw_subjects(8, 20, seed=1).features + 2, real, everyone, seed=0)
    # 8 subjects against the other 16.
    assert fresh["compared_images"] == 160
    assert fresh["subjects"] == 8
    for name in MEASURES:
        low, high = fresh[name]["real_range"]
        assert low < fresh[name]["real"] < high
        assert 0.95 * low < fresh[name]["value"] < 1.05 * high
        assert apart[name]["real_range"] == [low, high]
        assert apart[name]["value"] < low


def test_no_subject_is_on_both_sides():
    # A subject's images coincide: one on both sides would lie in its own balls.
    real = RealSet(np.repeat(np.arange(4.0)[:, None], 40, axis=0), np.repeat(list("abcd"), 40))
    result = compare_overlap(real.features, real, real, seed=0)
    assert [result[name]["real_range"] for name in MEASURES] == [[0, 0]] * 4
    assert [result[name]["value"] for name in ("precision", "recall", "coverage")] == [1] * 3


def test_real_images_of_other_subjects_stand_in_the_samples_place():
    # a and b are alike, c is elsewhere: a alone is all found again in b and c, half of which is in
    # a; c alone has nothing in common with a and b.
    features = normal(600) + np.repeat([0, 0, 100], 200)[:, None]
    everyone = RealSet(features, np.repeat(list("abc"), 200))
    held_out = RealSet(features[:200], everyone.subjects[:200])
    result = compare_overlap(features[:200], held_out, everyone, seed=0)
    assert result["precision"]["real_range"] == pytest.approx([0, 0.5], abs=0.1)
    assert result["recall"]["real_range"] == pytest.approx([0, 1], abs=0.1)
    assert result["precision"]["real"] < 0.75 * result["recall"]["real"]


def test_all_is_compared_at_the_number_of_the_smallest_division():
    # One subject of two is held out: 70 images against 55, or 55 against 70.
    two = RealSet(normal(125), ["a"] * 70 + ["b"] * 55)
    held_out = RealSet(two.features[:70], two.subjects[:70])
    result = compare_overlap(normal(90, seed=1), held_out, two, seed=0)
    assert result["images"] == [90, 70]
    assert result["compared_images"] == 55
    shares = np.array([result["coverage"]["range"], result["coverage"]["real_range"]]) * 55
    np.testing.assert_allclose(shares, shares.round())


def test_same_seed_same_numbers():
    everyone = draw_subjects(8, 20)
    results = [compare_overlap(normal(90, seed=1), everyone, everyone, seed) for seed in (0, 0, 1)]
    assert results[0] == results[1]
    assert results[0]["density"]["value"] != results[2]["density"]["value"]
    assert results[0]["density"]["real"] != results[2]["density"]["real"]


def test_too_little_gives_no_number():
    everyone = draw_subjects(8, 20)
    few = compare_overlap(normal(49), everyone, everyone, seed=0)
    for name in MEASURES:
        assert set(few[name].values()) == {None}
    assert few["compared_images"] is None
    assert (few["images"], few["subjects"], few["neighbours"]) == ([49, 160], 8, 5)
    # 60 images in each of two sides are enough, 40 are not.
    for each, numbers in ((60, float), (40, type(None))):
        two = draw_subjects(2, each)
        result = compare_overlap(normal(100), two, two, seed=0)
        assert isinstance(result["recall"]["value"], float)
        assert isinstance(result["recall"]["real"], numbers)
        json.dumps(result, allow_nan=False)
