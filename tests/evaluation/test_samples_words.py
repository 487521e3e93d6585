import numpy as np
import pytest
from made_up import (
    HELD_OUT,
    make_copies,
    make_distance,
    make_diversity,
    make_overlap,
    make_samples,
    make_similarity,
    make_spread,
)

from brainsynth_jax.evaluation.distances import RealSet, compare_to_real, kernel_distance
from brainsynth_jax.evaluation.samples_words import introduce_samples, judge_samples

LOW = make_overlap(0.3, (0.25, 0.35))


def answers(**changes):
    """question -> (verdict, evidence)."""
    return {
        question: (verdict, evidence)
        for question, verdict, evidence in judge_samples(make_samples(**changes))
    }


def likeness(**changes):
    return answers(**changes)["Like real slices?"]


def variety(**changes):
    return answers(**changes)["As varied as real slices?"]


def copied(**changes):
    return answers(**changes)["Copies of training slices?"]


def test_it_says_what_is_compared_with_what():
    found = introduce_samples(make_samples(), "made from masks")
    assert found.verdict == (
        "500 slices made from masks, beside 72 real slices of 3 subjects kept out of training."
    )
    assert found.evidence.startswith("With 3 subjects the intervals are rough")
    alone = make_samples(test={"slices": 20, "subjects": 1})
    assert not introduce_samples(alone, "made from masks").evidence
    unknown = make_samples(test={"slices": 20, "subjects": None})
    found = introduce_samples(unknown, "made from masks")
    assert "beside 20 real slices of unknown subjects kept out of training." in found.verdict
    assert found.evidence.startswith("Nothing tells which slices are of one subject")
    none = introduce_samples(make_samples(test=None, compared_with="train"), "made from masks")
    assert "390 real slices of 15 subjects that the generator was trained on" in none.verdict


def test_evidence_is_one_line_of_what_carries_the_verdict():
    assert likeness()[1] == (
        "Kernel distance (KID): 0.52 (95 % interval 0.41 to 0.64), 4.73 times the 0.11 between "
        "real slices (0.05 to 0.22, as the subjects are divided). 60 % of samples lie among "
        "held-out slices (precision; real slices of other subjects: 50 to 80 %), and 60 % of those "
        "slices have a sample near (coverage; 50 to 80 %)."
    )
    assert variety()[1] == (
        "Similarity of two samples (MS-SSIM): 0.45 (95 % interval 0.43 to 0.47); of training "
        "slices of two subjects: 0.405 (95 % interval 0.36 to 0.45). Different slices in effect "
        "(Vendi score): 0.9 times those in as many training slices (between halves of their "
        "subjects: 0.8 to 1.25). 60 % of held-out slices lie among samples (recall; real slices of "
        "other subjects: 50 to 80 %). Samples fall on 8.5 of 15 training subjects in effect, "
        "as many held-out slices on 6.2."
    )


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((0.41, 0.64), "Samples are further from held-out slices than real slices"),
        ((0.21, 0.64), "Samples are not shown to be further"),
        ((0.01, 0.06), "Samples are not shown to be further"),
        ((0.01, 0.04), "Samples are nearer to held-out slices than real slices"),
        (None, "There is too little to compare with"),
    ],
)
def test_likeness_is_judged_by_interval_and_floor(interval, verdict):
    both = make_distance(interval=interval) | {"floor_images": [500, 72]}
    found, _ = likeness(kid=both, frechet=both)
    phrases = ("are further from", "not shown to be further", "Samples are nearer", "too little to")
    assert verdict in found
    assert sum(phrase in found for phrase in phrases) == 1


def test_distances_that_disagree_are_told_apart():
    verdict, evidence = likeness(kid=make_distance(interval=(0.1, 0.9)))
    assert "By the kernel distance (KID): samples are not shown to be further" in verdict
    assert "By the Fréchet distance: samples are further" in verdict
    assert "1.51 times the 61 between real slices (48.2 to 80.1" in evidence
    assert "of fewer slices, which raises it" in evidence


def test_a_frechet_floor_of_fewer_slices_proves_no_nearness():
    both = make_distance(interval=(0.01, 0.04))
    verdict, _ = likeness(kid=both, frechet=both)
    assert "By the kernel distance (KID): samples are nearer to held-out slices" in verdict
    assert "By the Fréchet distance: samples are not shown to be further" in verdict


def test_nothing_is_divided_by_a_floor_around_zero():
    verdict, evidence = likeness(kid=make_distance(floor=0.01, floor_range=(-0.02, 0.04)))
    assert "0.64), beside 0.01 between real slices (\N{MINUS SIGN}0.02 to 0.04" in evidence
    assert "Samples are further from held-out slices" in verdict


OPEN = make_distance(interval=(0.21, 0.64)) | {"floor_images": [500, 72]}
NEARER = make_distance(interval=(0.01, 0.04)) | {"floor_images": [500, 72]}
FEW = {"train": {"slices": 50, "subjects": 2}, "test": {"slices": 72, "subjects": 3}}


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"kid": OPEN, "frechet": OPEN}, "Less so than real slices of other subjects, by"),
        ({"kid": NEARER, "frechet": NEARER}, "Yet by precision and coverage they fall short"),
        ({}, "further from"),  # which says it all
        ({"kid": OPEN, "frechet": OPEN, **FEW}, "not shown to be further"),
    ],
)
def test_shares_below_all_of_real_slices_settle_what_distances_leave_open(changes, verdict):
    found, _ = likeness(overlap=LOW, **changes)
    assert verdict in found
    assert ("precision and coverage" in found) == ("further" not in found)


@pytest.mark.parametrize(
    "overlap", [make_overlap(0.4, (0.3, 0.5)), make_overlap(0.5, None), make_overlap(real=None)]
)
def test_shares_that_reach_those_of_real_slices_settle_nothing(overlap):
    assert "precision" not in likeness(kid=OPEN, frechet=OPEN, overlap=overlap)[0]


@pytest.mark.parametrize(
    ("made", "real", "verdict"),
    [
        ((0.7, 0.8), (0.3, 0.6), "Less: samples are more alike than real slices are."),
        ((0.1, 0.2), (0.3, 0.6), "Samples are less alike than real slices are, which is no merit"),
        ((0.5, 0.8), (0.3, 0.6), "No difference in variety is shown."),
    ],
)
def test_variety_is_judged_by_both_intervals(made, real, verdict):
    vendi = make_diversity(None, None)
    found, _ = variety(ms_ssim=make_similarity(made, real), diversity=vendi)
    assert verdict in found
    assert sum(text in found for text in ("Less:", "are less alike", "No difference")) == 1


@pytest.mark.parametrize(
    ("vendi", "verdict"),
    [
        (make_diversity(0.7), "By the Vendi score: less: samples are more alike"),
        (make_diversity(1.3), "By the Vendi score: samples are less alike"),
        (make_diversity(0.7, None), "By the Vendi score: there is too little"),
        (make_diversity(0.7, subjects=5), "By the Vendi score: there is too little"),
    ],
)
def test_a_vendi_score_that_disagrees_is_told_apart(vendi, verdict):
    found, _ = variety(diversity=vendi)
    assert "By the similarity of pairs (MS-SSIM): no difference in variety is shown." in found
    assert verdict in found


def test_a_recall_below_all_of_real_slices_counts_where_nothing_else_says_less():
    assert variety(overlap=LOW)[0] == (
        "Less so than real slices of other subjects, by recall; by the other measures it stays "
        "open."
    )
    assert "recall" not in variety(overlap=LOW, diversity=make_diversity(0.7))[0]
    more = {"diversity": make_diversity(1.3), "ms_ssim": make_similarity((0.1, 0.2))}
    assert "Yet by recall they fall short" in variety(overlap=LOW, **more)[0]


def mixed(copies):
    """500 distances, so many of them too small."""
    return np.repeat([0.01, 0.19], [copies, 500 - copies])


@pytest.mark.parametrize(
    ("samples", "verdict", "suspicious", "near"),
    [
        (np.full(500, 0.01), "Yes: 500 of 500 samples are nearer", "100.0 %", "0.0 %"),
        (mixed(6), "Yes: 6 of 500 samples are nearer", "1.2 %", "0.0 %"),
        (mixed(5), "Most likely: 5 of 500 samples are nearer", "1.0 %", "0.0 %"),
        (mixed(1), "Most likely: 1 of 500 samples is nearer", "0.2 %", "0.0 %"),
        (np.full(500, 0.09), "None was found by this measure.", "0.0 %", "100.0 %"),
        (HELD_OUT, "None was found by this measure.", "0.0 %", "1.4 %"),
    ],
)
def test_copies_are_told_by_their_number(samples, verdict, suspicious, near):
    found, evidence = copied(copies=make_copies(samples))
    assert found.startswith(verdict)
    assert ("copies.csv names them" in found) == (suspicious != "0.0 %")
    assert f"{suspicious} of samples are suspicious: so near to a training slice" in evidence
    assert f"Another {near} are near: nearer than 99 % of the slices of every" in evidence


@pytest.mark.parametrize(
    ("copies", "reason"),
    [
        (None, "without held-out subjects nothing says how near is too near."),
        (
            make_copies(np.ones(3)),
            "it needs 8 samples and as many held-out slices, of 2 subjects, and here are 3 and 72, "
            "of 3.",
        ),
        (
            make_copies(np.full(500, 0.01), HELD_OUT, ["a"]),
            "held-out slices, of 2 subjects, and here are 500 and 72, of 1.",
        ),
        (
            make_copies(np.full(500, 0.01), np.zeros(72), ["a", "b"]),
            "held-out slices equal training slices, so nothing",
        ),
    ],
)
def test_without_a_yardstick_for_copies_the_reason_is_said(copies, reason):
    verdict, evidence = copied(copies=copies)
    assert verdict.startswith("Left out: ")
    assert reason in verdict
    assert not evidence


def test_what_is_none_is_not_spoken_of():
    nothing = make_distance(None, None, None, None)
    changes = {
        "kid": nothing,
        "frechet": make_distance(92.4, (81.2, 104.6), None, None),
        "overlap": make_overlap(None, None, None),
        "ms_ssim": make_similarity(None, None),
        "diversity": make_diversity(None, None),
        "subject_spread": make_spread(None, None),
    }
    verdict, evidence = likeness(**changes)
    assert verdict == "There is too little to compare with, so it stays open."
    assert "left out, as it needs 8 images on either side, and here are 500 and 72." in evidence
    assert "None" not in evidence
    assert variety(**changes) == (
        "Left out: it needs more samples, and real slices of two subjects.",
        "",
    )
    assert likeness(overlap=make_overlap(real=None))[1].endswith(
        "(precision), and 60 % of those slices have a sample near (coverage)."
    )
    without = variety(subject_spread=make_spread(9.1, None))[1]
    assert without.endswith("Samples fall on 9.1 of 15 training subjects in effect.")


def test_one_held_out_subject_gives_no_verdict():
    rng = np.random.default_rng(0)
    real = RealSet(rng.normal(size=(20, 4)), ["a"] * 20)
    everyone = RealSet(rng.normal(size=(60, 4)), ["a"] * 20 + ["b"] * 20 + ["c"] * 20)
    distance = compare_to_real(kernel_distance, rng.normal(size=(30, 4)), real, everyone, 0)
    verdict, evidence = likeness(kid=distance, frechet=distance, test={"slices": 20, "subjects": 1})
    assert "(no interval)" in evidence
    assert verdict == "There is too little to compare with, so it stays open."


def test_the_grid_is_told_beside_that_of_real_slices():
    assert answers()["A grid in the pictures?"][0] == "1.25 times that of real slices; 1 is none."
    assert answers(grid_energy=None)["A grid in the pictures?"] == (
        "Left out: it needs pictures whose side is a multiple of 8 pixels and at least 32.",
        "",
    )
