import copy
from itertools import pairwise

import pytest
from made_up import make_samples
from report_page import Page

from brainsynth_jax.evaluation.bootstrap import summarize
from brainsynth_jax.evaluation.cyclegan_report import answer_questions, write_cyclegan_report
from brainsynth_jax.evaluation.lesions import (
    RATES,
    SIZE_EDGES_MM3,
    summarize_empty_slices,
    summarize_lesions,
)
from brainsynth_jax.evaluation.segmentation import METRICS, summarize_subjects
from brainsynth_jax.evaluation.translation import table2

RECORDS = [{"step": k, "seconds_per_step": 0.5, "cycle": 1.0} for k in range(1, 801)]


ERRORS = ("a_to_b", "b_to_a", "cycled_a", "cycled_b", "cycled_a_rounded")
DISTURBED = (1.5, 1.9), (2.5, 2.7)  # ratios of the two subjects, rounded and noisy


def make_scores(dices):
    return {
        f"subject_{k}": {**dict.fromkeys(METRICS, value), "hausdorff_95_mm": None, "slices": 3}
        for k, value in enumerate(dices)
    }


def make_translation(base, identical=0):
    scores = {
        name: summarize([base * scale, 1.5 * base * scale], 0)
        for name, scale in (("mse", 0.01), ("mae", 0.1), ("psnr", 20), ("ssim", 0.5))
    }
    scores["psnr"]["identical"] = identical
    return scores


def make_hidden_channel(rounded, noisy):
    ratios = {"rounded": rounded, "noisy": noisy}
    return {
        "noise_std": 0.05,
        "mae": {"plain": summarize([0.031, 0.033], 0)}
        | {
            name: values and summarize([v and 0.1 * v for v in values], 0)
            for name, values in ratios.items()
        },
        "ratio": {name: values and summarize(values, 0) for name, values in ratios.items()},
    }


def make_lesions(by_size, subjects=2, gaps=0):
    """Of each subject the same (found, missed, false) of each size."""
    counted = [dict(zip(("found", "missed", "false"), size, strict=True)) for size in by_size]
    edges = (0, *SIZE_EDGES_MM3, None)
    scores = {
        f"subject_{k}": {
            **{name: sum(size[name] for size in counted) for name in counted[0]},
            **dict(zip(RATES, (0.5 + 0.1 * k, 0.25, 0.375), strict=True)),
            "by_size": [
                {"from_mm3": low, "to_mm3": high} | size
                for (low, high), size in zip(pairwise(edges), counted, strict=True)
            ],
            "gaps": gaps,
        }
        for k in range(subjects)
    }
    return {"subjects": scores, "summary": summarize_lesions(scores, 0)}


def make_empty(shares, area=12.0):
    scores = {
        f"subject_{k}": {"empty_slices": 8, "drawn_share": share, "drawn_area_mm2": area}
        for k, share in enumerate(shares)
    }
    return {"subjects": scores, "summary": summarize_empty_slices(scores, 0)}


OUR_LESIONS = (0, 1, 9), (1, 2, 3), (0, 0, 1), (1, 0, 0), (1, 0, 0)
THEIR_LESIONS = (0, 1, 5), (2, 1, 2), (0, 0, 0), (1, 0, 2), (0, 1, 0)


def make_split(ours, baseline):
    ours, baseline = make_scores(ours), make_scores(baseline)
    return {
        "table2": table2(0.2, 0.3, 0.004, 0.002, 0.4, 0.5, 0.9),
        "paired_cycle": 2.345,
        "mse": dict(zip(ERRORS, (0.0311, 0.0222, 0.0033, 0.0044, 0.0299), strict=True)),
        "mae": dict(zip(ERRORS, (0.0511, 0.0522, 0.0533, 0.0544, 0.2999), strict=True)),
        "translation": {"a_to_b": make_translation(1.0, 4), "b_to_a": make_translation(0.8)},
        "hidden_channel": make_hidden_channel(*DISTURBED),
        "segmentation": {
            "subjects": ours,
            "summary": summarize_subjects(ours, 0),
            "lesions": make_lesions(OUR_LESIONS),
            "empty_slices": make_empty((0.25, 0.75), 1234.0),
        },
        "threshold_baseline": {
            "sigma_pixels": 2,
            "threshold": 0.9,
            "subjects": baseline,
            "summary": summarize_subjects(baseline, 0),
            "lesions": make_lesions(THEIR_LESIONS),
            "empty_slices": make_empty((0.5, 1.0), 56.0),
        },
        "slices": 3 * len(ours),
        "subjects": len(ours),
    }


def make_evaluation(ours=(0.8, 0.82, 0.9), baseline=(0.6, 0.7, 0.65)):
    return {
        "weights": "ema",
        "step": 800,
        "mask_threshold": 0.5,
        "checkpoint": "last",
        "train": make_split((0.9, 0.95), (0.7, 0.7)),
        "test": make_split(ours, baseline),
        "synthetic": make_samples(
            test={"slices": 3 * len(ours), "subjects": len(ours)}, placement=make_placement()
        ),
        "utility": None,
    }


def make_placement():
    return {
        "synthetic": summarize([0.8, 0.9], 0),
        "real": summarize([0.4, 0.6], 0),
        "threshold": 0.85,
        "sigma_pixels": 2,
    }


def without_truth(evaluation):
    evaluation = copy.deepcopy(evaluation) | {"mask_threshold": None, "weights": "raw"}
    evaluation["synthetic"]["placement"] = None
    for split in ("train", "test"):
        part = evaluation[split]
        part |= {"segmentation": None, "threshold_baseline": None, "paired_cycle": None}
        part |= {"translation": None, "hidden_channel": make_hidden_channel(None, DISTURBED[1])}
        for error in ("mse", "mae"):
            part[error] |= {"a_to_b": None, "b_to_a": None}
    return evaluation


@pytest.fixture
def write(tmp_path):
    def write(evaluation, **changes):
        arguments = {
            "title": "CycleGAN <unet>",
            "options": {"script": "cyclegan", "versions": {"jax": "0.10.2"}, "flags": {"seed": 7}},
            "evaluation": evaluation,
            "records": RECORDS,
            "curves_png": None,
            "sample_pngs": [],
            "notes": ["2 subjects were left out: a & b."],
        }
        write_cyclegan_report(tmp_path / "report.html", **arguments | changes)
        return Page((tmp_path / "report.html").read_text(encoding="utf-8"))

    return write


def test_plain_answers_come_first(write):
    words = write(make_evaluation()).words
    assert "Research use only; not for diagnosis." in words
    assert "On 3 subjects kept out of training (9 slices)" in words
    assert "mean Dice of 0.84 (95 % interval 0.80 to 0.90)" in words
    assert "Its Dice is 0.65 (95 % interval 0.60 to 0.70)" in words
    assert "running average of the generators' weights (EMA), after 800 steps" in words
    assert "trained for 800 steps, 0.5 s each" in words
    assert "2 subjects were left out: a & b." in words
    assert words.index("On 3 subjects") < words.index("Table 2") < words.index("Options, versions")


@pytest.mark.parametrize(
    ("ours", "baseline", "verdict"),
    [
        ((0.8, 0.82, 0.9), (0.6, 0.7, 0.65), "The translator beats the threshold"),
        ((0.6, 0.7, 0.65), (0.8, 0.82, 0.9), "The translator loses to the threshold"),
        ((0.6, 0.7, 0.9), (0.9, 0.7, 0.6), "Neither the translator nor the threshold is shown"),
        ((0.9,), (0.1,), "One subject is too few"),
    ],
)
def test_verdict_follows_the_paired_interval(write, ours, baseline, verdict):
    words = write(make_evaluation(ours, baseline)).words
    verdicts = ("beats the", "loses to the", "Neither the", "One subject is")
    assert verdict in words
    assert sum(phrase in words for phrase in verdicts) == 1


def test_few_subjects_are_called_few(write):
    assert "With 3 subjects the intervals are rough" in write(make_evaluation()).words
    many = make_evaluation([0.8] * 12, [0.7] * 12)
    assert "intervals are rough" not in write(many).words


def test_tables_show_published_and_measured_values(write):
    words = write(make_evaluation()).words
    # Dis_A: the paper's two columns, then held out and training.
    assert "half sum of the next two 0.206 2.358e-3 0.250 0.250" in words
    assert "on generated masks 0.252 3.000e-3 2.000e-3 2.000e-3" in words
    assert "against the true mask 0.031 0.031 0.051 0.051" in words
    assert "both paired MAEs 2.345 2.345" in words
    assert "undefined in 3" in words
    worst, middle, best = (words.index(f"subject_{k} 0.") for k in range(3))
    assert worst < middle < best


def test_translation_has_a_line_a_direction_and_split(write):
    words = write(make_evaluation()).words
    of_masks = (
        "0.0125 0.0100 to 0.0150 0.125 0.100 to 0.150 25.0 20.0 to 30.0 without 4 exact 0.625"
    )
    of_scans = "0.0100 0.0080 to 0.0120 0.100 0.080 to 0.120 20.0 16.0 to 24.0 0.500"
    for split in ("held out", "training"):
        assert f"MR to mask {split} {of_masks}" in words
        assert f"Mask to MR {split} {of_scans}" in words


def test_the_hidden_channel_is_told_in_words_and_numbers(write):
    words = write(make_evaluation()).words
    assert "a scan rebuilt from its drawn mask is off by 0.032 on average" in words
    assert (
        "from the mask rounded to its grey levels, 1.70 (95 % interval 1.50 to 1.90) times as much"
    ) in words
    assert "the mask as it was drawn 0.032 0.031 to 0.033 0.032 0.031 to 0.033" in words
    row = "0.170 0.150 to 0.190 0.170 0.150 to 0.190 1.70 1.50 to 1.90 1.70 1.50 to 1.90"
    assert f"the mask rounded to its grey levels {row}" in words
    assert "the mask with faint noise 0.260" in words
    assert "its standard deviation 0.05" in words


@pytest.mark.parametrize(
    ("rounded", "noisy", "verdict"),
    [
        ((1.5, 1.9), (0.9, 1.1), "So part of what comes back was hidden"),
        ((0.9, 1.9), (2.5, 2.7), "hides much is not shown"),
        ((1.03, 1.04), (2.5, 2.7), "hides much is not shown"),
        ((1.5,), (2.5,), "It takes two known subjects to say more"),
        (None, (2.5, 2.7), "or the network stumbles over noise"),
        (None, (0.9, 1.1), "hides much is not shown"),
    ],
)
def test_hiding_is_judged_by_rounding_where_it_can_be(write, rounded, noisy, verdict):
    evaluation = make_evaluation()
    evaluation["test"]["hidden_channel"] = make_hidden_channel(rounded, noisy)
    words = write(evaluation).words
    verdicts = ("So part", "is not shown", "to say more", "or the network stumbles")
    assert verdict in words
    assert sum(phrase in words for phrase in verdicts) == 1


def test_a_cycle_without_error_has_no_verdict(write):
    evaluation = make_evaluation()
    channel = make_hidden_channel((None, None), (None, None))
    channel["mae"]["plain"] = summarize([0, 0], 0)
    evaluation["test"]["hidden_channel"] = channel
    words = write(evaluation).words
    assert "a network can cheat" in words
    assert "times as much" not in words


def test_what_needs_truth_is_left_out_and_said_so(write):
    words = write(without_truth(make_evaluation())).words
    assert "can't be measured. They are left out." in words
    assert "Errors against true partners are left out" in words
    assert "the generators' weights as the last step left them" in words
    for absent in ("Sensitivity", "Hausdorff", "against the true mask", "Equation 9", "Neither"):
        assert absent not in words
    for absent in ("Against the truth", "PSNR, dB", "rounded to its grey levels"):
        assert absent not in words
    assert "from the mask with faint noise, 2.60 (95 % interval 2.50 to 2.70) times" in words
    assert "against where it began 3.300e-3 3.300e-3 0.053 0.053" in words


def test_each_answer_is_a_question_a_verdict_and_evidence():
    answers = answer_questions(make_evaluation())
    five = [
        "Like real slices?",
        "As varied as real slices?",
        "Is the tumour where the mask says?",
        "Copies of training slices?",
        "Useful for training on real patients?",
    ]
    assert [answer.question for answer in answers] == [
        "What is this?",
        *five,
        "Better than a simple threshold?",
        "Every lesion found, none invented?",
        "A tumour drawn where there is none?",
        "A grid in the pictures?",
        "Which network?",
    ]
    assert "moved, scaled and bent" in answers[0].verdict
    without = answer_questions(without_truth(make_evaluation()))
    assert [answer.question for answer in without] == [
        "What is this?",
        *five,
        "A grid in the pictures?",
        "Which network?",
    ]
    assert "the masks of domain B" in without[0].verdict


def test_synthetic_tumours_are_said_to_be_where_they_were_asked_for():
    answer = answer_questions(make_evaluation())[3]
    assert "with a mean Dice of 0.85 (95 % interval 0.80 to 0.90); in real" in answer.evidence
    assert "true masks, 0.50 (95 % interval 0.40 to 0.60)" in answer.evidence


def test_what_the_usefulness_experiment_found_is_told():
    evaluation = make_evaluation()
    assert "utility.py --run=FOLDER" in answer_questions(evaluation)[5].verdict
    difference = {"mean": 0.04, "interval_95": [0.01, 0.07], "subjects": 5, "undefined": 0}
    comparison = {
        **{"arm": "real + 50% synthetic", "baseline": "real", "subjects": [3, 12]},
        **{"from": 0.6, "to": 0.64, "difference": difference, "verdict": "helps"},
    }
    evaluation["utility"] = {
        **{"schema": 1, "held_out": 5, "generator_step": 500, "experiment": "runs/utility-001"},
        "comparisons": [comparison],
    }
    found = answer_questions(evaluation)[5]
    assert "in place of “real” helps" in found.verdict
    assert "+0.010 to +0.070" in found.verdict
    assert "weights of step 500" in found.evidence


def test_lesions_are_counted_beside_the_thresholds_and_by_size(write):
    words = write(make_evaluation()).words
    # Two subjects, each with 3 found, 3 missed and 13 false; 3, 3 and 9 by the threshold.
    verdict = "6 of 12 true lesions found, 6 missed; 26 lesions drawn where no tumour is."
    assert f"{verdict} The threshold finds 6 and draws 18 falsely." in words
    assert (
        "From 10 mm across on, the least that a radiologist measures (RANO): translator 4 of 4 "
        "found, 2 false; threshold 2 of 4 found, 4 false."
    ) in words
    assert "Found of 12 true lesions 6 6 Missed 6 6 False drawn where no tumour is 26 18" in words
    assert "Lesion-wise sensitivity 0.55 0.50 to 0.60 0.55 0.50 to 0.60" in words
    for row in (
        "Speck under 5 mm 2 0 18 0 10",
        "Small 5 to 10 mm 6 2 6 4 4",
        "Medium 10 to 21 mm 0 0 2 0 0",
        "Large 21 to 46 mm 2 2 0 2 4",
        "Very large 46 mm or more 2 2 0 0 0",
    ):
        assert row in words
    assert "slices are missing" not in words


@pytest.mark.parametrize(("gaps", "words"), [(1, "At 2 places slices"), (4, "At 8 places slices")])
def test_gaps_between_slices_are_said_to_cut_lesions(write, gaps, words):
    evaluation = make_evaluation()
    evaluation["test"]["segmentation"]["lesions"] = make_lesions(OUR_LESIONS, gaps=gaps)
    assert f"{words} are missing between those judged, which may cut a lesion" in (
        write(evaluation).words
    )


def test_tumours_drawn_into_empty_slices_stand_beside_the_thresholds(write):
    words = write(make_evaluation()).words
    assert (
        "Yes, in 50 % (95 % interval 25 to 75 %) of slices without tumour (16 slices of 2 "
        "subjects); by the threshold in 75 % (95 % interval 50 to 100 %)."
    ) in words
    assert "On average 1,234 mm² (95 % interval 1,234 to 1,234 mm²) are drawn on such" in words
    assert "On 16 slices of the held-out subjects that show a good part of the brain" in words
    assert "Slices with a drawn tumour, % 50 25 to 75 75 50 to 100" in words
    assert "Drawn area a slice, mm² 1234 1234 to 1234 56 56 to 56" in words


def test_no_tumour_drawn_into_empty_slices_is_no_yes():
    evaluation = make_evaluation()
    evaluation["test"]["segmentation"]["empty_slices"] = make_empty((0.0, 0.0))
    answer = answer_questions(evaluation)[8]
    assert answer.verdict.startswith("In 0 % (95 % interval 0 to 0 %) of slices without tumour")


def test_without_empty_slices_the_page_says_so(write):
    evaluation = make_evaluation()
    for drawer in ("segmentation", "threshold_baseline"):
        evaluation["test"][drawer]["empty_slices"] = None
    words = write(evaluation).words
    assert "It can't be said: the held-out subjects have no slice without tumour" in words
    assert "Not measured: the held-out subjects have no slice without tumour" in words


def test_a_single_subject_has_numbers_and_no_intervals(write):
    evaluation = make_evaluation((0.9,), (0.1,))
    for drawer, lesions in (("segmentation", OUR_LESIONS), ("threshold_baseline", THEIR_LESIONS)):
        part = evaluation["test"][drawer]
        part["lesions"], part["empty_slices"] = make_lesions(lesions, 1), make_empty((0.25,))
    words = write(evaluation).words
    assert "On 1 subject kept out of training (3 slices)" in words
    assert "a mean Dice of 0.90 (no interval: too few subjects)" in words
    assert "Yes, in 25 % (no interval: too few subjects) of slices without tumour (8 sl" in words
    assert "3 of 6 true lesions found" in words
    assert "intervals are rough" not in words


def test_unknown_spacings_are_said(write):
    evaluation = make_evaluation()
    for drawer in ("segmentation", "threshold_baseline"):
        part = evaluation["test"][drawer]
        part["lesions"]["summary"]["by_size"] = None
        part["empty_slices"] = make_empty((0.5, 0.5), None)
    words = write(evaluation).words
    assert "How large they are is not known." in words
    assert "How large the lesions are is not known" in words
    assert "How large it is is not known: no pixel has a known size." in words
    assert "Very large" not in words


def test_where_no_lesion_is_to_be_found_none_is_missed(write):
    evaluation = make_evaluation()
    none_true = tuple((0, 0, false) for *_, false in OUR_LESIONS)
    for drawer in ("segmentation", "threshold_baseline"):
        evaluation["test"][drawer]["lesions"] = make_lesions(none_true)
    assert "There is no true lesion to be found; 26 lesions drawn" in write(evaluation).words
