"""A slice is its number's and its seed's, whatever is drawn with it."""

import jax
import numpy as np
import pytest

from brainsynth_jax.models.dcgan import DcganDiscriminator, DcganGenerator
from brainsynth_jax.training.dcgan import Dcgan, create_dcgan_state
from brainsynth_jax.training.optimizer import make_adam, make_schedule
from brainsynth_jax.training.sampler import Sampler

ADAM = make_adam(make_schedule(2e-4, 1))
MODEL = Dcgan(
    DcganGenerator(image_size=64, width=2, channels=3, dropout_rate=0.5),
    DcganDiscriminator(width=1),
    ADAM,
    ADAM,
    latent_size=6,
    average_decay=0.9,
)


@pytest.fixture(scope="module")
def state():
    """Its averaged weights are others than its raw ones, as after training."""
    state = create_dcgan_state(MODEL, jax.random.key(0))
    other = create_dcgan_state(MODEL, jax.random.key(1))
    return state.replace(average=other.generator)


@pytest.fixture(scope="module")
def drawn(state):
    sampler = Sampler(MODEL)
    return sampler.draw(sampler.load(state), 3, 40)


def test_slices_are_grey_in_range_and_differ(drawn):
    assert drawn.shape == (40, 64, 64, 1)
    assert drawn.dtype == np.float32
    assert np.abs(drawn).max() <= 1
    assert len({image.tobytes() for image in drawn}) == 40


@pytest.mark.parametrize(
    ("images_a_call", "devices", "first", "count"),
    [(32, 1, 7, 3), (5, 1, 0, 40), (4, 2, 11, 9)],
    ids=["others beside it", "small batches", "two devices"],
)
def test_slice_k_is_the_same_however_it_is_drawn(
    state, drawn, images_a_call, devices, first, count
):
    sampler = Sampler(MODEL, devices=jax.devices()[:devices], images_a_call=images_a_call)
    told = []
    again = sampler.draw(sampler.load(state), 3, count, first, told.append)
    np.testing.assert_allclose(again, drawn[first : first + count], atol=1e-5)
    assert sum(told) == count


def test_another_seed_draws_others(state, drawn):
    sampler = Sampler(MODEL)
    other = sampler.draw(sampler.load(state), 4, 40)
    assert np.abs(other - drawn).mean() > 1e-4


def test_statistics_are_those_of_the_weights_that_draw(state):
    """The dense layer's norm sees a product of uniform latents, whose moments are known."""
    _, statistics = Sampler(MODEL).load(state)
    kernel = np.asarray(state.average["Dense_0"]["kernel"])
    norm = statistics["BatchNorm_0"]
    expected = (kernel**2).sum(axis=0) / 3  # uniform on (-1, 1) has variance 1/3
    assert np.corrcoef(norm["var"], expected)[0, 1] > 0.97
    assert np.mean(norm["var"]) == pytest.approx(expected.mean(), rel=0.05)
    assert np.abs(norm["mean"]).max() < 6 * np.sqrt(expected.max() / 256)


def test_the_averaged_weights_draw(state, drawn):
    averaged = state.replace(generator=state.average, average=None)
    sampler = Sampler(MODEL)
    np.testing.assert_array_equal(sampler.draw(sampler.load(averaged), 3, 4), drawn[:4])
    raw = sampler.draw(sampler.load(state.replace(average=None)), 3, 4)
    assert np.abs(raw - drawn[:4]).mean() > 1e-4


def test_dropout_can_stay_on(state, drawn):
    sampler = Sampler(MODEL, with_dropout=True)
    weights = sampler.load(state)
    dropped = sampler.draw(weights, 3, 6)
    assert np.abs(dropped - drawn[:6]).mean() > 1e-3
    np.testing.assert_allclose(sampler.draw(weights, 3, 2, 4), dropped[4:], atol=1e-5)
