import pytest

from brainsynth_jax.data.split import split_last_patients, split_patients
from brainsynth_jax.errors import UserError

NAMES = [f"BraTS20_{k:03d}" for k in range(15)]


@pytest.mark.parametrize(
    ("count", "fraction", "expected"),
    [(15, 0.2, 3), (15, 0.5, 8), (2, 0.01, 1), (2, 0.99, 1), (7, 0.3, 2), (3, 0.999, 2)],
)
def test_the_numbers_are_exact(count, fraction, expected):
    train, test = split_patients(NAMES[:count], fraction, seed=3)
    assert len(test) == expected
    assert sorted(train + test) == NAMES[:count]


def test_order_and_repetition_play_no_part():
    assert split_patients(NAMES, 0.2, 1) == split_patients(NAMES[::-1] + NAMES[:4], 0.2, 1)


def test_the_seed_decides():
    assert len({split_patients(NAMES, 0.2, seed)[1] for seed in range(10)}) > 5


def test_a_patient_more_hardly_moves_the_others():
    before = set(split_patients(NAMES, 0.2, 0)[1])
    after = set(split_patients([*NAMES, "new"], 0.2, 0)[1])
    assert len(after - {"new"} - before) <= 1


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5])
def test_a_fraction_out_of_range_is_refused(fraction):
    with pytest.raises(UserError, match=f"--test_fraction={fraction}: .*more than 0"):
        split_patients(NAMES, fraction, 0)


def test_too_few_patients_are_refused():
    with pytest.raises(UserError, match=r"1 usable patient \(ann\)"):
        split_patients(["ann", "ann"], 0.2, 0)
    with pytest.raises(UserError, match="0 usable patients, but"):
        split_patients([], 0.2, 0)


def test_the_last_in_name_order_are_held_out():
    train, test = split_last_patients(NAMES[::-1] + NAMES[:3], 4)
    assert train == tuple(NAMES[:11])
    assert test == tuple(NAMES[11:])
    assert split_last_patients(NAMES, 0) == (tuple(NAMES), ())


@pytest.mark.parametrize("count", [15, 16])
def test_somebody_has_to_be_left_to_train_on(count):
    with pytest.raises(UserError, match=f"--test_subjects={count}: of 15 usable patients"):
        split_last_patients(NAMES, count)
