"""The page that sets trials side by side."""

import numpy as np
import pytest
from report_page import Page

from brainsynth_jax.evaluation.trials_report import TRIAL_COLUMNS, write_trials_report
from brainsynth_jax.plots import save_sample_grid


@pytest.fixture
def write(tmp_path):
    """write(trials, notes): the page of these trials."""

    def write(trials, notes=()):
        picture = tmp_path / "trials.png"
        save_sample_grid(picture, [[np.zeros((8, 8))]], [""])
        path = tmp_path / "trials.html"
        write_trials_report(path, trials, {"seed": 0}, picture, notes)
        return Page(path.read_text())

    return write


def numbers(**changed):
    return dict.fromkeys(TRIAL_COLUMNS, 1.5) | changed


def test_each_trial_has_its_row_and_the_nearest_is_named(write):
    page = write(
        {
            "paper": ("Tables I and II", "", numbers(kid=2.25)),
            "sgd": ("SGD for both", "--optimizer=sgd", numbers(kid=41.0, nearest_ratio=None)),
        },
        ["lsgan did not come to its end: not finite."],
    )
    assert "“paper” came nearest" in page.words
    for words in ("--optimizer=sgd", "2.25", "41", "SGD for both", "lsgan did not", "seed 0"):
        assert words in page.words
    assert "sgd SGD for both --optimizer=sgd" in page.words
    assert all(source.startswith("data:image/png") for source in page.sources)


def test_without_a_distance_nobody_is_nearest(write):
    page = write({"paper": ("Tables", "", numbers(kid=None))})
    assert "came nearest" not in page.words
    assert "Each was run once" in page.words
