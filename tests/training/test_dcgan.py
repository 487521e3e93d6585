"""The update rule: what it optimises, and that it is the same on one device and on two."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from brainsynth_jax import losses
from brainsynth_jax.models.dcgan import DcganDiscriminator, DcganGenerator
from brainsynth_jax.training.dcgan import (
    LOSSES,
    Dcgan,
    create_dcgan_state,
    draw_latents,
    make_train_step,
)
from brainsynth_jax.training.optimizer import make_adam, make_schedule
from brainsynth_jax.training.parallel import place_state, share_batch, trace_step

SIZE = 64
KEY = jax.random.key(7)


def small_model(generator=None, discriminator=None, optimizer=None, **settings):
    adam = make_adam(make_schedule(2e-4, 100))
    plain = {"norm": "layer", "noise_std": 0.0, "activation": "leaky_relu"}
    return Dcgan(
        generator=DcganGenerator(
            **{"image_size": SIZE, "width": 1, "channels": 2, "dropout_rate": 0.0}
            | (generator or {})
        ),
        discriminator=DcganDiscriminator(**{"width": 1} | plain | (discriminator or {})),
        generator_optimizer=optimizer or adam,
        discriminator_optimizer=optimizer or adam,
        **{"latent_size": 5} | settings,
    )


def random_batch(seed, count):
    image = jax.random.uniform(jax.random.key(seed), (count, SIZE, SIZE, 1), minval=-1.0)
    return {"image": image, "index": jnp.arange(count)}


def run_steps(model, devices, steps, count=4):
    state = place_state(create_dcgan_state(model, jax.random.key(0)), devices)
    batches = [share_batch(random_batch(number, count), devices) for number in range(steps)]
    step = trace_step(partial(make_train_step, model), devices, state, batches[0], KEY).compile()
    for batch in batches:
        state, metrics = step(state, batch, KEY)
    return jax.device_get((state, metrics))


def keys_of_step_0(use, count):
    step_key = jax.random.fold_in(KEY, 0)
    keys = jax.vmap(lambda i: jax.random.split(jax.random.fold_in(step_key, i), 7)[use])
    return keys(jnp.arange(count))


def latents_of_step_0(model, count):
    return draw_latents(model, keys_of_step_0(0, count))


# The critic's loss of real and of made scores, and the generator's of made ones.
BY_HAND = {
    "wasserstein": (lambda r: -r.mean(), lambda f: f.mean(), lambda f: -f.mean()),
    "hinge": (
        lambda r: jnp.maximum(0, 1 - r).mean(),
        lambda f: jnp.maximum(0, 1 + f).mean(),
        lambda f: -f.mean(),
    ),
    "lsgan": (
        lambda r: jnp.square(r - 1).mean(),
        lambda f: jnp.square(f).mean(),
        lambda f: jnp.square(f - 1).mean(),
    ),
}
BY_HAND |= dict.fromkeys(("wgan-gp", "wgan-clip"), BY_HAND["wasserstein"])


@pytest.mark.parametrize("name", LOSSES)
def test_one_step_is_gradient_descent_on_the_losses(name):
    """Both networks move down their own loss, each against the other as it was before."""
    rate, (on_real, on_made, wanted) = 0.5, BY_HAND[name]
    model = small_model(optimizer=optax.sgd(rate), loss=name)
    state = create_dcgan_state(model, jax.random.key(0))
    batch = random_batch(0, 3)
    after, metrics = jax.jit(make_train_step(model))(state, batch, KEY)

    latent = latents_of_step_0(model, 3)
    real = jnp.concatenate([batch["image"]] * 2, axis=-1)  # equal channels

    def fake(params):
        variables = {"params": params, "batch_stats": state.generator_statistics}
        return model.generator.apply(variables, latent, None, True, mutable=["batch_stats"])[0]

    def score(params, image):
        return model.discriminator.apply({"params": params}, image)

    def critic_loss(params):
        made = fake(state.generator)
        return on_real(score(params, real)) + on_made(score(params, made)) + penalty(params, made)

    def penalty(params, made):
        """Somewhere between a real and a made image, the critic's slope is to be 1."""
        if name != "wgan-gp":
            return 0.0
        share = jax.vmap(jax.random.uniform)(keys_of_step_0(6, 3))[:, None, None, None]
        slopes = jax.grad(lambda x: score(params, x).sum())(share * real + (1 - share) * made)
        return 10 * jnp.square(jnp.sqrt(jnp.square(slopes).sum((1, 2, 3))) - 1).mean()

    def generator_loss(params):
        return wanted(score(state.discriminator, fake(params)))

    for network, loss in (("discriminator", critic_loss), ("generator", generator_loss)):
        value, gradients = jax.jit(jax.value_and_grad(loss))(getattr(state, network))
        assert metrics["Dis" if network == "discriminator" else "Gen"] == pytest.approx(
            float(value), rel=1e-5, abs=1e-6
        )
        expected = jax.tree.map(lambda p, g: p - rate * g, getattr(state, network), gradients)
        if (name, network) == ("wgan-clip", "discriminator"):
            expected = jax.tree.map(lambda p: jnp.clip(p, -0.01, 0.01), expected)
        for (path, ours), theirs in zip(
            jax.tree_util.tree_leaves_with_path(getattr(after, network)),
            jax.tree.leaves(expected),
            strict=True,
        ):
            np.testing.assert_allclose(
                ours, theirs, rtol=1e-4, atol=2e-5, err_msg=jax.tree_util.keystr(path)
            )
    assert int(after.step) == 1
    assert ("penalty" in metrics) == (name == "wgan-gp")


def test_the_fakes_are_made_and_scored_once_for_both_updates():
    """XLA finds the forward passes that both losses share: the step costs less than its parts."""
    model = small_model(generator={"width": 8}, discriminator={"width": 8})
    state = create_dcgan_state(model, jax.random.key(0))
    image = jnp.zeros((8, SIZE, SIZE, 2))

    def score_fakes(generator, discriminator):
        variables = {"params": generator, "batch_stats": state.generator_statistics}
        latent = latents_of_step_0(model, 8)
        fake, _ = model.generator.apply(variables, latent, None, True, mutable=["batch_stats"])
        return model.discriminator.apply({"params": discriminator}, fake).mean()

    def score_real(generator, discriminator):
        return model.discriminator.apply({"params": discriminator}, image).mean()

    def flops(function, *arguments):
        return jax.jit(function).lower(*arguments).compile().cost_analysis()["flops"]

    networks = state.generator, state.discriminator
    apart = sum(
        flops(jax.grad(function, which), *networks)
        for function, which in ((score_fakes, 0), (score_fakes, 1), (score_real, 1))
    )
    shared = flops(score_fakes, *networks)
    step = flops(make_train_step(model), state, random_batch(0, 8), KEY)
    updates = 30 * sum(leaf.size for leaf in jax.tree.leaves(networks))  # Adam's
    assert step < apart - 0.9 * shared + updates < apart


def test_critic_steps_have_images_and_latents_of_their_own():
    """Two critic updates on every second image are two steps in a row of the critic alone."""
    model = small_model(loss="hinge", critic_steps=2, optimizer=optax.sgd(0.1))
    state = create_dcgan_state(model, jax.random.key(0))
    batch = random_batch(0, 4)
    after, _ = jax.jit(make_train_step(model))(state, batch, KEY)
    latents = latents_of_step_0(model, 4)

    def loss(params, image, latent):
        variables = {"params": state.generator, "batch_stats": state.generator_statistics}
        fake, _ = model.generator.apply(variables, latent, None, True, mutable=["batch_stats"])
        image = jnp.concatenate([image] * 2, axis=-1)
        real, made = (model.discriminator.apply({"params": params}, x) for x in (image, fake))
        return jnp.maximum(0, 1 - real).mean() + jnp.maximum(0, 1 + made).mean()

    params, gradient = state.discriminator, jax.jit(jax.grad(loss))
    for update in (0, 1):
        gradients = gradient(params, batch["image"][update::2], latents[update::2])
        params = jax.tree.map(lambda p, g: p - 0.1 * g, params, gradients)
    for ours, theirs in zip(
        jax.tree.leaves(after.discriminator), jax.tree.leaves(params), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def assert_same_up_to_rounding(results):
    for (path, ours), (_, theirs) in zip(
        *(jax.tree_util.tree_leaves_with_path(result) for result in results), strict=True
    ):
        name = jax.tree_util.keystr(path)
        np.testing.assert_allclose(ours, theirs, atol=5e-5, rtol=2e-3, err_msg=name)


@pytest.mark.parametrize(
    "settings",
    [
        {
            "loss": "hinge",
            "generator": {"dropout_rate": 0.3},
            "discriminator": {"norm": "batch", "noise_std": 0.2},
            "augmentations": ("shift", "flip", "intensity", "cutout"),
            "augment_strength": 0.5,
            "augment_target": 0.6,
            "average_decay": 0.9,
            "synchronise": True,
        },
        {"loss": "wgan-gp", "critic_steps": 2, "synchronise": True},
    ],
    ids=["dropout, noise, augmentation, synchronised norms", "penalty and critic steps"],
)
def test_two_devices_and_one_give_the_same_parameters(settings):
    results = [run_steps(small_model(**settings), jax.devices()[:n], steps=3) for n in (1, 2)]
    assert_same_up_to_rounding(results)


def test_batch_norm_of_each_device_knows_its_own_images_only():
    """Two devices, each with its half's own statistics, as the paper's framework does."""
    model = small_model(discriminator={"norm": "batch"})
    start = create_dcgan_state(model, jax.random.key(0))
    variables = {"params": start.generator, "batch_stats": start.generator_statistics}
    latents = latents_of_step_0(model, 4)
    halves = [
        model.generator.apply(variables, half, None, True, mutable=["batch_stats"])[1]
        for half in (latents[:2], latents[2:])
    ]
    expected = jax.tree.map(lambda *both: np.mean(both, 0), *halves)["batch_stats"]
    one, two = (run_steps(model, jax.devices()[:n], steps=1)[0] for n in (1, 2))
    assert_same_up_to_rounding((two.generator_statistics, expected))
    # The first norm has the same inputs in both: the halves' variances leave out that between them.
    norms = [state.generator_statistics["BatchNorm_0"] for state in (one, two)]
    np.testing.assert_allclose(norms[0]["mean"], norms[1]["mean"], atol=1e-6)
    assert (norms[1]["var"] < norms[0]["var"]).mean() > 0.9


def test_adaptive_augmentation_rises_while_real_scores_are_sure_and_falls_else():
    settings = {"loss": "hinge", "augmentations": ("intensity",), "augment_strength": 0.5}
    strengths = []
    for bias in (10.0, -10.0):
        model = small_model(**settings, augment_target=0.6)
        state = create_dcgan_state(model, jax.random.key(0))
        state.discriminator["Dense_0"]["bias"] += bias
        after, metrics = jax.jit(make_train_step(model))(state, random_batch(0, 4), KEY)
        strengths.append(float(metrics["augment_strength"]))
        assert strengths[-1] == float(after.augment_strength)
    assert strengths == pytest.approx([0.5 + 4 / 20_000, 0.5 - 4 / 20_000])


def test_gradient_penalty_of_a_linear_critic_is_known():
    weights = jax.random.normal(jax.random.key(0), (4, 4, 1))
    images = jax.random.normal(jax.random.key(1), (3, 4, 4, 1))
    found = losses.gradient_penalty(lambda x: (x * weights).sum((1, 2, 3)), images)
    assert float(found) == pytest.approx((np.linalg.norm(weights) - 1) ** 2, rel=1e-5)


def test_gradient_penalty_of_a_flat_critic_has_a_gradient():
    gradient = jax.grad(
        lambda w: losses.gradient_penalty(lambda x: w * x.sum((1, 2, 3)), jnp.ones((2, 3, 3, 1)))
    )(0.0)
    assert np.isfinite(gradient)


def test_adversarial_losses_by_hand():
    scores = jnp.array([-2.0, 0.5, 3.0])
    assert float(losses.wasserstein_real(scores)) == pytest.approx(-0.5)
    assert float(losses.wasserstein_fake(scores)) == pytest.approx(0.5)
    assert float(losses.hinge_real(scores)) == pytest.approx((3 + 0.5 + 0) / 3)
    assert float(losses.hinge_fake(scores)) == pytest.approx((0 + 1.5 + 4) / 3)


@pytest.mark.parametrize(
    ("latent", "deviation", "bound"), [("uniform", 1 / np.sqrt(3), 1.0), ("normal", 1.0, 9.0)]
)
def test_latents_have_their_distribution_and_belong_to_a_key(latent, deviation, bound):
    model = small_model(latent=latent, latent_size=500)
    keys = jax.random.split(jax.random.key(0), 40)
    drawn = draw_latents(model, keys)
    assert drawn.std() == pytest.approx(deviation, rel=0.03)
    assert abs(float(drawn.mean())) < 0.03
    assert float(jnp.abs(drawn).max()) <= bound
    np.testing.assert_array_equal(draw_latents(model, keys[5:7]), drawn[5:7])
