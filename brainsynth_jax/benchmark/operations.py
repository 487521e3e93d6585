"""Floating-point operations of a training step, counted by hand.

Only convolutions and matrix products count, in their direct form, two operations a product: what
the published architecture asks for, whatever algorithm computes it. A faster algorithm shows as a
larger share of the machine's rate.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from brainsynth_jax.benchmark.jax_steps import make_cyclegan, make_dcgan
from brainsynth_jax.benchmark.workload import CYCLEGANS, SAMPLING, Workload
from brainsynth_jax.models.blocks import Conv, Upsample


def count_operations(workload: Workload) -> int:
    """Of one step of the workload, or of one call of the sampler."""
    if workload.name in CYCLEGANS:
        model = make_cyclegan(workload)
        one = count_cyclegan(model.generator, model.discriminator, workload.image_size)
    elif workload.name == SAMPLING:
        model = make_dcgan(workload)
        one = count_sampling(model.generator, model.latent_size)
    else:
        model = make_dcgan(workload)
        one = count_dcgan(
            model.generator, model.discriminator, model.latent_size, workload.image_size
        )
    return one * workload.batch_size


def count_forward(network: nn.Module, *arguments: jax.ShapeDtypeStruct) -> int:
    """Operations of one pass of a network.

    A padded position counts like any other. A doubling convolution counts the products of its
    transposed form: kernel height x width x channels in x out for each input pixel.

    Args:
        network: made of `blocks.Conv`, `blocks.Upsample` and `nn.Dense`.
        arguments: shapes of what it is called with.
    """
    total = 0

    def count(call: Callable, args: tuple, kwargs: dict, context: nn.module.InterceptorContext):
        nonlocal total
        made = call(*args, **kwargs)
        layer = context.module
        if context.method_name == "__call__" and isinstance(layer, Conv | Upsample | nn.Dense):
            kernel = layer.variables["params"]["kernel"]
            pixels = made.size // made.shape[-1]
            if isinstance(layer, Upsample):
                pixels //= 4
            total += 2 * pixels * kernel.size
        return made

    def trace(*values: Any) -> Any:
        with nn.intercept_methods(count):
            return network.init_with_output(jax.random.key(0), *values)

    jax.eval_shape(trace, *arguments)
    return total


def count_cyclegan(generator: nn.Module, discriminator: nn.Module, image_size: int) -> int:
    """Operations of the CycleGAN's step for one image of each domain.

    Four passes through generators; each costs two more backwards, for the weights and for the
    input. The generators' loss goes forwards through two discriminators and back to the images
    only; the discriminators' through four of them, with both gradients.
    """
    image = jax.ShapeDtypeStruct((1, image_size, image_size, 1), jnp.float32)
    one, judged = count_forward(generator, image), count_forward(discriminator, image)
    return 4 * 3 * one + 2 * 2 * judged + 4 * 3 * judged


def count_dcgan(
    generator: nn.Module, discriminator: nn.Module, latent_size: int, image_size: int
) -> int:
    """Operations of the DCGAN's step for one image: fakes through both networks, reals through one.

    Backwards twice as much as forwards.
    """
    latent = jax.ShapeDtypeStruct((1, latent_size), jnp.float32)
    image = jax.ShapeDtypeStruct((1, image_size, image_size, generator.channels), jnp.float32)
    return 3 * count_forward(generator, latent) + 2 * 3 * count_forward(discriminator, image)


def count_sampling(generator: nn.Module, latent_size: int) -> int:
    """Operations of drawing one image."""
    return count_forward(generator, jax.ShapeDtypeStruct((1, latent_size), jnp.float32))
