import numpy as np
import pytest
from made_up import (
    make_copies,
    make_distance,
    make_diversity,
    make_overlap,
    make_samples,
    make_similarity,
    make_spread,
)

from brainsynth_jax.evaluation import samples_numbers
from brainsynth_jax.evaluation.samples_numbers import show_numbers


def rows(**changes):
    return {row.name: row for row in show_numbers(make_samples(**changes)).rows}


def test_each_number_stands_beside_its_real_one():
    table = rows(frechet_extrapolated=make_distance(31.0, None, 12.0, (9.0, 15.0)))
    kid = table["Kernel distance (KID)"]
    assert tuple(kid.made) == ("0.52", "0.41 to 0.64", "500 and 72 slices")
    assert tuple(kid.real) == ("0.11", "0.05 to 0.22", "390 and 72 slices")
    assert kid.ratio == "4.73"
    extrapolated = table["Fréchet distance, extrapolated to infinitely many slices"]
    assert (extrapolated.made.value, extrapolated.made.interval) == ("31", "")
    assert (extrapolated.real.value, extrapolated.ratio) == ("12", "2.58")
    for name in ("Precision", "Recall", "Coverage"):
        assert tuple(table[name].made) == ("60.0 %", "55.0 % to 65.0 %", "70 slices a side")
        assert tuple(table[name].real) == ("70.0 %", "50.0 % to 80.0 %", "70 slices a side")
    assert tuple(table["Density"].made) == ("0.6", "0.55 to 0.65", "70 slices a side")
    pairs = table["MS-SSIM of pairs"]
    assert tuple(pairs.real) == ("0.405", "0.36 to 0.45", "400 pairs of 390 slices")
    assert pairs.ratio == "1.11"
    vendi = table["Vendi score"]
    assert (vendi.made.value, vendi.real.value, vendi.ratio) == ("90", "100", "0.9")
    assert vendi.good == "1; half of the subjects by the other: 0.8 to 1.25"
    drawn = table["Training subjects drawn on"]
    assert tuple(drawn.made) == ("8.5", "", "72 slices")
    assert tuple(drawn.real) == ("6.2", "", "72 slices of 3 subjects")
    grid = table["Grid energy"]
    assert (grid.made.value, grid.real.value, grid.ratio) == ("1.31", "1.05", "1.25")
    assert show_numbers(make_samples()).space["fingerprint"] == "0a1b2c3d4e5f"
    assert all(row.good for row in table.values())


def test_both_spaces_of_copies_stand_in_the_table():
    table = rows(copies=make_copies(np.repeat([0.01, 0.09, 0.19], [50, 100, 350])))
    for name, near, suspicious in (("pixels", "0.101", "0.0606"), ("features", "1.01", "0.606")):
        row = table[f"Near by {name}"]
        assert row.meaning.startswith(f"samples nearer than {near} to a training slice")
        assert (row.made.value, row.real.value) == ("30.0 %", "")
        row = table[f"Suspiciously near by {name}"]
        assert row.meaning.startswith(f"samples nearer than {suspicious} to a training slice")
        assert row.made.value == "10.0 %"
    median = table["Distance to the nearest training slice by features, median"]
    assert (median.made.value, median.real.value, median.ratio) == ("1.9", "1.5", "1.27")
    assert (table["Authentic"].made.value, table["Authentic"].real.value) == ("70.0 %", "50.0 %")


NOTHING = make_distance(None, None, None, None)


@pytest.mark.parametrize(
    ("changes", "gone", "reason"),
    [
        ({}, "Fréchet distance, extra", "slices: it needs 512 slices a side, and here are 500"),
        ({"kid": NOTHING}, "Kernel", "Kernel distance (KID): it needs 8 slices a side, and here"),
        (
            {"overlap": make_overlap(None, None, None)},
            "Precision",
            "Precision, recall, coverage and density: they need 50 slices a side, and here are 500 "
            "and 72.",
        ),
        ({"ms_ssim": make_similarity(None)}, "MS-SSIM", "Similarity of pairs: it needs two"),
        (
            {"diversity": make_diversity(None, None)},
            "Vendi",
            "Vendi score: it needs 8 samples and as many training slices that differ, and here are "
            "500 and 390.",
        ),
        (
            {"subject_spread": make_spread(None, None)},
            "Training subjects",
            "Training subjects drawn on: it needs 8 samples and 2 training subjects, and here are "
            "500 and 15.",
        ),
        ({"copies": None}, "Distance to the nearest", ""),  # of which the answers tell
        ({"copies": make_copies(np.ones(3))}, "Authentic", ""),
        ({"grid_energy": None}, "Grid", ""),
    ],
)
def test_what_is_none_is_left_out_and_the_reason_is_said(changes, gone, reason):
    numbers = show_numbers(make_samples(**changes))
    assert not any(row.name.startswith(gone) for row in numbers.rows)
    assert reason in " ".join(numbers.left_out)
    assert len(numbers.left_out) == (1 if not changes or not reason else 2)
    assert (
        "Kernel distance (KID): left is nearer" in [strip.title for strip in numbers.strips]
    ) == (gone != "Kernel")


@pytest.mark.parametrize(
    ("changes", "name", "reason"),
    [
        (
            {"kid": make_distance(floor=None, floor_range=None) | {"floor_images": None}},
            "Kernel distance (KID)",
            "Kernel distance (KID) between real slices: it needs 8 slices a side, of different",
        ),
        (
            {"overlap": make_overlap(real=None)},
            "Recall",
            "Precision and the like between real slices: they need 50 slices a side, of different",
        ),
        (
            {"subject_spread": make_spread(9.1, None)},
            "Training subjects drawn on",
            "Training subjects that held-out slices fall on: it needs 8 held-out slices.",
        ),
    ],
)
def test_a_number_without_its_real_one_stands_alone_and_the_reason_is_said(changes, name, reason):
    numbers = show_numbers(make_samples(**changes))
    (row,) = (row for row in numbers.rows if row.name == name)
    assert row.made.value
    assert (row.real.value, row.ratio) == ("", "")
    assert reason in " ".join(numbers.left_out)


def test_marks_lie_within_their_axis():
    pairs = ((0.52, [0.41, 0.64]), (0.01, [-0.1, 0.22]))
    strip = samples_numbers._strip("", *pairs)
    (_, _, ours, interval), (_, _, real, real_interval) = strip.lanes
    assert 0 == real_interval[0] < real < real_interval[1] < interval[0] < ours < interval[1] <= 1
    assert [label for _, label in strip.ticks] == ["0", "0.325", "0.65"]
    assert strip.ticks[0][0] == pytest.approx(0.1 / 0.75)
    assert samples_numbers._strip("", (-0.1, None), (-0.2, None)).lanes[1][2] == 0
