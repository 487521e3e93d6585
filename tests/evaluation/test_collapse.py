"""When a run is called bad, and why."""

import re

import pytest

from brainsynth_jax.evaluation.collapse import PATIENCE_EPOCHS, find_collapse

GOOD = {
    "kid": 2.0,
    "kid_real": 1.0,
    "ms_ssim_samples": 0.5,
    "ms_ssim_real": 0.45,
    "nearest_ratio": 1.1,
    "critic_gap_train": 2.0,
    "critic_gap_test": 1.8,
}


def records(*epochs):
    """One record an epoch, with steps logged between that have no such numbers."""
    found = []
    for number, changed in enumerate(epochs, start=1):
        found.append({"step": 10 * number - 5, "epoch": number, "Gen": 0.1})
        found.append({"step": 10 * number, "epoch": number} | GOOD | changed)
    return found


def test_a_run_that_gets_better_has_not_collapsed():
    assert (
        find_collapse(
            records(*({"kid": 50 / n, "ms_ssim_samples": 0.9 - 0.04 * n} for n in range(1, 10)))
        )
        is None
    )
    assert find_collapse([]) is None


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"ms_ssim_samples": 0.8}, "alike, MS-SSIM 0.80 .* 0.45 .*mode collapse"),
        ({"nearest_ratio": 0.25}, "at 0.25 of the distance .* copies"),
        ({"kid": 5.5}, "kernel distance 5.5 after 2 at step 10"),
        ({"kid": 5.5, "critic_gap_test": 0.3}, "by heart: .* 2.00, held-out ones by 0.30"),
    ],
    ids=["alike", "copies", "far", "by heart"],
)
def test_three_bad_epochs_in_a_row_are_a_collapse(bad, words):
    epochs = [{}, bad, bad, {}, bad, bad, bad, {}, bad, bad, bad]
    collapse = find_collapse(records(*epochs))
    assert (collapse.epoch, collapse.step) == (7, 70)
    assert re.search(words, collapse.reason), collapse.reason
    assert find_collapse(records(*epochs[: 3 + PATIENCE_EPOCHS])) is None


def test_what_was_never_varied_has_not_become_alike():
    """Every run begins with samples that are all the same."""
    assert find_collapse(records(*[{"ms_ssim_samples": 0.95, "kid": 50.0}] * 6)) is None


def test_a_distance_within_that_of_held_out_slices_is_no_collapse():
    assert find_collapse(records({}, *[{"kid": 4.9}] * 5)) is None
    assert find_collapse(records({"kid": -0.1}, *[{"kid": 0.9}] * 5)) is None
    assert find_collapse(records({"kid": -0.1}, *[{"kid": 0.9, "kid_real": 0.0}] * 5)) is None
    assert find_collapse(records(*[{"nearest_ratio": 0.0}] * 3)), "nothing is divided by 0"


def test_without_held_out_slices_the_rest_still_counts():
    none_held_out = ("kid_real", "nearest_ratio", "critic_gap_test")
    found = records({}, *[{"kid": 5.5}] * 3)
    for record in found:
        for name in none_held_out:
            record.pop(name, None)
    assert find_collapse(found).epoch == 4
