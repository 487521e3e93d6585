"""Shapes, exact parameter counts, ranges and refusals of the CycleGAN's networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainsynth_jax.errors import UserError
from brainsynth_jax.models import patch, resnet, unet
from brainsynth_jax.models.patch import PatchDiscriminator
from brainsynth_jax.models.resnet import ResnetGenerator
from brainsynth_jax.models.unet import UnetGenerator


def parameter_count(model, size=256):
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, size, size, 1)))
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


# Published counts include a bias before each instance norm, which the norm subtracts again; it is
# left out here, one for each channel that is normed.
RESNET_NORMED = 64 + 128 + 256 + 9 * 2 * 256 + 128 + 64
UNET_NORMED = (128 + 256 + 4 * 512) + (4 * 512 + 256 + 128 + 64)
PATCH_NORMED = 128 + 256 + 512


@pytest.mark.parametrize(
    ("model", "exact", "normed", "published"),
    [
        (ResnetGenerator(), 11_360_385, RESNET_NORMED, 11_365_633),
        (UnetGenerator(), 54_398_529, UNET_NORMED, 54_403_457),
        (PatchDiscriminator(), 2_761_793, PATCH_NORMED, 2_762_689),
    ],
)
def test_parameter_counts_are_the_published_ones(model, exact, normed, published):
    assert parameter_count(model) == exact
    assert exact + normed == published


@pytest.mark.parametrize("upsample", ["deconv", "resize"])
@pytest.mark.parametrize(
    ("generator", "size"), [(UnetGenerator, 256), (ResnetGenerator, 32), (ResnetGenerator, 20)]
)
def test_generators_keep_the_size_and_stay_in_range(generator, size, upsample):
    model = generator(width=2, upsample=upsample)
    image = jax.random.uniform(jax.random.key(0), (2, size, size, 1), minval=-1.0)
    variables = model.init(jax.random.key(1), image)
    out = jax.jit(model.apply)(variables, image)
    assert out.shape == image.shape
    assert out.dtype == jnp.float32
    assert float(jnp.abs(out).max()) <= 1.0
    assert float(out.std()) > 0.0


@pytest.mark.parametrize(("generator", "size"), [(UnetGenerator, 256), (ResnetGenerator, 32)])
def test_an_unbounded_generator_gives_what_tanh_is_given(generator, size):
    image = jax.random.uniform(jax.random.key(0), (1, size, size, 1), minval=-1.0)
    model = generator(width=2)
    variables = model.init(jax.random.key(1), image)
    raw = model.clone(bounded=False).apply(variables, image)
    np.testing.assert_array_equal(model.apply(variables, image), jnp.tanh(raw))


def test_generators_take_images_one_by_one():
    """No layer mixes the images of a batch."""
    model = UnetGenerator(width=2)
    image = jax.random.uniform(jax.random.key(0), (2, 256, 256, 1), minval=-1.0)
    variables = model.init(jax.random.key(1), image)
    keys = jax.random.split(jax.random.key(2), 2)
    both = model.apply(variables, image, keys)
    second = model.apply(variables, image[1:], keys[1:])
    np.testing.assert_allclose(both[1:], second, atol=1e-5)
    assert not np.allclose(both, model.apply(variables, image))


def test_discriminator_scores_overlapping_patches_of_70_pixels(monkeypatch):
    monkeypatch.setattr(patch, "instance_norm", lambda x: x)  # it sees the whole image
    model = patch.PatchDiscriminator(width=2)
    image = jax.random.uniform(jax.random.key(0), (1, 256, 256, 1))
    variables = model.init(jax.random.key(1), image)
    scores = model.apply(variables, image)
    assert scores.shape == (1, 30, 30, 1)
    seen = jax.grad(lambda image: model.apply(variables, image)[0, 15, 15, 0])(image)[0, :, :, 0]
    rows, columns = np.nonzero(seen)
    assert np.ptp(rows) + 1 == np.ptp(columns) + 1 == 70


def test_bfloat16_computes_close_to_float32_with_float32_parameters():
    image = jax.random.uniform(jax.random.key(0), (1, 32, 32, 1), minval=-1.0)
    variables = ResnetGenerator(width=4, blocks=2).init(jax.random.key(1), image)
    model = ResnetGenerator(width=4, blocks=2, dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    rough = model.apply(variables, image)
    assert rough.dtype == jnp.float32
    exact = ResnetGenerator(width=4, blocks=2).apply(variables, image)
    np.testing.assert_allclose(rough, exact, atol=0.05)
    assert not np.array_equal(rough, exact)


@pytest.mark.parametrize("size", [128, 240, 257])
def test_sizes_that_the_unet_cannot_halve_are_refused(size):
    with pytest.raises(UserError, match=f"--image_size={size}.*256, 512"):
        unet.check_image_size(size)
    unet.check_image_size(512)


def test_sizes_that_the_resnet_cannot_halve_are_refused():
    with pytest.raises(UserError, match="--image_size=30"):
        resnet.check_image_size(30)
    resnet.check_image_size(240)
