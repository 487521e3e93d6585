"""A DCGAN's slices beside real ones, with sets whose answers are known."""

import json

import jax
import numpy as np
import pytest

from brainsynth_jax.evaluation.collapse import find_collapse
from brainsynth_jax.evaluation.copies import Slices, coarsen
from brainsynth_jax.evaluation.dcgan import (
    RealSlices,
    critic_gaps,
    evaluate_samples,
    list_copies,
    make_judge,
    measure_reference,
    rank_by_likeness,
    watch_samples,
)
from brainsynth_jax.evaluation.features import pca_space
from brainsynth_jax.models.dcgan import DcganDiscriminator, DcganGenerator
from brainsynth_jax.training.dcgan import Dcgan, create_dcgan_state
from brainsynth_jax.training.optimizer import make_adam, make_schedule

GAPS = {"train": 1.0, "test": 0.5}


def heads(seed, count, subjects):
    """Soft discs with a bright spot, different in each image and a little in each subject."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[-1:1:64j, -1:1:64j]
    images, names = [], []
    for index in range(count):
        subject = index % subjects
        wide, x, y = rng.normal([0.7 + 0.02 * subject, 0, 0], [0.03, 0.2, 0.2])
        disc = 1 / (1 + np.exp(20 * (np.hypot(rows, columns * 1.2) - wide)))
        spot = 0.6 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 0.02)
        noise = 0.03 * rng.normal(size=rows.shape)
        images.append(np.clip(disc * (0.9 + spot + noise) - 1, -1, 1))
        names.append(f"{seed}-{subject}")
    return RealSlices(np.float32(images)[..., None], names)


@pytest.fixture(scope="module")
def real():
    train, test = heads(0, 60, 6), heads(1, 30, 3)
    return measure_reference(train, test, pca_space(train.images, 16), seed=0)


@pytest.fixture(scope="module")
def fresh():
    return heads(2, 64, 6).images


def test_fresh_slices_are_as_near_varied_and_new_as_real_ones(real, fresh):
    found = evaluate_samples(fresh, GAPS, real, seed=0)
    json.dumps(found, allow_nan=False)
    assert (found["samples"], found["train"], found["test"]) == (
        64,
        {"slices": 60, "subjects": 6},
        {"slices": 30, "subjects": 3},
    )
    assert found["compared_with"] == "test"
    low, high = found["kid"]["floor_range"]
    assert found["kid"]["value"] < high + (high - low)
    alike = found["ms_ssim"]
    assert alike["samples"]["mean"] == pytest.approx(alike["real"]["mean"], abs=0.1)
    assert found["grid_energy"]["ratio"] == pytest.approx(1, abs=0.2)
    assert not found["copies"]["copied"]
    assert found["critic_gap"] == GAPS
    assert found["feature_space"]["fingerprint"] == real.space.fingerprint


@pytest.mark.parametrize("fault", ["copied", "alike", "grid", "dark"])
def test_each_fault_is_seen_where_it_belongs(real, fresh, fault):
    samples = {
        "copied": real.train.images,
        "alike": np.repeat(fresh[:1], 64, axis=0),
        "grid": np.clip(fresh + 0.1 * (-1.0) ** np.arange(64)[None, :, None, None], -1, 1),
        "dark": 0.5 * (fresh + 1) - 1,
    }[fault]
    good, bad = (evaluate_samples(np.float32(x), GAPS, real, 0) for x in (fresh, samples))
    assert bad["copies"]["copied"] == (fault == "copied")
    assert (bad["ms_ssim"]["samples"]["mean"] > 0.99) == (fault == "alike")
    assert (bad["grid_energy"]["ratio"] > 3) == (fault == "grid")
    if fault == "dark":
        assert bad["frechet"]["value"] > 3 * good["frechet"]["value"]
        assert bad["kid"]["value"] > bad["kid"]["floor_range"][1] > good["kid"]["value"]


def test_the_watched_numbers_are_those_that_find_collapse_reads(real, fresh):
    good = watch_samples(fresh, GAPS, real, seed=0)
    alike = watch_samples(np.repeat(fresh[:1], 64, axis=0), GAPS, real, seed=0)
    assert all(np.isfinite(value) for value in good.values())
    assert good["nearest_ratio"] == pytest.approx(1, abs=0.3)
    epochs = [good, good, alike, alike, alike]
    records = [{"step": n, "epoch": n} | values for n, values in enumerate(epochs, start=1)]
    assert "mode collapse" in find_collapse(records).reason
    assert find_collapse(records[:4]) is None


def test_without_held_out_slices_what_needs_them_is_left_out(fresh):
    train = heads(0, 60, 6)
    real = measure_reference(train, None, pca_space(train.images, 16), seed=0)
    found = evaluate_samples(fresh, {"train": 1.0, "test": None}, real, seed=0)
    json.dumps(found, allow_nan=False)
    assert found["compared_with"] == "train"
    assert found["test"] is found["copies"] is None
    assert found["kid"]["value"] is not None
    watched = watch_samples(fresh, {"train": 1.0, "test": None}, real, seed=0)
    assert {"kid_test", "nearest_ratio", "critic_gap_test"}.isdisjoint(watched)
    assert find_collapse([{"step": 1, "epoch": 1} | watched] * 5) is None


def test_a_copy_of_any_training_slice_is_found_not_only_of_those_compared(fresh):
    train, test = heads(0, 60, 6), heads(1, 30, 3)
    some = RealSlices(train.images[:20], train.subjects[:20])
    space = pca_space(some.images, 16)
    copies = np.repeat(train.images[20:], 2, axis=0)
    everything = Slices(coarsen(train.images), space.extract(train.images), train.subjects)
    for training, found in ((everything, True), (None, False)):
        real = measure_reference(some, test, space, 0, training)
        summary = evaluate_samples(copies, GAPS, real, 0)["copies"]
        assert (summary["copied"], summary["training"]) == (found, 60 if found else 20)


def test_the_list_names_whom_a_sample_copies(real, fresh):
    samples = np.concatenate([fresh[:3], real.train.images[[7, 31]][:, :, ::-1]])
    rows = list_copies(samples, real)
    json.dumps(rows, allow_nan=False)
    assert [row["sample"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["image_index"] for row in rows[3:]] == [7, 31]
    assert [row["image_subject"] for row in rows[3:]] == [real.train.subjects[i] for i in (7, 31)]
    assert {row["verdict"] for row in rows[3:]} == {"suspicious"}
    assert "suspicious" not in {row["verdict"] for row in rows[:3]}


def test_without_held_out_slices_the_list_judges_nobody(fresh):
    train = heads(0, 60, 6)
    real = measure_reference(train, None, pca_space(train.images, 16), seed=0)
    rows = list_copies(fresh[:2], real)
    assert {row["verdict"] for row in rows} == {None}
    assert all(row["feature_distance"] > 0 for row in rows)


def test_one_held_out_slice_gives_no_distance(fresh):
    train, test = heads(0, 60, 6), heads(1, 1, 1)
    real = measure_reference(train, test, pca_space(train.images, 16), seed=0)
    watched = watch_samples(fresh, GAPS, real, seed=0)
    assert {"kid_test", "kid_real"}.isdisjoint(watched)
    json.dumps(evaluate_samples(fresh, GAPS, real, 0), allow_nan=False)


def test_held_out_slices_that_were_trained_on_give_no_ratio(fresh):
    train = heads(0, 60, 6)
    real = measure_reference(train, train, pca_space(train.images, 16), seed=0)
    watched = watch_samples(fresh, GAPS, real, seed=0)
    assert "nearest_ratio" not in watched


def test_gaps_are_differences_of_mean_scores(real, fresh):
    adam = make_adam(make_schedule(2e-4, 1))
    model = Dcgan(
        DcganGenerator(image_size=64, width=1, channels=3), DcganDiscriminator(width=1), adam, adam
    )
    state = create_dcgan_state(model, jax.random.key(0))
    judge = make_judge(model)
    gaps = critic_gaps(state, judge, fresh, real)
    variables = {"params": state.discriminator, "batch_stats": state.discriminator_statistics}
    means = [
        model.discriminator.apply(variables, np.repeat(images, 3, axis=-1)).mean()
        for images in (real.train.images, real.test.images, fresh)
    ]
    assert gaps["train"] == pytest.approx(float(means[0] - means[2]), abs=1e-6)
    assert gaps["test"] == pytest.approx(float(means[1] - means[2]), abs=1e-6)


def test_slices_most_like_real_ones_come_first(real, fresh):
    strange = np.float32(np.random.default_rng(0).uniform(-1, 1, (3, 64, 64, 1)))
    order = rank_by_likeness(np.concatenate([fresh[:4], strange, fresh[4:8]]), real)
    assert set(order[-3:]) == {4, 5, 6}
    assert sorted(order) == list(range(11))
