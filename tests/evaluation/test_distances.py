from functools import partial

import numpy as np
import pytest
from scipy.linalg import sqrtm

from brainsynth_jax.evaluation.distances import (
    UNKNOWN,
    RealSet,
    compare_to_real,
    count_subjects,
    divide_by_subject,
    extrapolated_frechet_distance,
    frechet_distance,
    kernel_distance,
)

DISTANCES = [frechet_distance, kernel_distance]


def normal(count, dimensions=4, mean=0.0, scale=1.0, seed=0):
    return np.random.default_rng(seed).normal(mean, scale, size=(count, dimensions))


def test_frechet_distance_agrees_with_a_matrix_root():
    rng = np.random.default_rng(0)
    first = rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6))
    second = rng.normal(size=(150, 6)) @ rng.normal(size=(6, 6)) + 0.5
    covariances = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    expected = np.square(first.mean(axis=0) - second.mean(axis=0)).sum() + np.trace(
        covariances[0] + covariances[1] - 2 * sqrtm(covariances[0] @ covariances[1]).real
    )
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_of_numbers_is_that_of_means_and_deviations():
    first, second = np.array([[0.0], [2.0]]), np.array([[4.0], [10.0]])
    deviations = np.sqrt(2), np.sqrt(18)
    expected = (7 - 1) ** 2 + (deviations[1] - deviations[0]) ** 2
    assert frechet_distance(first, second) == pytest.approx(expected)


def test_singular_covariances_are_no_trouble():
    few, flat = normal(5, dimensions=40), normal(30, dimensions=40, seed=1)
    flat[:, 20:] = 3.0
    centres = np.square(few.mean(axis=0) - flat.mean(axis=0)).sum()
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-5)
    assert centres < frechet_distance(few, flat) < np.inf
    constant = np.ones((3, 40))
    assert frechet_distance(constant, constant) == 0
    assert frechet_distance(constant, constant + 2) == pytest.approx(40 * 4)


@pytest.mark.parametrize(("count", "other"), [(64, 64), (64, 400), (200, 100)])
@pytest.mark.parametrize(("mean", "scale"), [(0.0, 1.0), (0.3, 1.3)])
def test_extrapolation_finds_the_distance_of_the_distributions(count, other, mean, scale):
    known = 32 * (mean**2 + (scale - 1) ** 2)
    plain, extrapolated = [], []
    for seed in range(12):
        pair = normal(count, 32, mean, scale, seed), normal(other, 32, seed=100 + seed)
        plain.append(frechet_distance(*pair))
        extrapolated.append(extrapolated_frechet_distance(*pair, seed))
    bias = np.mean(plain) - known
    assert np.all(np.abs(np.array(extrapolated) - known) < np.array(plain) - known)
    error = np.std(extrapolated) / np.sqrt(12)
    assert np.mean(extrapolated) == pytest.approx(known, abs=3 * error + 0.05 * bias)
    assert 5 * error < bias
    if known == 0:
        assert min(extrapolated) < 0 < max(extrapolated)


def test_what_has_no_bias_is_not_moved():
    constant = np.ones((80, 40))
    assert extrapolated_frechet_distance(constant, constant, 0) == pytest.approx(0, abs=1e-9)
    assert extrapolated_frechet_distance(constant, constant + 2, 0) == pytest.approx(160)


def test_extrapolation_needs_twice_as_many_images_as_features():
    many = normal(60, 10)
    for least, features in ((20, 10), (16, 3)):
        few = many[:least, :features]
        assert isinstance(extrapolated_frechet_distance(few, many[:, :features], 0), float)
        assert extrapolated_frechet_distance(few[1:], many[:, :features], 0) is None
        assert extrapolated_frechet_distance(many[:, :features], few[1:], 0) is None


def test_extrapolation_is_decided_by_its_seed():
    pair = normal(30), normal(40, seed=1)
    values = [extrapolated_frechet_distance(*pair, seed) for seed in (0, 0, 1)]
    assert values[0] == values[1] != values[2]


def test_kernel_distance_agrees_with_its_sums():
    first, second = normal(7, seed=1), normal(9, mean=0.4, seed=2)

    def mean_kernel(x, y, skip_same):
        values = [
            (np.dot(a, b) / 4 + 1) ** 3
            for i, a in enumerate(x)
            for j, b in enumerate(y)
            if not (skip_same and i == j)
        ]
        return np.mean(values)

    expected = (
        mean_kernel(first, first, True)
        + mean_kernel(second, second, True)
        - 2 * mean_kernel(first, second, False)
    )
    assert kernel_distance(first, second) == pytest.approx(expected)


def test_kernel_distance_is_unbiased():
    values = [
        kernel_distance(normal(12, seed=seed), normal(10, seed=1000 + seed)) for seed in range(400)
    ]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(400)
    assert min(values) < 0


@pytest.mark.parametrize("distance", DISTANCES)
def test_distance_grows_with_what_sets_them_apart(distance):
    real = normal(300)
    for changed in ({"mean": 1.0}, {"scale": 1.5}):
        same, some = normal(300, seed=1), normal(300, seed=1, **changed)
        assert distance(real, same) < 0.2 * distance(real, some)
    shifts = [distance(real, real + shift) for shift in (0.5, 1, 2)]
    assert shifts == sorted(shifts)


@pytest.mark.parametrize("distance", [*DISTANCES, partial(extrapolated_frechet_distance, seed=0)])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (normal(9, 3), normal(9, 4)),
        (normal(1), normal(9)),
        (normal(9), np.full((9, 4), np.nan)),
        (np.zeros(9), np.zeros(9)),
    ],
)
def test_what_has_no_distance_is_refused(distance, first, second):
    with pytest.raises(ValueError, match="finite feature vectors"):
        distance(first, second)


def draw_subjects(count, each, seed, spread=0.7):
    """Images scatter by 1 around their subject's centre, the centres by `spread`."""
    rng = np.random.default_rng(seed)
    centres = np.repeat(rng.normal(0, spread, size=(count, 3)), each, axis=0)
    features = centres + rng.normal(size=centres.shape)
    return RealSet(features, np.repeat([f"P{seed}_{k}" for k in range(count)], each))


def draw_samples(count, seed, mean=0.5):
    return np.random.default_rng(seed).normal(mean, np.sqrt(1 + 0.7**2), size=(count, 3))


@pytest.mark.parametrize("distance", DISTANCES)
def test_interval_covers_the_mean_value_of_fresh_sets(distance):
    """Also where nothing is apart, which is where plain percentiles fail."""
    for mean in (0.0, 0.5):
        fresh = [
            distance(draw_samples(60, 10_000 + k, mean), draw_subjects(15, 8, 20_000 + k).features)
            for k in range(300)
        ]
        covered, widths = [], []
        for k in range(40):
            real = draw_subjects(15, 8, 100 + k)
            low, high = compare_to_real(
                distance, draw_samples(60, k, mean), real, real, k, resamples=100, divisions=1
            )["interval_95"]
            covered.append(low <= np.mean(fresh) <= high)
            widths.append(high - low)
        assert np.mean(covered) > 0.8
        true_width = np.subtract(*np.quantile(fresh, [0.975, 0.025]))
        assert 0.6 < np.mean(widths) / true_width < 2.2


@pytest.mark.parametrize("distance", DISTANCES)
def test_samples_of_few_subjects_have_a_wider_interval(distance):
    samples, real = draw_subjects(6, 20, 3, spread=1.0), draw_subjects(15, 8, 4)

    def width(subjects):
        found = compare_to_real(
            distance, samples.features, real, real, 0, divisions=1, sample_subjects=subjects
        )
        assert found["value"] == distance(samples.features, real.features)
        return np.diff(found["interval_95"])[0]

    assert width(samples.subjects) > 1.3 * width(None)
    assert width(list(range(120))) == pytest.approx(width(None))


@pytest.mark.parametrize("owners", [1, 2])
def test_samples_of_one_subject_have_no_interval(owners):
    samples, real = draw_subjects(owners, 20, 3), draw_subjects(15, 8, 4)
    found = compare_to_real(
        kernel_distance, samples.features, real, real, 0, sample_subjects=samples.subjects
    )
    assert found["value"] == kernel_distance(samples.features, real.features)
    assert (found["interval_95"] is None) == (owners == 1)


def test_unknown_subjects_are_not_counted_and_have_no_floor():
    samples, real = draw_subjects(6, 20, 3), draw_subjects(15, 8, 4)
    nobody = RealSet(real.features, [UNKNOWN] * 120)
    found = compare_to_real(kernel_distance, samples.features, nobody, nobody, 0)
    assert found["value"] is not None
    assert found["interval_95"] is found["floor"] is None
    assert (count_subjects(nobody.subjects), count_subjects(real.subjects)) == (None, 15)


@pytest.mark.parametrize("distance", DISTANCES)
def test_fresh_samples_are_near_the_floor_and_others_above(distance):
    everyone = draw_subjects(30, 10, 0, spread=0.4)
    real = RealSet(everyone.features[:100], everyone.subjects[:100])
    same = np.random.default_rng(1).normal(0, np.sqrt(1 + 0.4**2), size=(200, 3))
    result = compare_to_real(distance, same, real, everyone, seed=0)
    low, high = result["floor_range"]
    assert low < result["floor"] < high
    assert result["value"] < high
    assert (result["images"], result["subjects"]) == ([200, 100], 10)
    # 10 subjects against the other 20, at the images' own numbers.
    assert result["floor_images"] == [200, 100]
    apart = compare_to_real(distance, same + 2, real, everyone, seed=0)
    assert apart["floor"] == result["floor"]
    assert apart["interval_95"][0] > 3 * high


def test_division_by_subject_keeps_each_subject_together():
    subjects = np.random.default_rng(0).permutation(list("aaabbbbccddddd"))
    divisions = list(divide_by_subject(subjects, 2, [99, 99], 40, np.random.default_rng(0)))
    for first, second in divisions:
        np.testing.assert_array_equal(np.sort([*first, *second]), np.arange(14))
        assert not set(subjects[first]) & set(subjects[second])
        assert len(set(subjects[second])) == 2
    # All pairs of four subjects come up.
    assert len({frozenset(subjects[second]) for _, second in divisions}) == 6


def test_division_by_subject_cuts_at_random_and_leaves_half_of_the_subjects():
    subjects = np.repeat(["a", "b", "c", "d", "e"], 10)
    sides = list(divide_by_subject(subjects, 4, [5, 7], 200, np.random.default_rng(0)))
    assert {(len(first), len(second)) for first, second in sides} == {(5, 7)}
    for side in zip(*sides, strict=True):
        assert all(len(set(rows)) == len(rows) for rows in side)
        assert set(np.concatenate(side)) == set(range(50))
    whole = next(divide_by_subject(subjects, 4, [99, 99], 1, np.random.default_rng(0)))
    assert [len(side) for side in whole] == [30, 20]
    ((first, second),) = divide_by_subject(["a"] * 9, 1, [9, 9], 1, np.random.default_rng(0))
    assert (len(first), len(second)) == (9, 0)


def test_extrapolated_distance_has_a_floor_and_no_interval():
    real = draw_subjects(20, 10, 0)
    held_out = RealSet(real.features[:100], real.subjects[:100])
    extrapolated = partial(extrapolated_frechet_distance, seed=3)
    samples = draw_samples(100, 1)
    result = compare_to_real(extrapolated, samples, held_out, real, 0, resamples=0, divisions=5)
    plain = compare_to_real(frechet_distance, samples, held_out, real, 0, resamples=0, divisions=5)
    assert result["interval_95"] is plain["interval_95"] is None
    assert result["value"] == extrapolated(samples, held_out.features)
    # Divided in the same way; of each bias the part that comes with images is gone.
    assert result["floor_images"] == plain["floor_images"] == [100, 100]
    assert result["value"] < plain["value"]
    assert result["floor"] < plain["floor"]

    wide = RealSet(np.tile(real.features, 50), real.subjects)
    few = compare_to_real(extrapolated, wide.features, wide, wide, seed=0, resamples=2)
    assert few["value"] is few["interval_95"] is few["floor"] is few["floor_range"] is None


def test_floor_never_has_a_subject_on_both_sides():
    # Two images in each place, subjects far apart: a shared subject would make a distance of 0.
    real = RealSet(np.repeat(100.0 * np.arange(2)[:, None], 10, axis=0), np.repeat(["a", "b"], 10))
    result = compare_to_real(frechet_distance, real.features, real, real, seed=0)
    assert result["floor_range"] == [10_000, 10_000]
    assert result["floor_images"] == [10, 10]


def test_same_seed_same_numbers():
    real = draw_subjects(6, 5, 0)
    results = [
        compare_to_real(kernel_distance, draw_samples(20, 1), real, real, seed, resamples=20)
        for seed in (0, 0, 1)
    ]
    assert results[0] == results[1]
    assert results[0]["value"] == results[2]["value"]
    assert results[0]["interval_95"] != results[2]["interval_95"]


def test_too_little_gives_no_number():
    real = draw_subjects(4, 5, 0)
    few = compare_to_real(frechet_distance, draw_samples(7, 0), real, real, seed=0)
    assert few["value"] is few["interval_95"] is few["floor"] is None
    assert few["images"] == [7, 20]

    one = RealSet(real.features, ["a"] * 20)
    alone = compare_to_real(frechet_distance, draw_samples(20, 0), one, one, seed=0)
    assert alone["value"] > 0
    assert alone["interval_95"] is alone["floor"] is alone["floor_images"] is None
