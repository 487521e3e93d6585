"""Who trains and who tests, by patient and never by slice."""

import hashlib
from collections.abc import Sequence

from brainsynth_jax.errors import UserError


def split_patients(
    patients: Sequence[str], test_fraction: float, seed: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Divides patients into train and test by a hash of seed and name.

    The order of `patients` plays no part, and the numbers are exact: `test_fraction` of the
    patients, rounded, but at least one on either side.

    Args:
      patients: names; a name that comes twice counts once.
      test_fraction: more than 0, less than 1.
      seed: any integer.

    Returns:
      The names for training and those for testing, each sorted.

    Raises:
      UserError: a fraction out of range, or fewer than two patients.
    """
    if not 0 < test_fraction < 1:
        raise UserError(
            f"--test_fraction={test_fraction}: has to be more than 0 and less than 1, 0.2 say."
        )
    names = sorted(set(patients))
    if len(names) < 2:
        raise UserError(
            f"--data_dir: {_usable(names)}, but train and test need at least one "
            "each: add patients (2-D pictures are named PATIENT_number, to tell them apart)."
        )
    ranked = sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    test_count = min(max(round(len(names) * test_fraction), 1), len(names) - 1)
    return tuple(sorted(ranked[test_count:])), tuple(sorted(ranked[:test_count]))


def split_last_patients(
    patients: Sequence[str], test_count: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Keeps the last `test_count` patients in name order for testing.

    Args:
      patients: names; a name that comes twice counts once.
      test_count: 0 keeps none.

    Returns:
      The names for training and those for testing, each sorted.

    Raises:
      UserError: nobody is left to train on.
    """
    names = sorted(set(patients))
    train_count = len(names) - test_count
    if train_count < 1:
        raise UserError(
            f"--test_subjects={test_count}: of {_usable(names)}, none is left to train on. "
            "Hold out fewer; 0 holds out none."
        )
    return tuple(names[:train_count]), tuple(names[train_count:])


def _usable(names: Sequence[str]) -> str:
    named = f" ({names[0]})" if len(names) == 1 else ""
    return f"{len(names)} usable patient{'' if len(names) == 1 else 's'}{named}"
