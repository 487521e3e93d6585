"""A DCGAN's discriminator and what is watched, with sets whose answers are known."""

import jax
import numpy as np
import pytest
from discs import discs

from brainsynth_jax.evaluation.collapse import find_collapse
from brainsynth_jax.evaluation.dcgan import critic_gaps, make_judge, watch_samples
from brainsynth_jax.evaluation.features import pca_space
from brainsynth_jax.evaluation.samples import measure_reference
from brainsynth_jax.models.dcgan import DcganDiscriminator, DcganGenerator
from brainsynth_jax.training.dcgan import Dcgan, create_dcgan_state
from brainsynth_jax.training.optimizer import make_adam, make_schedule

GAPS = {"train": 1.0, "test": 0.5}


def test_the_watched_numbers_are_those_that_find_collapse_reads(real, fresh):
    good = watch_samples(fresh, GAPS, real, seed=0)
    alike = watch_samples(np.repeat(fresh[:1], 64, axis=0), GAPS, real, seed=0)
    assert all(np.isfinite(value) for value in good.values())
    assert good["nearest_ratio"] == pytest.approx(1, abs=0.3)
    epochs = [good, good, alike, alike, alike]
    records = [{"step": n, "epoch": n} | values for n, values in enumerate(epochs, start=1)]
    assert "mode collapse" in find_collapse(records).reason
    assert find_collapse(records[:4]) is None


def test_without_held_out_slices_what_needs_them_is_not_watched(fresh):
    train = discs(0, 60, 6)
    real = measure_reference(train, None, pca_space(train.images, 16), seed=0)
    watched = watch_samples(fresh, {"train": 1.0, "test": None}, real, seed=0)
    assert {"kid_test", "nearest_ratio", "critic_gap_test"}.isdisjoint(watched)
    assert find_collapse([{"step": 1, "epoch": 1} | watched] * 5) is None


def test_one_held_out_slice_gives_no_watched_distance(fresh):
    train, test = discs(0, 60, 6), discs(1, 1, 1)
    real = measure_reference(train, test, pca_space(train.images, 16), seed=0)
    watched = watch_samples(fresh, GAPS, real, seed=0)
    assert {"kid_test", "kid_real"}.isdisjoint(watched)


def test_held_out_slices_that_were_trained_on_give_no_ratio(fresh):
    train = discs(0, 60, 6)
    real = measure_reference(train, train, pca_space(train.images, 16), seed=0)
    watched = watch_samples(fresh, GAPS, real, seed=0)
    assert "nearest_ratio" not in watched


def test_gaps_are_differences_of_mean_scores(real, fresh):
    adam = make_adam(make_schedule(2e-4, 1))
    model = Dcgan(
        DcganGenerator(image_size=64, width=1, channels=3), DcganDiscriminator(width=1), adam, adam
    )
    state = create_dcgan_state(model, jax.random.key(0))
    judge = make_judge(model)
    gaps = critic_gaps(state, judge, fresh, real)
    variables = {"params": state.discriminator, "batch_stats": state.discriminator_statistics}
    means = [
        model.discriminator.apply(variables, np.repeat(images, 3, axis=-1)).mean()
        for images in (real.train.images, real.test.images, fresh)
    ]
    assert gaps["train"] == pytest.approx(float(means[0] - means[2]), abs=1e-6)
    assert gaps["test"] == pytest.approx(float(means[1] - means[2]), abs=1e-6)
