import re

import numpy as np
from PIL import Image

from brainsynth_jax.evaluation.utility import Training, list_arms, main_share, summarize_trainings
from brainsynth_jax.evaluation.utility_report import describe_comparison, write_utility_report
from brainsynth_jax.plots import save_dice_curves

MIXED = "real + 50% synthetic"


def results(gain=0.05, people=("Ann", "Bob", "Cid"), counts=(3, 12)):
    trainings = [
        Training(arm, count, 0, {name: 0.5 + shift + 0.1 * k for k, name in enumerate(people)})
        for arm, shift in (("real", 0.0), (MIXED, gain))
        for count in counts
    ]
    thresholds = {counts[0]: dict.fromkeys(people, 0.25)}
    summary = summarize_trainings(trainings, thresholds, list_arms([0.5]), main_share([0.5]))
    return summary | {"held_out": len(people)}


def sentence(**changes):
    found = results(**changes)
    return describe_comparison(found["comparisons"][0], found["held_out"])


def test_the_sentence_says_what_the_interval_carries():
    assert sentence() == (
        "Training on “real + 50% synthetic” in place of “real” helps: with 3 and 12 annotated "
        "subjects, Dice on 3 held-out subjects, on average over these numbers, goes from 0.600 to "
        "0.650, by +0.050 (95 % interval of the difference +0.050 to +0.050)."
    )
    harm = sentence(gain=-0.05)
    assert "” harms: " in harm
    assert "by \N{MINUS SIGN}0.050" in harm
    assert "makes no difference: " in sentence(gain=0.0)
    alone = sentence(people=("Ann",), counts=(1,))
    assert alone.startswith("Whether training on")
    assert "with 1 annotated subject, Dice on 1 held-out subject goes" in alone
    assert "(no interval: one held-out subject is too few)" in alone


def write(tmp_path, found):
    plot = tmp_path / "plot.png"
    save_dice_curves(plot, {"real": [(3, 0.5, [0.4, 0.6])]})
    write_utility_report(
        tmp_path / "utility.html", found, {"seed": 0}, plot, [("Pairs", "Six.", plot)], ["A note."]
    )
    return re.sub(r"\s+", " ", (tmp_path / "utility.html").read_text())


def test_the_page_shows_sentence_table_threshold_and_notes(tmp_path):
    page = write(tmp_path, results())
    assert "0.650" in page
    assert "+0.050 <span" in page
    assert "helps</span>" in page
    assert "0.250" in page
    assert "A note." in page
    assert "<script" not in page


def test_the_page_stands_without_anything_to_compare(tmp_path):
    found = results(people=("Ann",), counts=(3,))
    found["rows"] = found["rows"][:1]
    found["comparisons"] = []
    assert "Nothing can be compared yet." in write(tmp_path, found)


def test_the_plot_has_a_mark_for_each_point(tmp_path):
    path = tmp_path / "plot.png"
    save_dice_curves(
        path, {"real": [(3, 0.2, None), (12, 0.8, [0.7, 0.9])], "mixed": [(3, 0.5, None)]}, ["real"]
    )
    image = np.asarray(Image.open(path).convert("RGB")).astype(int)
    blue = np.abs(image - [0, 114, 178]).sum(-1) < 20
    low, high = np.nonzero(blue.any(axis=0))[0][[0, -1]]
    assert high - low > image.shape[1] / 2, "from the first number of subjects to the last"
