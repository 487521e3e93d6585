"""The DCGAN's networks against Tables I and II, and what each option changes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from brainsynth_jax.errors import UserError
from brainsynth_jax.models.dcgan import (
    ACTIVATIONS,
    LAST_ACTIVATIONS,
    DcganDiscriminator,
    DcganGenerator,
    check_image_size,
)
from brainsynth_jax.training.initialisation import initialise

HASTE = {"xla_backend_optimization_level": 0}


def layer_shapes(model, example):
    """name -> shape of every layer's output, without the batch; nothing is computed."""

    def run(key, example):
        variables = model.init(key, example)
        capture = {"mutable": ["intermediates"], "capture_intermediates": True}
        return model.apply(variables, example, **capture)

    _, captured = jax.eval_shape(run, jax.random.key(0), example)
    leaves = jax.tree_util.tree_leaves_with_path(captured["intermediates"])
    return {path[0].key: leaf.shape[1:] for path, leaf in leaves}


def test_generator_has_the_output_shapes_of_table_1():
    shapes = layer_shapes(DcganGenerator(), jnp.zeros((2, 128)))
    assert shapes["Dense_0"] == (16384,)
    assert [shapes[f"Upsample_{k}"] for k in range(6)] == [
        (8, 8, 512),
        (16, 16, 256),
        (32, 32, 128),
        (64, 64, 64),
        (128, 128, 32),
        (256, 256, 3),
    ]
    assert shapes["Conv_0"] == shapes["__call__"] == (256, 256, 3)
    # Batch norm follows the dense layer and the first six up-samplings.
    assert sum(name.startswith("BatchNorm") for name in shapes) == 7
    assert shapes["BatchNorm_0"] == (16384,)


def test_discriminator_has_the_output_shapes_of_table_2():
    shapes = layer_shapes(DcganDiscriminator(), jnp.zeros((2, 256, 256, 3)))
    assert [shapes[f"Conv_{k}"] for k in range(9)] == [
        (128, 128, 32),
        (64, 64, 64),
        (32, 32, 128),
        (16, 16, 156),
        (16, 16, 156),
        (8, 8, 512),
        (8, 8, 512),
        (4, 4, 1024),
        (4, 4, 1024),
    ]
    assert shapes["Dense_0"] == (1,)
    assert shapes["__call__"] == ()
    # On every convolution but the first, and not on the dense layer.
    assert sum(name.startswith("BatchNorm") for name in shapes) == 8


def test_kernels_have_the_sizes_of_the_tables():
    generator = jax.eval_shape(DcganGenerator().init, jax.random.key(0), jnp.zeros((1, 128)))
    kernels = [generator["params"][f"Upsample_{k}"]["kernel"].shape[:2] for k in range(6)]
    assert kernels == 6 * [(4, 4)]
    assert generator["params"]["Conv_0"]["kernel"].shape == (3, 3, 3, 3)
    image = jnp.zeros((1, 256, 256, 3))
    critic = jax.eval_shape(DcganDiscriminator().init, jax.random.key(0), image)
    sizes = [critic["params"][f"Conv_{k}"]["kernel"].shape[0] for k in range(9)]
    assert sizes == [4, 4, 4, 4, 3, 4, 3, 4, 3]
    # The framework's own example has no learned scale in the discriminator's norms.
    assert set(critic["params"]["BatchNorm_0"]) == {"bias"}


def tiny_generator(**settings):
    return DcganGenerator(**{"image_size": 64, "width": 2, "channels": 1} | settings)


def tiny_discriminator(**settings):
    return DcganDiscriminator(**{"width": 2} | settings)


def init(model, example):
    return initialise(model, jax.random.key(1), example)


def apply(model, variables, *arguments, **settings):
    """Compiled as a whole and hastily: it is called once."""
    call = jax.jit(lambda v, *a: model.apply(v, *a, **settings), compiler_options=HASTE)
    return call(variables, *arguments)


LATENT = jax.random.uniform(jax.random.key(3), (3, 8), minval=-1.0)
IMAGE = jax.random.uniform(jax.random.key(4), (3, 64, 64, 1), minval=-1.0)
KEYS = jax.random.split(jax.random.key(5), 3)


def test_weights_start_from_a_normal_distribution_of_deviation_0_02():
    for model, example in ((tiny_generator(width=16), LATENT), (tiny_discriminator(), IMAGE)):
        params = init(model, example)["params"]
        leaves = jax.tree_util.tree_leaves_with_path(params)
        kernels = np.concatenate(
            [np.ravel(leaf) for path, leaf in leaves if path[-1].key == "kernel"]
        )
        assert kernels.std() == pytest.approx(0.02, rel=0.02)
        assert abs(kernels.mean()) < 5 * 0.02 / np.sqrt(kernels.size)


@pytest.mark.parametrize("size", [64, 128])
@pytest.mark.parametrize("upsample", ["deconv", "resize", "pixel_shuffle"])
@pytest.mark.parametrize("last_layer", [True, False])
def test_generators_of_every_form_draw_images_in_range(size, upsample, last_layer):
    model = tiny_generator(image_size=size, upsample=upsample, last_layer=last_layer, channels=3)
    variables = init(model, LATENT)
    image, _ = apply(model, variables, LATENT, KEYS, train=True, mutable=["batch_stats"])
    assert image.shape == (3, size, size, 3)
    assert float(jnp.abs(image).max()) <= 1.0
    assert float(image.std()) > 0.0
    assert ("Conv_0" in variables["params"]) == last_layer


def test_a_sigmoid_output_is_stretched_to_the_images_range():
    tanh, sigmoid = (tiny_generator(output=output) for output in ("tanh", "sigmoid"))
    variables = init(tanh, LATENT)
    expected = np.tanh(np.arctanh(np.asarray(apply(tanh, variables, LATENT), np.float64)) / 2)
    np.testing.assert_allclose(apply(sigmoid, variables, LATENT), expected, atol=1e-6)


def test_activations_of_the_hidden_layers_differ():
    plain = {"norm": "none", "last_activation": "relu"}
    both = ((tiny_generator, LATENT, {}), (tiny_discriminator, IMAGE, plain))
    for make, example, settings in both:
        variables = jax.tree.map(lambda x: 10 * x, init(make(**settings), example))
        outputs = [
            apply(make(**settings, activation=name), variables, example) for name in ACTIVATIONS
        ]
        assert np.isfinite(outputs).all()
        assert len({np.asarray(output).tobytes() for output in outputs}) == len(ACTIVATIONS)


def test_the_last_activation_bounds_the_score():
    """A sigmoid before the dense layer: no score beyond the sum of its weights."""
    for last in LAST_ACTIVATIONS:
        model = tiny_discriminator(last_activation=last, norm="none")
        variables = init(model, IMAGE)
        far = jax.tree.map(lambda x: 100 * x, variables["params"])
        far["Dense_0"] = variables["params"]["Dense_0"]
        scores = np.abs(apply(model, {"params": far}, 1e3 * IMAGE))
        bound = np.abs(far["Dense_0"]["kernel"]).sum()
        assert (scores.max() <= bound * 1.001) == (last in ("sigmoid", "tanh")), last


def test_dropout_and_noise_belong_to_an_image_and_are_off_without_keys():
    for model, example, off in (
        (tiny_generator(), LATENT, {"dropout_rate": 0.0}),
        (tiny_discriminator(), IMAGE, {"noise_std": 0.0}),
    ):
        variables = init(model, example)
        plain = apply(model, variables, example)
        noisy = apply(model, variables, example, KEYS)
        assert not np.allclose(plain, noisy)
        np.testing.assert_allclose(
            apply(model, variables, example[1:], KEYS[1:]), noisy[1:], atol=1e-5
        )
        np.testing.assert_array_equal(apply(model.clone(**off), variables, example, KEYS), plain)


def test_noise_is_added_to_the_image_and_before_each_activation():
    """With all kernels 0 only the noise of the last layer and its activation remain."""
    model = tiny_discriminator(norm="none", activation="relu", last_activation="elu")
    variables = jax.tree.map(jnp.zeros_like, init(model, IMAGE))
    variables["params"]["Dense_0"]["kernel"] += 1.0
    noise = jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, 9), (1, 1, 64)))(KEYS)
    expected = jax.nn.elu(0.2 * noise).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(apply(model, variables, IMAGE, KEYS), expected, rtol=1e-4)


def test_batch_norm_takes_the_batch_in_training_and_stored_statistics_else():
    model = tiny_generator(dropout_rate=0.0)
    variables = init(model, LATENT)
    _, moved = apply(model, variables, LATENT, train=True, mutable=["batch_stats"])
    kernel = variables["params"]["Dense_0"]["kernel"]
    mean = np.asarray(LATENT @ kernel).mean(axis=0)
    # Moving averages of decay 0.9 from 0.
    np.testing.assert_allclose(moved["batch_stats"]["BatchNorm_0"]["mean"], 0.1 * mean, atol=1e-6)
    alone = apply(model, variables, LATENT[:1])
    np.testing.assert_allclose(apply(model, variables, LATENT)[:1], alone, atol=1e-6)


@pytest.mark.parametrize("norm", ["layer", "none"])
def test_other_norms_keep_images_apart_in_training_too(norm):
    model = tiny_discriminator(norm=norm)
    variables = init(model, IMAGE)
    assert "batch_stats" not in variables
    both = apply(model, variables, IMAGE, train=True)
    alone = apply(model, variables, IMAGE[1:], train=True)
    np.testing.assert_allclose(alone, both[1:], atol=1e-6)


def test_spectral_norm_bounds_each_kernel_by_its_largest_singular_value():
    model = tiny_discriminator(norm="none", spectral_norm=True)
    variables = init(model, IMAGE)
    step = jax.jit(
        lambda v: model.apply(v, IMAGE, train=True, mutable=["batch_stats"])[1],
        compiler_options=HASTE,
    )
    for _ in range(30):
        variables = {**variables, **step(variables)}
    stored = jax.tree_util.tree_leaves_with_path(variables["batch_stats"])
    found = [float(leaf) for path, leaf in stored if path[-1].key.endswith("sigma")]
    params = variables["params"]
    true = [
        np.linalg.svd(np.reshape(layer["kernel"], (-1, layer["kernel"].shape[-1])))[1][0]
        for name, layer in params.items()
        if "kernel" in layer
    ]
    np.testing.assert_allclose(sorted(found), sorted(true), rtol=0.02)


@pytest.mark.parametrize("size", [32, 100, 65])
def test_sizes_that_are_no_power_of_two_are_refused(size):
    with pytest.raises(UserError, match=f"--image_size={size}.*power of two.*Choose 64 or 128"):
        check_image_size(size)


def test_powers_of_two_are_taken():
    for size in (64, 128, 256, 512):
        check_image_size(size)
