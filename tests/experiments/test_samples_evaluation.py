"""Whose the pictures of a folder are."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments"))

from samples_evaluation import name_patients

from brainsynth_jax.evaluation.distances import UNKNOWN


def make_dataset(train, test, paired=False):
    """Of the names in trainA/ and in testA/; those of masks are the same."""
    domains = {}
    for domain, folder, names in (("train", "train", train), ("test", "test", test)):
        for side in "ab":
            pictures = np.array([f"{folder}{side.upper()}/{name}.png" for name in names], str)
            domains[f"{domain}_{side}"] = SimpleNamespace(subjects=pictures)
    return SimpleNamespace(**domains, paired=paired)


def test_patients_are_told_by_the_names_of_pictures():
    found = name_patients(make_dataset(["ann_1", "ann_2", "bob/7"], ["cid-3"]))
    assert len(found) == 8
    assert [found[f"trainA/{name}.png"] for name in ("ann_1", "ann_2", "bob/7")] == [
        "ann",
        "ann",
        "bob",
    ]
    assert found["testB/cid-3.png"] == "cid"


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (["1", "2"], ["3"]),
        (["ann_1", "bob_1"], ["3"]),  # one that does not tell
        (["img_1", "img_2"], ["test_1"]),  # no patients' names
    ],
)
def test_where_a_name_does_not_tell_all_are_unknown(train, test):
    assert set(name_patients(make_dataset(train, test)).values()) == {UNKNOWN}


def test_subjects_of_scans_are_themselves():
    found = name_patients(make_dataset(["x_1", "x_2"], [], paired=True))
    assert all(name == patient for name, patient in found.items())
