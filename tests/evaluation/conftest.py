"""Slices of discs, real and fresh ones of the same kind, in one feature space."""

import pytest
from discs import discs

from brainsynth_jax.evaluation.features import pca_space
from brainsynth_jax.evaluation.samples import measure_reference


@pytest.fixture(scope="session")
def real():
    train, test = discs(0, 60, 6), discs(1, 30, 3)
    return measure_reference(train, test, pca_space(train.images, 16), seed=0)


@pytest.fixture(scope="session")
def fresh():
    return discs(2, 64, 6).images
