"""The DCGAN's state and update rule (DCGAN paper, section II)."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct
from jax import Array, lax

from brainsynth_jax import losses
from brainsynth_jax.models.waiting import wait_for
from brainsynth_jax.training.augmentation import augment
from brainsynth_jax.training.average import update_average
from brainsynth_jax.training.initialisation import initialise
from brainsynth_jax.training.optimizer import update_params
from brainsynth_jax.training.parallel import mean_over_devices

Params = Any
Statistics = Any
Metrics = dict[str, Array]

# Each: what the critic minimises on real scores, on generated scores, and the generator's loss.
_SCORINGS = {
    "wasserstein": (losses.wasserstein_real, losses.wasserstein_fake, losses.wasserstein_real),
    "hinge": (losses.hinge_real, losses.hinge_fake, losses.wasserstein_real),
    "lsgan": (losses.least_squares_real, losses.least_squares_fake, losses.least_squares_real),
}
_SCORINGS |= {name: _SCORINGS["wasserstein"] for name in ("wgan-gp", "wgan-clip")}
LOSSES = tuple(_SCORINGS)

# The score midway between real and made. The Wasserstein losses have none: they fix no zero.
SCORE_MIDPOINTS = {"hinge": 0.0, "lsgan": 0.5}

LATENTS = ("uniform", "normal")

# Adaptive augmentation goes from none to full strength in so many images, at the fastest
# (Karras et al., 2020, arXiv 2006.06676, took 500,000 for sets of many thousands).
_IMAGES_TO_FULL_STRENGTH = 20_000


class Dcgan(NamedTuple):
    """What a step closes over: networks, optimisers and settings.

    Attributes:
        generator: `apply(variables, latent, keys, train) -> image`, as `models.dcgan`'s.
        discriminator: `apply(variables, image, keys, train) -> scores`. Both have an `axis_name`.
        generator_optimizer: updates the generator.
        discriminator_optimizer: updates the discriminator, the critic of a Wasserstein loss.
        loss: one of `LOSSES`. "wasserstein" is the paper's, without clipping or penalty.
        latent_size: length of the latent vector, 128 in the paper.
        latent: its distribution, uniform on (-1, 1) or standard normal.
        critic_steps: discriminator updates for each one of the generator.
        penalty_weight: of the gradient penalty of "wgan-gp".
        clip: "wgan-clip" keeps the critic's weights in [-clip, clip].
        augmentations: some of `augmentation.AUGMENTATIONS`.
        augment_strength: probability of each; where it is adaptive, the first.
        augment_target: the mean sign of real scores that adaptive augmentation holds, 0.6 in Karras
            et al., 2020; 0 keeps the strength fixed.
        average_decay: of the moving average of the generator's weights; 0 keeps none.
        synchronise: whether batch norm takes its statistics over the batch of all devices; else
            over each device's part, as the paper's framework does.
    """

    generator: nn.Module
    discriminator: nn.Module
    generator_optimizer: optax.GradientTransformation
    discriminator_optimizer: optax.GradientTransformation
    loss: str = "wasserstein"
    latent_size: int = 128
    latent: str = "uniform"
    critic_steps: int = 1
    penalty_weight: float = 10.0
    clip: float = 0.01
    augmentations: Sequence[str] = ()
    augment_strength: float = 1.0
    augment_target: float = 0.0
    average_decay: float = 0.0
    synchronise: bool = False


class Differentiated(NamedTuple):
    """What one pass through the networks finds: gradients and statistics of both, and metrics."""

    generator_gradients: Params
    discriminator_gradients: Params
    generator_statistics: Statistics
    discriminator_statistics: Statistics
    real_signs: Array
    metrics: Metrics


@struct.dataclass
class DcganState:
    """Everything that a run is; data only.

    Attributes:
        step: () int32, generator updates done so far.
        generator: params.
        discriminator: params.
        generator_statistics: moving averages of its batch norms.
        discriminator_statistics: the same, and the vectors of its spectral norms.
        generator_moments: state of the generator's optimiser.
        discriminator_moments: state of the discriminator's optimiser.
        augment_strength: () float32, 0 to 1.
        average: moving average of `generator`, or None.
    """

    step: Array
    generator: Params
    discriminator: Params
    generator_statistics: Statistics
    discriminator_statistics: Statistics
    generator_moments: optax.OptState
    discriminator_moments: optax.OptState
    augment_strength: Array
    average: Params | None

    @property
    def best_generator(self) -> Params:
        """The averaged weights where there are some, else the raw ones."""
        return self.generator if self.average is None else self.average


@partial(jax.jit, static_argnames="model")
def create_dcgan_state(model: Dcgan, key: Array) -> DcganState:
    """A new run's state."""
    generator_key, discriminator_key = jax.random.split(key)
    latent = jnp.zeros((1, model.latent_size))
    generator = initialise(model.generator, generator_key, latent)
    size, channels = model.generator.image_size, model.generator.channels
    image = jnp.zeros((1, size, size, channels))
    discriminator = initialise(model.discriminator, discriminator_key, image)
    return DcganState(
        step=jnp.zeros((), jnp.int32),
        generator=generator["params"],
        discriminator=discriminator["params"],
        generator_statistics=generator.get("batch_stats", {}),
        discriminator_statistics=discriminator.get("batch_stats", {}),
        generator_moments=model.generator_optimizer.init(generator["params"]),
        discriminator_moments=model.discriminator_optimizer.init(discriminator["params"]),
        augment_strength=jnp.float32(model.augment_strength),
        average=jax.tree.map(jnp.copy, generator["params"]) if model.average_decay else None,
    )


def draw_latents(model: Dcgan, keys: Array) -> Array:
    """(N, latent size) latent vectors, each a function of its own key."""
    draw = {
        "uniform": lambda key: jax.random.uniform(key, (model.latent_size,), minval=-1.0),
        "normal": lambda key: jax.random.normal(key, (model.latent_size,)),
    }[model.latent]
    return jax.vmap(draw)(keys)


def split_keys(key: Array, step: Array | int, index: Array) -> Array:
    """(7, N) keys for the random draws of a step: of the latents, then of all else.

    Args:
        key: the run's.
        step: generator updates done so far.
        index: (N,) int32, each image's place in the batch of all devices.
    """
    step_key = jax.random.fold_in(key, step)
    return jax.vmap(lambda i: jax.random.split(jax.random.fold_in(step_key, i), 7))(index).T


def make_train_step(model: Dcgan, axis_name: str | None = None):
    """Returns the pure `train_step(state, batch, key) -> (state, metrics)`.

    One step updates the discriminator `critic_steps` times, each time on real images and fakes of
    its own, and the generator once, on the last of these fakes as the discriminator scored them
    before that update: the order of the paper's framework, whose scores serve both.

    Args:
        model: what the step closes over.
        axis_name: of the device axis that the step is mapped over, or None on one device.

    The step's arguments:
        state: a DcganState.
        batch: "image", (N, S, S, 1) float32 in [-1, 1], and "index", (N,) int32, each image's place
            in the batch of all devices; N is `critic_steps` times the images of one update.
        key: the run's random key. Draws are a pure function of (key, step, index), hence the same
            on one device and on many.

    The step's metrics: scalars of the whole batch at its last update: `Gen` and `Dis`, the losses;
    `score_real` and `score_fake`, mean scores; `penalty` and `augment_strength` where in use.
    """
    critic_real, critic_fake, generator_wants = _SCORINGS[model.loss]
    # What the critic minimises on fakes is what the generator maximises: one pass serves both.
    opposed = _SCORINGS[model.loss] is _SCORINGS["wasserstein"]
    norm_axis = axis_name if model.synchronise else None
    network_g = model.generator.clone(axis_name=norm_axis)
    network_d = model.discriminator.clone(axis_name=norm_axis)

    def generate(params, statistics, latent, keys):
        variables = {"params": params, "batch_stats": statistics}
        image, changed = network_g.apply(variables, latent, keys, True, mutable=["batch_stats"])
        return image, changed.get("batch_stats", statistics)

    def judge(params, statistics, image, keys):
        variables = {"params": params, "batch_stats": statistics}
        scores, changed = network_d.apply(variables, image, keys, True, mutable=["batch_stats"])
        return scores, changed.get("batch_stats", statistics)

    def change(state, image, keys):
        return augment(image, model.augmentations, state.augment_strength, keys)

    def score_fakes(generator, discriminator, state, keys):
        latent = draw_latents(model, keys[0])
        fake, generator_statistics = generate(
            generator, state.generator_statistics, latent, keys[1]
        )
        fake = change(state, fake, keys[2])
        scores, statistics = judge(discriminator, state.discriminator_statistics, fake, keys[3])
        return scores, (fake, generator_statistics, statistics)

    def loss_on_real(discriminator, state, statistics, image, fake, keys):
        image = change(state, image, keys[4])
        scores, statistics = judge(discriminator, statistics, image, keys[5])
        loss = critic_real(scores)
        terms = {"score_real": scores.mean()}
        if model.loss == "wgan-gp":
            mix = jax.vmap(jax.random.uniform)(keys[6])[:, None, None, None]
            # Without noise, and with no norm that would couple the images.
            variables = {"params": discriminator, "batch_stats": state.discriminator_statistics}
            terms["penalty"] = model.penalty_weight * losses.gradient_penalty(
                lambda x: network_d.apply(variables, x), mix * image + (1 - mix) * fake
            )
            loss += terms["penalty"]
        signs = jnp.sign(scores - SCORE_MIDPOINTS.get(model.loss, 0.0)).mean()
        return loss, (terms, statistics, signs)

    def differentiate(state, image, keys):
        """Both networks' gradients, from one pass of the fakes through both."""
        scores, pull_back, (fake, generator_statistics, statistics) = jax.vjp(
            lambda generator, discriminator: score_fakes(generator, discriminator, state, keys),
            state.generator,
            state.discriminator,
            has_aux=True,
        )
        generator_loss, wanted = jax.value_and_grad(generator_wants)(scores)
        fake_loss, unwanted = jax.value_and_grad(critic_fake)(scores)
        generator_gradients, fake_gradients = pull_back(unwanted)
        if opposed:
            generator_gradients = jax.tree.map(jnp.negative, generator_gradients)
        else:
            generator_gradients, _ = pull_back(wanted)
        # So that the fakes' activations are gone before those of real images are kept.
        for gradient in jax.tree.leaves(fake_gradients):
            image, keys = wait_for(gradient, image), wait_for(gradient, keys)
        (real_loss, (terms, statistics, signs)), real_gradients = jax.value_and_grad(
            loss_on_real, has_aux=True
        )(state.discriminator, state, statistics, image, fake, keys)
        return Differentiated(
            generator_gradients,
            jax.tree.map(jnp.add, fake_gradients, real_gradients),
            generator_statistics,
            statistics,
            signs,
            {"Gen": generator_loss, "Dis": fake_loss + real_loss, "score_fake": scores.mean()}
            | terms,
        )

    def update_discriminator(state, found):
        params, moments = update_params(
            model.discriminator_optimizer,
            found.discriminator_gradients,
            state.discriminator_moments,
            state.discriminator,
        )
        if model.loss == "wgan-clip":
            params = jax.tree.map(lambda x: jnp.clip(x, -model.clip, model.clip), params)
        return state.replace(
            discriminator=params,
            discriminator_statistics=found.discriminator_statistics,
            discriminator_moments=moments,
        )

    def update_generator(state, found):
        params, moments = update_params(
            model.generator_optimizer,
            found.generator_gradients,
            state.generator_moments,
            state.generator,
        )
        average = state.average
        if average is not None:
            average = update_average(average, params, state.step, model.average_decay)
        return state.replace(
            generator=params,
            generator_statistics=found.generator_statistics,
            generator_moments=moments,
            average=average,
        )

    def adapt_augmentation(state, found, images):
        towards = jnp.sign(found.real_signs - model.augment_target)
        strength = state.augment_strength + towards * images / _IMAGES_TO_FULL_STRENGTH
        return state.replace(augment_strength=jnp.clip(strength, 0.0, 1.0))

    def train_step(
        state: DcganState, batch: dict[str, Array], key: Array
    ) -> tuple[DcganState, Metrics]:
        keys = split_keys(key, state.step, batch["index"])
        image = jnp.repeat(batch["image"], model.generator.channels, axis=-1)
        images = len(image) * (1 if axis_name is None else lax.axis_size(axis_name))
        for update in range(model.critic_steps):
            # Every k-th image, so that an update's images do not depend on the devices.
            mine = slice(update, None, model.critic_steps)
            found = differentiate(state, image[mine], keys[:, mine])
            found = mean_over_devices(found, axis_name)
            state = update_discriminator(state, found)
            if model.augment_target:
                state = adapt_augmentation(state, found, images / model.critic_steps)
        state = update_generator(state, found)
        metrics = found.metrics
        if model.augment_target:
            metrics["augment_strength"] = state.augment_strength
        return state.replace(step=state.step + 1), metrics

    return train_step
