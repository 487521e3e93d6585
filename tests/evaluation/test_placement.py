import json

import numpy as np
import pytest

from brainsynth_jax.data.masks import BRAIN, OEDEMA, is_tumor
from brainsynth_jax.evaluation.placement import (
    LabelledSlices,
    score_placement,
    standardise_slices,
)


def slices(count=8, seed=0, contrast=1.0, shift=0, subjects=("Ann", "Bob")):
    """Brains with a bright square; `shift` moves what is seen away from what the mask says."""
    rng = np.random.default_rng(seed)
    tissue = np.zeros((count, 40, 40), np.uint8)
    tissue[:, 4:36, 4:36] = BRAIN
    images = np.full((count, 40, 40, 1), -1.0, np.float32)
    images[:, 4:36, 4:36] = rng.normal(-0.3, 0.05, (count, 32, 32, 1))
    for image, one in zip(images, tissue, strict=True):
        row, column = rng.integers(6, 20, 2)
        one[row : row + 8, column : column + 8] = OEDEMA
        image[row + shift : row + shift + 8, column : column + 8] += contrast
    return LabelledSlices(images, tissue, [subjects[k % len(subjects)] for k in range(count)])


def score(**changes):
    return score_placement(slices(seed=1, **changes), slices(), slices(seed=2), 0)


def test_tumours_where_the_masks_say_are_found():
    found = score()
    assert found["synthetic"]["mean"] > 0.95
    assert found["real"]["mean"] > 0.95
    assert found["synthetic"]["subjects"] == 2
    json.dumps(found, allow_nan=False)


def test_tumours_that_are_not_drawn_or_lie_elsewhere_are_told():
    assert score(contrast=0.0)["synthetic"]["mean"] < 0.2
    moved = score(shift=4)["synthetic"]["mean"]
    assert moved == pytest.approx(0.5, abs=0.06), "half of each square overlaps"
    assert score(shift=8)["synthetic"]["mean"] < 0.1
    assert score(shift=8)["real"]["mean"] > 0.95


def test_brightness_as_a_whole_is_of_no_account():
    dim = slices(seed=1)
    dim = dim._replace(images=(dim.images + 1) * 0.6 - 1)
    found = score_placement(dim, slices(), slices(seed=2), 0)
    assert found["synthetic"]["mean"] == pytest.approx(score()["synthetic"]["mean"], abs=0.02)


def test_slices_without_a_tumour_do_not_count():
    empty = slices(seed=1)
    empty.tissue[::2][is_tumor(empty.tissue[::2])] = BRAIN  # all of Ann's
    assert score_placement(empty, slices(), slices(seed=2), 0)["synthetic"]["subjects"] == 1
    empty.tissue[is_tumor(empty.tissue)] = BRAIN
    nothing = score_placement(empty, slices(), slices(seed=2), 0)["synthetic"]
    assert nothing["mean"] is None


def test_a_slice_is_standardised_by_its_own_brain():
    images = np.array([[[0.1, 0.2, 0.3], [-1, -1, -1]], [[0.5] * 3] * 2, [[-1] * 3] * 2])
    found = standardise_slices(images)
    np.testing.assert_allclose(found[0, 0], np.array([-1, 0, 1]) / np.sqrt(2 / 3), rtol=1e-5)
    np.testing.assert_allclose(found[0, 1], -12 / np.sqrt(2 / 3), rtol=1e-5)
    assert not found[1:].any(), "constant, and without brain"
