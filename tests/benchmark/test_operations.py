"""Operations counted by hand against a sum on paper and XLA's count of the plain form."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from brainsynth_jax.benchmark.operations import count_cyclegan, count_dcgan, count_forward
from brainsynth_jax.models.blocks import Conv, Upsample
from brainsynth_jax.models.convolution import plain_forms
from brainsynth_jax.models.dcgan import DcganDiscriminator, DcganGenerator
from brainsynth_jax.models.patch import PatchDiscriminator
from brainsynth_jax.models.resnet import ResnetGenerator

IMAGE = jax.ShapeDtypeStruct((1, 64, 64, 1), jnp.float32)


class Three(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = Conv(6, kernel_size=4, stride=2)(x)  # 4x4 of 6 from 4x4x2: 16 * 6 * 32 products
        x = Upsample(3)(x)  # 16 pixels, each times 4x4x6x3
        return nn.Dense(5)(x.reshape(1, -1))  # 8 * 8 * 3 * 5


def test_products_are_counted_twice_each():
    products = 16 * 6 * 32 + 16 * 288 + 192 * 5
    assert count_forward(Three(), jax.ShapeDtypeStruct((1, 8, 8, 2), jnp.float32)) == 2 * products


@pytest.mark.parametrize("network", [PatchDiscriminator(16), ResnetGenerator(16)])
def test_xla_counts_as_many_in_the_plain_form(network):
    image = jax.ShapeDtypeStruct((1, 256, 256, 1), jnp.float32)
    with plain_forms():
        params = jax.eval_shape(network.init, jax.random.key(0), image)
        lowered = jax.jit(network.apply).lower(params, image)
    flops = lowered.compile().cost_analysis()["flops"]
    # XLA leaves out what is padding and adds norms and activations.
    assert count_forward(network, image) == pytest.approx(flops, rel=0.05)


def test_a_cyclegans_step_is_twelve_passes_of_generators_and_sixteen_of_discriminators():
    generator, discriminator = ResnetGenerator(4), PatchDiscriminator(4)
    one, judged = count_forward(generator, IMAGE), count_forward(discriminator, IMAGE)
    assert count_cyclegan(generator, discriminator, 64) == 12 * one + 16 * judged


def test_a_dcgans_step_is_three_passes_of_the_generator_and_six_of_the_discriminator():
    generator, discriminator = DcganGenerator(64, width=2), DcganDiscriminator(width=2)
    latent = jax.ShapeDtypeStruct((1, 9), jnp.float32)
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    wanted = 3 * count_forward(generator, latent) + 6 * count_forward(discriminator, image)
    assert count_dcgan(generator, discriminator, 9, 64) == wanted
