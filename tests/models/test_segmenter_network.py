import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainsynth_jax.errors import UserError
from brainsynth_jax.models import segmenter
from brainsynth_jax.models.segmenter import Segmenter, check_image_size
from brainsynth_jax.training.initialisation import initialise

SMALL = Segmenter(width=4, depth=2)


def noise(count=2, side=32):
    return np.random.default_rng(0).uniform(-1, 1, (count, side, side, 1)).astype(np.float32)


def first_params(network=SMALL, side=32):
    return initialise(network, jax.random.key(0), noise(1, side))


def parameter_count(network):
    params = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 128, 128, 1)))
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def test_the_number_of_parameters():
    """3x3 kernels, no bias but that of the last layer, which makes four pixels."""
    down = 9 * (1 + 16) * 16 + 9 * (16 + 32) * 32 + 9 * (32 + 64) * 64 + 9 * (64 + 128) * 128
    up = sum(9 * (2 * width + 2 * width) * width for width in (64, 32, 16))
    last = 9 * 16 * 4 + 1
    assert parameter_count(Segmenter(width=16, depth=4)) == down + up + last == 486_865


def test_there_is_a_logit_for_each_pixel():
    logits = jax.jit(SMALL.apply)(first_params(), noise(2, 40))
    assert logits.shape == (2, 40, 40, 1)
    assert logits.dtype == jnp.float32
    assert logits.min() < 0 < logits.max()


def test_images_are_taken_one_by_one():
    apply, params = jax.jit(SMALL.apply), first_params()
    np.testing.assert_allclose(apply(params, noise()[1:]), apply(params, noise())[1:], atol=1e-5)


@pytest.mark.parametrize(("depth", "reach"), [(1, 11), (3, 67)])
def test_each_halving_lets_a_pixel_see_further(monkeypatch, depth, reach):
    monkeypatch.setattr(segmenter, "group_norm", lambda x: x)  # it sees the whole image
    network = Segmenter(width=2, depth=depth)
    params = first_params(network, 96)

    @jax.jit
    @jax.grad
    def slope(image):
        return network.apply(params, image)[0, 48, 48, 0]

    rows, columns = np.nonzero(np.asarray(slope(noise(1, 96)))[0, :, :, 0])
    assert np.ptp(rows) + 1 == np.ptp(columns) + 1 == reach


def test_bfloat16_computes_close_to_float32_with_float32_parameters():
    params = first_params()
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    rough = jax.jit(SMALL.clone(dtype=jnp.bfloat16).apply)(params, noise())
    exact = jax.jit(SMALL.apply)(params, noise())
    assert rough.dtype == jnp.float32
    assert 0 < np.abs(rough - exact).max() < 0.1 * np.abs(exact).max()


@pytest.mark.parametrize(("size", "depth"), [(120, 4), (16, 4), (0, 4), (34, 2)])
def test_sizes_that_cannot_be_halved_are_refused(size, depth):
    with pytest.raises(UserError, match=f"--image_size={size}: .* {depth} times"):
        check_image_size(size, depth)


def test_sizes_that_can_be_halved_pass():
    check_image_size(96, depth=4)
    check_image_size(240, depth=4)
    check_image_size(40, depth=2)
