"""Synthetic slices beside real ones, with sets whose answers are known."""

import json

import numpy as np
import pytest
from discs import discs

from brainsynth_jax.evaluation import samples as measured
from brainsynth_jax.evaluation.distances import UNKNOWN, RealSet, extrapolated_frechet_distance
from brainsynth_jax.evaluation.diversity import compare_diversity, subject_spread
from brainsynth_jax.evaluation.features import pca_space
from brainsynth_jax.evaluation.manifold import compare_overlap
from brainsynth_jax.evaluation.neighbours import Slices, coarsen
from brainsynth_jax.evaluation.samples import (
    RealSlices,
    evaluate_samples,
    list_copies,
    measure_reference,
    measure_samples,
    rank_by_likeness,
)
from brainsynth_jax.evaluation.samples_numbers import show_numbers
from brainsynth_jax.evaluation.samples_words import judge_samples
from brainsynth_jax.evaluation.similarity import pairwise_ms_ssim


def evaluate(images, real, seed=0, subjects=None):
    return evaluate_samples(measure_samples(images, real, subjects), real, seed)


def test_fresh_slices_are_as_near_varied_and_new_as_real_ones(real, fresh):
    found = evaluate(fresh, real, seed=0)
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
    for measure in (found["overlap"][name] for name in ("precision", "recall", "coverage")):
        assert measure["value"] is None, "30 held-out slices are too few"
    lowest, highest = found["diversity"]["ratio_of_halves"]
    assert lowest - 0.1 < found["diversity"]["ratio"] < highest + 0.1
    assert found["feature_space"]["fingerprint"] == real.space.fingerprint


@pytest.mark.parametrize("fault", ["copied", "alike", "grid", "dark"])
def test_each_fault_is_seen_where_it_belongs(real, fresh, fault):
    samples = {
        "copied": real.train.images,
        "alike": np.repeat(fresh[:1], 64, axis=0),
        "grid": np.clip(fresh + 0.1 * (-1.0) ** np.arange(64)[None, :, None, None], -1, 1),
        "dark": 0.5 * (fresh + 1) - 1,
    }[fault]
    good, bad = (evaluate(np.float32(x), real, 0) for x in (fresh, samples))
    assert bad["copies"]["copied"] == (fault == "copied")
    assert (bad["ms_ssim"]["samples"]["mean"] > 0.99) == (fault == "alike")
    assert (bad["grid_energy"]["ratio"] > 3) == (fault == "grid")
    if fault == "dark":
        assert bad["frechet"]["value"] > 3 * good["frechet"]["value"]
        assert bad["kid"]["value"] > bad["kid"]["floor_range"][1] > good["kid"]["value"]


def test_without_held_out_slices_what_needs_them_is_left_out(fresh):
    train = discs(0, 60, 6)
    real = measure_reference(train, None, pca_space(train.images, 16), seed=0)
    found = evaluate(fresh, real, seed=0)
    json.dumps(found, allow_nan=False)
    assert found["compared_with"] == "train"
    assert found["test"] is found["copies"] is None
    assert found["kid"]["value"] is not None
    assert found["subject_spread"]["heldout"] is None
    assert found["overlap"]["precision"]["value"] is not None


def test_a_copy_of_any_training_slice_is_found_not_only_of_those_compared(fresh):
    train, test = discs(0, 60, 6), discs(1, 30, 3)
    some = RealSlices(train.images[:20], train.subjects[:20])
    space = pca_space(some.images, 16)
    copies = np.repeat(train.images[20:], 2, axis=0)
    everything = Slices(coarsen(train.images), space.extract(train.images), train.subjects)
    for training, found in ((everything, True), (None, False)):
        real = measure_reference(some, test, space, 0, training)
        summary = evaluate(copies, real, 0)["copies"]
        assert (summary["copied"], summary["training"]) == (found, 60 if found else 20)


def test_the_list_names_whom_a_sample_copies(real, fresh):
    samples = np.concatenate([fresh[:3], real.train.images[[7, 31]][:, :, ::-1]])
    rows = list_copies(measure_samples(samples, real), real)
    json.dumps(rows, allow_nan=False)
    assert [row["sample"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["image_index"] for row in rows[3:]] == [7, 31]
    assert [row["image_subject"] for row in rows[3:]] == [real.train.subjects[i] for i in (7, 31)]
    assert {row["verdict"] for row in rows[3:]} == {"suspicious"}
    assert "suspicious" not in {row["verdict"] for row in rows[:3]}


def test_without_held_out_slices_the_list_judges_nobody(fresh):
    train = discs(0, 60, 6)
    real = measure_reference(train, None, pca_space(train.images, 16), seed=0)
    rows = list_copies(measure_samples(fresh[:2], real), real)
    assert {row["verdict"] for row in rows} == {None}
    assert all(row["feature_distance"] > 0 for row in rows)


def test_slices_most_like_real_ones_come_first(real, fresh):
    strange = np.float32(np.random.default_rng(0).uniform(-1, 1, (3, 64, 64, 1)))
    mixed = np.concatenate([fresh[:4], strange, fresh[4:8]])
    order = rank_by_likeness(measure_samples(mixed, real), real)
    assert set(order[-3:]) == {4, 5, 6}
    assert sorted(order) == list(range(11))


def test_every_measure_gets_the_real_slices_that_it_needs():
    """Against the measures themselves, each given its sets by hand."""
    train, test, made = discs(0, 120, 6), discs(1, 60, 3), discs(2, 80, 6).images
    space = pca_space(train.images, 16)
    found = evaluate(made, measure_reference(train, test, space, seed=0), seed=3)
    samples = space.extract(made)
    trained, held_out = (RealSet(space.extract(x.images), x.subjects) for x in (train, test))
    everyone = RealSet(
        np.concatenate([trained.features, held_out.features]), train.subjects + test.subjects
    )
    assert found["overlap"] == compare_overlap(samples, held_out, everyone, 3)
    assert found["diversity"] == compare_diversity(samples, trained, 3)
    assert found["subject_spread"] == subject_spread(samples, trained, held_out, 3)
    extrapolated = found["frechet_extrapolated"]
    assert extrapolated["value"] == extrapolated_frechet_distance(samples, held_out.features, 3)
    assert extrapolated["floor"] > 0
    assert extrapolated["interval_95"] is None
    assert extrapolated["value"] < found["frechet"]["value"]


def test_narrow_samples_are_less_varied_and_reach_less():
    train, test = discs(0, 120, 6), discs(1, 60, 3)
    real = measure_reference(train, test, pca_space(train.images, 16), seed=0)
    wide, narrow = discs(2, 80, 6).images, np.repeat(discs(2, 8, 6).images, 10, axis=0)
    good, bad = (evaluate(x, real, 0) for x in (wide, narrow))
    assert bad["diversity"]["ratio"] < 0.5 < good["diversity"]["ratio"]
    assert bad["overlap"]["recall"]["value"] < 0.5 * good["overlap"]["recall"]["value"]
    assert bad["overlap"]["coverage"]["value"] < 0.5 * good["overlap"]["coverage"]["value"]
    effective = [
        x["subject_spread"]["heldout"]["effective_subjects_of_samples"] for x in (good, bad)
    ]
    assert effective[1] < effective[0]


def test_pairs_of_samples_from_one_subjects_masks_are_left_out():
    train, test = discs(0, 60, 6), discs(1, 30, 3)
    real = measure_reference(train, test, pca_space(train.images, 16), seed=0)
    twins, subjects = np.repeat(discs(2, 20, 20).images, 2, axis=0), np.repeat(range(20), 2)
    alone = evaluate(twins, real, 0)["ms_ssim"]["samples"]
    owned = evaluate(twins, real, 0, subjects)["ms_ssim"]["samples"]
    assert (alone["pairs"], owned["pairs"]) == (400, 400)
    assert owned == pairwise_ms_ssim(twins, 400, 0, subjects)
    assert owned["mean"] < alone["mean"]


def test_the_dearest_search_runs_once_for_all_that_is_said(real, fresh, monkeypatch):
    samples = measure_samples(fresh[:8], real)
    monkeypatch.setattr(measured, "find_neighbours", None)
    monkeypatch.setattr(measured, "coarsen", None)
    unseen = real._replace(space=real.space._replace(extract=None))
    assert evaluate_samples(samples, unseen, 0)["samples"] == 8
    assert len(list_copies(samples, unseen)) == len(rank_by_likeness(samples, unseen)) == 8


@pytest.mark.parametrize("side", [24, 28, 100])
def test_sizes_without_a_grid_leave_it_out(side):
    places = np.linspace(0, 63, side).round().astype(int)

    def resized(seed, count, subjects):
        images, names = discs(seed, count, subjects)
        return RealSlices(images[:, places][:, :, places], names)

    train, test, made = resized(0, 20, 4), resized(1, 10, 2), resized(2, 10, 10).images
    found = evaluate(made, measure_reference(train, test, pca_space(train.images, 4), seed=0))
    json.dumps(found, allow_nan=False)
    assert found["grid_energy"] is None
    assert found["kid"]["interval_95"] is not None
    assert "Grid energy" not in {row.name for row in show_numbers(found).rows}
    assert judge_samples(found)[-1].verdict.startswith("Left out: it needs pictures whose side")


def test_of_unknown_subjects_nothing_is_compared_between_them(fresh):
    train, test = (
        RealSlices(discs(seed, count, 6).images, [UNKNOWN] * count)
        for seed, count in ((0, 120), (1, 60))
    )
    real = measure_reference(train, test, pca_space(train.images, 16), seed=0)
    found = evaluate(fresh, real, subjects=[UNKNOWN] * len(fresh))
    json.dumps(found, allow_nan=False)
    assert found["train"] == {"slices": 120, "subjects": None}
    assert found["test"] == {"slices": 60, "subjects": None}
    for name in ("kid", "frechet"):
        assert found[name]["value"] is not None
        assert found[name]["interval_95"] is found[name]["floor"] is None
    assert found["overlap"]["precision"]["value"] is not None
    assert found["overlap"]["precision"]["real_range"] is None
    assert found["ms_ssim"]["samples"]["mean"] is found["ms_ssim"]["real"]["mean"] is None
    assert found["diversity"]["ratio"] is not None
    assert found["diversity"]["ratio_of_halves"] is None
    assert found["copies"]["copied"] is None
    assert set(found["copies"]["authenticity"].values()) == {None}
    like_real, varied, copied, _ = judge_samples(found)
    assert like_real.verdict == "There is too little to compare with, so it stays open."
    assert "There is too little to tell" in varied.verdict
    assert "whose slices these are is unknown" in copied.verdict
    assert "2 training subjects, and here are 64 and unknown ones." in " ".join(
        show_numbers(found).left_out
    )


@pytest.mark.parametrize(
    ("train", "test", "made", "nothing"),
    [
        ((20, 1), None, 64, {"spread", "ms_ssim"}),
        ((20, 1), (10, 1), 64, {"spread", "ms_ssim"}),
        ((60, 6), (1, 1), 64, {"frechet", "kid"}),
        ((60, 6), (30, 3), 1, {"frechet", "kid", "spread", "vendi", "ms_ssim"}),
        ((2, 2), (2, 1), 3, {"frechet", "kid", "spread", "vendi"}),
    ],
)
def test_too_little_of_anything_gives_none_and_no_crash(train, test, made, nothing):
    """(slices, subjects) to train on and held out, and samples."""
    train, test = discs(0, *train), test and discs(1, *test)
    real = measure_reference(train, test, pca_space(train.images, 16), seed=0)
    found = evaluate(discs(2, made, 6).images, real, seed=0)
    json.dumps(found, allow_nan=False)
    values = {
        "frechet": found["frechet"]["value"],
        "kid": found["kid"]["value"],
        "spread": found["subject_spread"]["effective_subjects"],
        "vendi": found["diversity"]["ratio"],
        "ms_ssim": None
        if None in (part["mean"] for part in found["ms_ssim"].values())
        else found["ms_ssim"],
    }
    assert {name for name, value in values.items() if value is None} == nothing
    assert found["overlap"]["compared_images"] is None, "none has 50 slices a side"
    numbers = show_numbers(found)
    assert len(numbers.left_out) >= 2
    assert all(answer.verdict for answer in judge_samples(found))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda images: images[:0], "(0, 64, 64, 1), none"),
        (lambda images: images[:, ::2, ::2], "(64, 32, 32, 1), from -1 to"),
        (lambda images: images[..., 0], "(64, 64, 64), from"),
        (lambda images: images + 1, "(64, 64, 64, 1), from 0 to"),
        (lambda images: np.where(images > 0, np.nan, images), "from nan to nan"),
    ],
)
def test_samples_of_another_size_or_range_are_refused(real, fresh, change, words):
    with pytest.raises(ValueError, match=r"size \(64, 64, 1\) are needed") as refused:
        measure_samples(change(fresh), real)
    assert words in str(refused.value)
