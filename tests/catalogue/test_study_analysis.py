"""The statistics are the published ones, find what was put in, and the page says no more."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest, mannwhitneyu
from statsmodels.stats.proportion import proportion_confint

from brainsynth_jax.catalogue.reader_study import analysis as analysis_module
from brainsynth_jax.catalogue.reader_study.analysis import (
    analyse_study,
    cohens_kappa,
    fleiss_kappa,
    roc_area,
    roc_points,
    wilson_interval,
)
from brainsynth_jax.catalogue.reader_study.answers import Answer
from brainsynth_jax.catalogue.reader_study.sample_size import (
    guessing_test_power,
    slices_for_interval,
    slices_for_power,
)
from brainsynth_jax.catalogue.reader_study.study import (
    REAL,
    SYNTHETIC,
    Study,
)
from brainsynth_jax.catalogue.reader_study.study_report import (
    ANALYSIS_FILE,
    REPORT_FILE,
    describe_findings,
    write_study_report,
)
from brainsynth_jax.errors import UserError

# Hanley and McNeil 1982, Table I: ratings of 58 normal and 51 abnormal images, 1 to 5.
NORMAL, ABNORMAL = [33, 6, 6, 11, 2], [3, 2, 2, 11, 33]

# Fleiss 1971's way, as textbooks show it: 10 subjects, 14 raters, 5 categories.
FOURTEEN_RATERS = [
    *([0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1]),
    *([7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]),
]


def make_key(count):
    truths = np.random.default_rng(count).permutation([REAL, SYNTHETIC] * (count // 2))
    return dict(enumerate(truths.tolist(), 1))


def make_study(count):
    return Study(Path("study"), "A study", 0, 64, count, "d" * 64)


def answer(reader, number, says, confidence=3, seconds=5.0):
    return Answer(reader, number, says, confidence, seconds, "2026-01-01T00:00:00+00:00")


def simulate(key, accuracy, reader="R1", seed=0, hardness=None):
    """A reader who is right so often, and surer where right; `hardness` (N,) is taken off."""
    rng = np.random.default_rng([seed, 7])
    other = {REAL: SYNTHETIC, SYNTHETIC: REAL}
    answers = []
    for number, truth in key.items():
        right = rng.random() < accuracy - (0 if hardness is None else hardness[number - 1])
        confidence = int(rng.integers(2, 6) if right and accuracy > 0.5 else rng.integers(1, 5))
        says = truth if right else other[truth]
        answers.append(answer(reader, number, says, confidence, float(rng.lognormal(1.5))))
    return answers


def analyse(key, *readers):
    return analyse_study(make_study(len(key)), key, [a for answers in readers for a in answers])


def covers(summary, truth):
    low, high = summary["interval_95"]
    return low <= truth <= high


@pytest.mark.parametrize(
    ("accuracy", "half_width", "slices"),
    # At 0.5, z^2 / 4 w^2 - z^2: 92.2 and 380.3. At 1, z^2 (1 / 2w - 1) = 15.4.
    [(0.5, 0.1, 94), (0.5, 0.05, 382), (1.0, 0.1, 16)],
)
def test_slices_for_an_interval_by_hand(accuracy, half_width, slices):
    assert slices_for_interval(accuracy, half_width) == slices


@pytest.mark.parametrize("accuracy", [0.0, 0.5, 0.55, 0.8, 0.97])
@pytest.mark.parametrize("half_width", [0.03, 0.1, 0.3])
def test_so_many_slices_are_enough_and_fewer_are_not(accuracy, half_width):
    def reach(count):
        low, high = proportion_confint(accuracy * count, count, method="wilson")
        return (high - low) / 2

    count = slices_for_interval(accuracy, half_width)
    assert count % 2 == 0
    assert reach(count) <= half_width * (1 + 1e-9)
    assert count == 2 or reach(count - 2) > half_width


def test_power_by_a_table_of_the_binomial_distribution():
    # Of 10 answers, 0, 1, 9 or 10 right are rare (22 of 1,024); of 12, to 2 and from 10 (158 of
    # 4,096). With 90 % right that happens in 0.3487 + 0.3874, and 0.2301 + 0.3766 + 0.2824.
    np.testing.assert_allclose(guessing_test_power([10, 12], 0.9), [0.7361, 0.8891], atol=1e-4)
    assert guessing_test_power(4, 1.0) == 0  # four of four come once in eight
    assert slices_for_power(0.9) == 12
    assert slices_for_power(1.0) == 6


@pytest.mark.parametrize("accuracy", [0.6, 0.75, 0.3])
def test_power_is_that_of_the_test(accuracy):
    count = slices_for_power(accuracy)
    for number in range(count, count + 20, 2):
        found = [binomtest(right, number).pvalue < 0.05 for right in range(number + 1)]
        rng = np.random.default_rng(number)
        often = np.mean(np.array(found)[rng.binomial(number, accuracy, 100_000)])
        assert guessing_test_power(number, accuracy) == pytest.approx(often, abs=0.006)
        assert guessing_test_power(number, accuracy) >= 0.8
    assert guessing_test_power(count - 2, accuracy) < 0.8


def test_what_no_study_can_show_is_told():
    for accuracy in (0.5, 0.505, -0.1, 1.1):
        with pytest.raises(UserError, match=f"an accuracy of {accuracy}"):
            slices_for_power(accuracy)
    for power in (0, 1):
        with pytest.raises(UserError, match=r"0\.8 is usual"):
            slices_for_power(0.7, power)
    for half_width in (0, 0.5):
        with pytest.raises(UserError, match=r"0\.1 say"):
            slices_for_interval(0.5, half_width)
    with pytest.raises(UserError, match="between 0 and 1"):
        slices_for_interval(1.5, 0.1)


def test_wilson_as_published():
    """Newcombe 1998, Table I, method 3."""
    np.testing.assert_allclose(wilson_interval(81, 263), [0.2553, 0.3662], atol=5e-5)
    np.testing.assert_allclose(wilson_interval(0, 20), [0.0, 0.1611], atol=5e-5)
    assert wilson_interval(7, 7) is None


def test_area_as_published():
    """The area of Hanley and McNeil; DeLong's error and interval as Stata's roctab gives them."""
    score = np.repeat([1, 2, 3, 4, 5] * 2, NORMAL + ABNORMAL)
    abnormal = np.repeat([False, True], [58, 51])
    area, error = roc_area(score, abnormal)
    assert area == pytest.approx(0.893, abs=5e-4)
    assert error == pytest.approx(0.0307, abs=5e-5)
    np.testing.assert_allclose(
        [area - 1.959964 * error, area + 1.959964 * error], [0.83295, 0.95339], atol=5e-6
    )
    # Their own formula of the error, from the area alone: 0.032.
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + 50 * (q1 - area**2) + 57 * (q2 - area**2)
    assert error == pytest.approx(np.sqrt(variance / (51 * 58)), rel=0.1)


def test_area_is_the_share_of_pairs_and_lies_under_the_curve():
    rng = np.random.default_rng(0)
    for _ in range(20):
        score, positive = rng.integers(-5, 6, 40), rng.random(40) < 0.4
        area, _ = roc_area(score, positive)
        wins = mannwhitneyu(score[positive], score[~positive]).statistic
        assert area == pytest.approx(wins / (positive.sum() * (~positive).sum()))
        points = np.array(roc_points(score, positive))
        assert area == pytest.approx(np.trapezoid(points[:, 1], points[:, 0]))
        np.testing.assert_array_equal(points[[0, -1]], [[0, 0], [1, 1]])
    assert roc_points(np.arange(3), np.ones(3, bool)) is None
    assert roc_area(np.arange(3), np.array([True, False, False])) is None


def test_kappas_as_published():
    assert fleiss_kappa(FOURTEEN_RATERS) == pytest.approx(0.210, abs=5e-4)
    kappa, (low, high) = cohens_kappa([[20, 5], [10, 15]])
    assert kappa == pytest.approx(0.4)
    assert low < 0.4 < high


def test_kappas_where_they_are_undefined_or_at_their_ends():
    assert cohens_kappa([[0, 0], [0, 0]]) is None
    assert cohens_kappa([[9, 0], [0, 0]]) is None
    assert cohens_kappa([[0, 0], [0, 9]]) is None
    assert cohens_kappa([[9, 0], [0, 3]]) == (pytest.approx(1), None)
    assert cohens_kappa([[0, 9], [0, 0]]) == (pytest.approx(0), None)
    assert cohens_kappa([[1, 2], [3, 1]])[1] is None
    assert fleiss_kappa([[3, 0], [3, 0]]) is None
    assert fleiss_kappa([[1, 0], [0, 1]]) is None
    assert fleiss_kappa(np.zeros((0, 2), int)) is None
    assert fleiss_kappa([[3, 0], [0, 3]]) == pytest.approx(1)


def test_numbers_by_hand():
    key = dict(enumerate([REAL, REAL, SYNTHETIC, SYNTHETIC] * 2, 1))
    says = [REAL, SYNTHETIC, SYNTHETIC, SYNTHETIC, REAL, REAL, REAL, SYNTHETIC]
    sure = [5, 1, 2, 3, 4, 4, 1, 5]
    answers = [answer("R1", n, s, c, float(n)) for n, s, c in zip(key, says, sure, strict=True)]
    found = analyse(key, answers)["readers"]["R1"]
    assert (found["answers"], found["complete"]) == (8, True)
    assert [found[name]["share"] for name in ("accuracy", "sensitivity", "specificity")] == [
        0.75
    ] * 3
    assert found["accuracy"]["interval_95"] == wilson_interval(6, 8)
    assert found["sensitivity"] == {"share": 0.75, "of": 4, "interval_95": None}
    # Scores of real slices -5, 1, -4, -4, of synthetic ones 2, 3, -1, 5: one pair of 16 is wrong.
    assert found["auc"]["area"] == pytest.approx(15 / 16)
    assert found["guessing"] == pytest.approx(2 * (1 + 8 + 28) / 256)
    assert found["seconds"] == {"median": 4.5, "quartiles": [2.75, 6.25]}


def test_a_guesser_is_found_to_guess_and_a_good_reader_not():
    key = make_key(100)
    guesser, good = simulate(key, 0.5), simulate(key, 0.8, "R2")
    readers = analyse(key, guesser, good)["readers"]
    assert covers(readers["R1"]["accuracy"], 0.5)
    assert covers(readers["R1"]["auc"], 0.5)
    assert readers["R1"]["guessing"] > 0.05
    for name in ("accuracy", "sensitivity", "specificity"):
        assert covers(readers["R2"][name], 0.8)
    assert readers["R2"]["auc"]["interval_95"][0] > 0.5
    assert readers["R2"]["guessing"] < 0.001


def test_guessers_are_called_otherwise_no_oftener_than_the_test_says():
    key = make_key(60)
    found = [analyse(key, simulate(key, 0.5, seed=seed))["readers"]["R1"] for seed in range(200)]
    assert np.mean([reader["guessing"] < 0.05 for reader in found]) <= 0.06
    assert np.mean([covers(reader["accuracy"], 0.5) for reader in found]) > 0.9
    assert np.mean([covers(reader["auc"], 0.5) for reader in found]) > 0.9


def test_a_perfect_reader_is_not_taken_for_certain():
    key = make_key(40)
    sure = [answer("R1", number, truth, 5) for number, truth in key.items()]
    found = analyse(key, sure)
    reader = found["readers"]["R1"]
    assert reader["accuracy"]["share"] == 1
    assert reader["accuracy"]["interval_95"][0] == pytest.approx(40 / (40 + 1.96**2), abs=1e-3)
    assert reader["auc"] == {"area": 1.0, "standard_error": None, "interval_95": None}
    # Nor are two, who answer alike: together they know no more than one.
    both = analyse(key, sure, [a._replace(reader="R2") for a in sure])
    assert both["pooled"]["accuracy"]["interval_95"] == reader["accuracy"]["interval_95"]
    assert both["pooled"]["auc"]["interval_95"] is None
    assert both["agreement"]["pairs"][0]["kappa"] == pytest.approx(1)
    assert both["agreement"]["fleiss"] == {"slices": 40, "kappa": pytest.approx(1)}


def test_a_reader_who_calls_all_the_same():
    key = make_key(20)
    answers = [answer("R1", number, REAL, 3) for number in key]
    found = analyse(key, answers, [a._replace(reader="R2") for a in answers])
    assert found["readers"]["R1"]["sensitivity"]["share"] == 0
    assert found["readers"]["R1"]["auc"]["area"] == 0.5
    assert found["agreement"]["pairs"][0] == {
        **{"readers": ["R1", "R2"], "slices": 20, "alike": 1.0},
        **{"kappa": None, "interval_95": None},
    }
    assert found["agreement"]["fleiss"] == {"slices": 20, "kappa": None}


def test_readers_who_see_the_same_are_no_more_evidence_than_one():
    key = make_key(60)
    one = simulate(key, 0.65, seed=3)
    copies = [[a._replace(reader=f"R{n}") for a in one] for n in range(5)]
    low, high = analyse(key, one)["pooled"]["accuracy"]["interval_95"]
    low_5, high_5 = analyse(key, *copies)["pooled"]["accuracy"]["interval_95"]
    assert high_5 - low_5 == pytest.approx(high - low, rel=0.15)
    assert wilson_interval(5 * 39, 300)[1] - wilson_interval(5 * 39, 300)[0] < 0.6 * (high - low)


def test_the_interval_of_readers_together_covers_the_truth(monkeypatch):
    """Slices are hard or easy for all; Wilson's interval of all answers covers it too seldom."""
    monkeypatch.setattr(analysis_module, "_RESAMPLES", 500)
    key, covered, wilson, areas = make_key(60), [], [], []
    truth = 0.6
    for seed in range(60):
        hardness = np.random.default_rng(seed).choice([-0.35, 0.35], len(key))
        readers = [
            simulate(key, truth, f"R{n}", seed=100 * seed + n, hardness=hardness) for n in range(5)
        ]
        pooled = analyse(key, *readers)["pooled"]
        areas.append(pooled["auc"])
        covered.append(covers(pooled["accuracy"], truth))
        right = round(pooled["accuracy"]["share"] * 300)
        low, high = wilson_interval(right, 300)
        wilson.append(low <= truth <= high)
    assert np.mean(covered) > 0.88
    assert np.mean(wilson) < np.mean(covered)
    area = np.mean([found["area"] for found in areas])
    assert np.mean([covers(found, area) for found in areas]) > 0.88


def test_the_bootstrap_is_a_function_of_its_seed():
    key = make_key(40)
    answers = simulate(key, 0.6) + simulate(key, 0.6, "R2", seed=1)
    study = make_study(40)
    assert analyse_study(study, key, answers) == analyse_study(study, key, answers)
    assert analyse_study(study, key, answers) != analyse_study(study, key, answers, seed=1)


def test_a_reader_who_stopped_is_analysed_by_what_there_is():
    key = make_key(40)
    few = simulate(key, 0.7)[:7]
    some = simulate(key, 0.7, "R2", seed=1)[:20]
    analysis = analyse(key, few, some)
    first, second = analysis["readers"].values()
    assert (first["answers"], first["complete"]) == (7, False)
    assert first["accuracy"]["interval_95"] is first["auc"]["interval_95"] is None
    assert (second["answers"], second["complete"]) == (20, False)
    assert second["accuracy"]["interval_95"] is not None
    assert analysis["pooled"]["slices"] == 20
    assert analysis["agreement"]["pairs"][0]["slices"] == 7
    text = " ".join(describe_findings(analyse(key, few)))
    assert "Fewer than 8 answers decide nothing" in text


@pytest.mark.parametrize("kind", [REAL, SYNTHETIC])
@pytest.mark.parametrize("readers", [1, 2])
def test_answers_to_slices_of_one_kind_leave_the_rest_undefined(tmp_path, kind, readers):
    key = make_key(40)
    mine = {number: truth for number, truth in key.items() if truth == kind}
    answers = [simulate(mine, 0.7, f"R{n}", seed=n) for n in range(readers)]
    analysis = analyse(key, *answers)
    missing = "sensitivity" if kind == REAL else "specificity"
    assert analysis["pooled"][missing] == {"share": None, "of": 0, "interval_95": None}
    assert analysis["pooled"]["auc"]["area"] is analysis["pooled"]["roc"] is None
    assert analysis["pooled"]["accuracy"]["interval_95"] is not None
    write_study_report(tmp_path, analysis)


def test_an_analysis_is_json(tmp_path):
    key = make_key(40)
    analysis = analyse(key, simulate(key, 0.5), simulate(key, 0.5, "R2", seed=1)[:3])
    write_study_report(tmp_path, analysis)
    assert json.loads((tmp_path / ANALYSIS_FILE).read_text()) == analysis
    assert json.loads(json.dumps(analysis, allow_nan=False)) == analysis


def test_nothing_to_analyse_is_told(monkeypatch):
    with pytest.raises(UserError, match="Nobody answered anything"):
        analyse(make_key(10))
    monkeypatch.setitem(__import__("sys").modules, "statsmodels.stats.inter_rater", None)
    with pytest.raises(UserError, match="pip install statsmodels"):
        analyse(make_key(10), simulate(make_key(10), 0.5))


def test_the_verdict_says_no_more_than_the_interval():
    key = make_key(60)

    def verdict(*readers):
        first, second, *_ = describe_findings(analyse(key, *readers))
        return first, second

    first, second = verdict(simulate(key, 0.9))
    assert re.fullmatch(
        r"The reader told real from synthetic in \d+ % \(95 % interval \d+ to \d+ %\) of cases; "
        r"guessing gives 50 %\.",
        first,
    )
    assert second.startswith("That is better than guessing: something tells these slices apart")
    assert verdict(simulate(key, 0.1))[1].startswith("That is worse than guessing")
    found = verdict(simulate(key, 0.5), simulate(key, 0.5, "R2", seed=1))
    assert found[0].startswith("Readers told")
    assert found[1].startswith("Whether that is guessing is not decided")
    assert "do not show that real and synthetic slices can't be told apart" in found[1]


def test_a_share_beside_one_half_does_not_look_like_it():
    key = make_key(1000)
    answers = [
        answer("R1", number, truth if place < 504 else {REAL: SYNTHETIC, SYNTHETIC: REAL}[truth])
        for place, (number, truth) in enumerate(key.items())
    ]
    assert "in 50.4 % (95" in describe_findings(analyse(key, answers))[0]


NAMES = (
    "<script>alert(1)</script>",
    "{{ 7 * 7 }}",
    "$\\frac$",
    "_hidden",
    "\N{CJK UNIFIED IDEOGRAPH-5C71}",
    "N" * 100,
)


def test_the_page_needs_nothing_beside_it_and_names_harm_nothing(tmp_path):
    key = make_key(30)
    readers = [simulate(key, 0.6, name, seed=n) for n, name in enumerate(NAMES)]
    readers[1] = readers[1][:11]
    write_study_report(tmp_path, analyse(key, *readers))
    assert sorted(path.name for path in tmp_path.iterdir()) == [REPORT_FILE, ANALYSIS_FILE]
    page = (tmp_path / REPORT_FILE).read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "{{ 7 * 7 }} answered 11 of 30 slices" in page
    assert page.count("<img") == page.count('src="data:image/png;base64,') == 3
    assert "http" not in page
    assert all(name in page for name in NAMES[1:])
