"""The CycleGAN's state and update rule (CycleGAN paper, section 3.5, equations 2 to 5)."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct
from jax import Array, lax

from brainsynth_jax import losses
from brainsynth_jax.models.random_bits import draw_normal
from brainsynth_jax.training.average import update_average
from brainsynth_jax.training.image_pool import ImagePool, create_image_pool, swap_with_pool
from brainsynth_jax.training.initialisation import initialise
from brainsynth_jax.training.optimizer import update_params
from brainsynth_jax.training.parallel import mean_over_devices

Params = Any
Metrics = dict[str, Array]


class CycleGan(NamedTuple):
    """What a step closes over: networks, optimisers and the weights of its terms.

    Attributes:
        generator: architecture of both generators, `apply(variables, image, keys) -> image`.
        discriminator: architecture of both discriminators, `apply(variables, image) -> scores`.
        generator_optimizer: updates both generators together.
        discriminator_optimizer: updates both discriminators together.
        cycle_weight: lambda of equation 5, 10 in the paper.
        identity_weight: of mean|G_AB(B) - B| + mean|G_BA(A) - A|; the paper has no such term (0).
            It keeps the generators from inverting contrast, which the cycle alone allows.
        pool_size: past fakes kept for each discriminator; 0 shows every fake once.
        discriminator_noise: standard deviation of the Gaussian noise added to every image that a
            discriminator sees in training, on the scale of [-1, 1].
        average_decay: of the moving average of the generators' weights; 0 keeps none.
    """

    generator: nn.Module
    discriminator: nn.Module
    generator_optimizer: optax.GradientTransformation
    discriminator_optimizer: optax.GradientTransformation
    cycle_weight: float = 10.0
    identity_weight: float = 0.0
    pool_size: int = 50
    discriminator_noise: float = 0.0
    average_decay: float = 0.0


@struct.dataclass
class CycleGanState:
    """Everything that a run is; data only.

    Attributes:
        step: () int32, updates done so far. Data order and random draws follow from it.
        generators: {"ab": params, "ba": params}.
        discriminators: {"a": params, "b": params}.
        generator_moments: state of the generators' optimiser.
        discriminator_moments: state of the discriminators' optimiser.
        pools: {"a": past fake MR slices, "b": past fake masks}.
        average: moving average of `generators`, or None.
    """

    step: Array
    generators: Params
    discriminators: Params
    generator_moments: optax.OptState
    discriminator_moments: optax.OptState
    pools: dict[str, ImagePool]
    average: Params | None

    @property
    def best_generators(self) -> Params:
        """The averaged weights where there are some, else the raw ones."""
        return self.generators if self.average is None else self.average


@partial(jax.jit, static_argnames=("model", "image_size"))
def create_cyclegan_state(model: CycleGan, key: Array, image_size: int) -> CycleGanState:
    """A new run's state for (image_size, image_size, 1) images."""
    image = jnp.zeros((1, image_size, image_size, 1))
    ab_key, ba_key, a_key, b_key = jax.random.split(key, 4)
    generators = {
        "ab": initialise(model.generator, ab_key, image)["params"],
        "ba": initialise(model.generator, ba_key, image)["params"],
    }
    discriminators = {
        "a": initialise(model.discriminator, a_key, image)["params"],
        "b": initialise(model.discriminator, b_key, image)["params"],
    }
    return CycleGanState(
        step=jnp.zeros((), jnp.int32),
        generators=generators,
        discriminators=discriminators,
        generator_moments=model.generator_optimizer.init(generators),
        discriminator_moments=model.discriminator_optimizer.init(discriminators),
        pools={name: create_image_pool(model.pool_size, image.shape[1:]) for name in "ab"},
        average=jax.tree.map(jnp.copy, generators) if model.average_decay else None,
    )


def make_train_step(model: CycleGan, axis_name: str | None = None):
    """Returns the pure `train_step(state, batch, key) -> (state, metrics)`.

    One step updates the generators against the discriminators as they were, then the
    discriminators on the fakes just made, passed through the pool.

    Args:
        model: what the step closes over.
        axis_name: of the device axis that the step is mapped over, or None on one device.

    The step's arguments:
        state: a CycleGanState.
        batch: "image_a" and "image_b", (N, H, W, 1) float32 in [-1, 1], and "index", (N,) int32,
            each image pair's place in the batch of all devices.
        key: the run's random key. Draws are a pure function of (key, step, index), hence the same
            on one device and on many.

    The step's metrics: scalars of the whole batch, named as in the paper's Table 2, and the terms
    they are made of.
    """

    def all_images(images: Array) -> Array:
        return images if axis_name is None else lax.all_gather(images, axis_name, tiled=True)

    def generate(params: Params, image: Array, keys: Array) -> Array:
        return model.generator.apply({"params": params}, image, keys)

    def judge(params: Params, image: Array, keys: Array) -> Array:
        if model.discriminator_noise:
            image = image + model.discriminator_noise * draw_normal(keys, image.shape[1:])
        return model.discriminator.apply({"params": params}, image)

    def together(network, params: Params, images: list[Array], keys: list[Array]) -> list[Array]:
        """One pass for several batches: a network treats every image by itself."""
        made = network(params, jnp.concatenate(images), jnp.concatenate(keys))
        return jnp.split(made, len(images))

    def generator_loss(generators, discriminators, image_a, image_b, keys):
        fake_a = generate(generators["ba"], image_b, keys[1])
        ab_inputs, ab_keys = [image_a, fake_a], [keys[0], keys[3]]
        if model.identity_weight:
            ab_inputs, ab_keys = [*ab_inputs, image_b], [*ab_keys, keys[7]]
        fake_b, cycled_b, *same_b = together(generate, generators["ab"], ab_inputs, ab_keys)
        ba_inputs, ba_keys = [fake_b], [keys[2]]
        if model.identity_weight:
            ba_inputs, ba_keys = [*ba_inputs, image_a], [*ba_keys, keys[6]]
        cycled_a, *same_a = together(generate, generators["ba"], ba_inputs, ba_keys)
        adv_ab = losses.least_squares_real(judge(discriminators["b"], fake_b, keys[4]))
        adv_ba = losses.least_squares_real(judge(discriminators["a"], fake_a, keys[5]))
        cycle = model.cycle_weight * (
            losses.mean_absolute_error(cycled_a, image_a)
            + losses.mean_absolute_error(cycled_b, image_b)
        )
        loss = adv_ab + adv_ba + cycle
        terms = {
            "Gen": loss,
            "Gen_AB": adv_ab + cycle,
            "Gen_BA": adv_ba + cycle,
            "adv_AB": adv_ab,
            "adv_BA": adv_ba,
            "cycle": cycle,
        }
        if model.identity_weight:
            terms["identity"] = model.identity_weight * (
                losses.mean_absolute_error(same_a[0], image_a)
                + losses.mean_absolute_error(same_b[0], image_b)
            )
            loss = loss + terms["identity"]
        return loss, (terms, fake_a, fake_b)

    def discriminator_loss(discriminators, image_a, image_b, shown_a, shown_b, keys):
        scores_real_a, scores_fake_a = together(
            judge, discriminators["a"], [image_a, shown_a], [keys[0], keys[1]]
        )
        scores_real_b, scores_fake_b = together(
            judge, discriminators["b"], [image_b, shown_b], [keys[2], keys[3]]
        )
        real_a = losses.least_squares_real(scores_real_a)
        fake_a = losses.least_squares_fake(scores_fake_a)
        real_b = losses.least_squares_real(scores_real_b)
        fake_b = losses.least_squares_fake(scores_fake_b)
        dis_a, dis_b = (real_a + fake_a) / 2, (real_b + fake_b) / 2
        terms = {
            "Dis": dis_a + dis_b,
            "Dis_A": dis_a,
            "Dis_fakeA": fake_a,
            "Dis_realA": real_a,
            "Dis_B": dis_b,
            "Dis_fakeB": fake_b,
            "Dis_realB": real_b,
        }
        return dis_a + dis_b, terms

    def update_generators(state, image_a, image_b, keys):
        loss = jax.grad(generator_loss, has_aux=True)
        gradients, (terms, fake_a, fake_b) = loss(
            state.generators, state.discriminators, image_a, image_b, keys
        )
        generators, moments = update_params(
            model.generator_optimizer,
            mean_over_devices(gradients, axis_name),
            state.generator_moments,
            state.generators,
        )
        return generators, moments, terms, fake_a, fake_b

    def pass_through_pool(pool, fakes, index, key):
        """Every device takes the same fakes of all devices through its copy of the pool."""
        pool, shown = swap_with_pool(pool, all_images(fakes), key)
        return pool, shown[index]

    def update_discriminators(state, image_a, image_b, shown_a, shown_b, keys):
        loss = jax.grad(discriminator_loss, has_aux=True)
        gradients, terms = loss(state.discriminators, image_a, image_b, shown_a, shown_b, keys)
        discriminators, moments = update_params(
            model.discriminator_optimizer,
            mean_over_devices(gradients, axis_name),
            state.discriminator_moments,
            state.discriminators,
        )
        return discriminators, moments, terms

    def train_step(
        state: CycleGanState, batch: dict[str, Array], key: Array
    ) -> tuple[CycleGanState, Metrics]:
        image_a, image_b, index = batch["image_a"], batch["image_b"], batch["index"]
        images_key, pool_a_key, pool_b_key = jax.random.split(
            jax.random.fold_in(key, state.step), 3
        )
        keys = jax.vmap(lambda i: jax.random.split(jax.random.fold_in(images_key, i), 12))(index).T

        generators, generator_moments, generator_terms, fake_a, fake_b = update_generators(
            state, image_a, image_b, keys[:8]
        )
        pool_a, shown_a = pass_through_pool(state.pools["a"], fake_a, index, pool_a_key)
        pool_b, shown_b = pass_through_pool(state.pools["b"], fake_b, index, pool_b_key)
        discriminators, discriminator_moments, discriminator_terms = update_discriminators(
            state, image_a, image_b, shown_a, shown_b, keys[8:]
        )
        average = state.average
        if average is not None:
            average = update_average(average, generators, state.step, model.average_decay)
        state = CycleGanState(
            step=state.step + 1,
            generators=generators,
            discriminators=discriminators,
            generator_moments=generator_moments,
            discriminator_moments=discriminator_moments,
            pools={"a": pool_a, "b": pool_b},
            average=average,
        )
        return state, mean_over_devices(generator_terms | discriminator_terms, axis_name)

    return train_step
