import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from brainsynth_jax.training.average import update_average
from brainsynth_jax.training.optimizer import (
    add_weight_decay,
    make_adam,
    make_schedule,
    make_sgd,
    update_params,
)


def test_the_rate_is_constant_by_default():
    assert [float(make_schedule(2e-4, 100)(step)) for step in (0, 50, 99)] == [2e-4] * 3


def test_the_rate_falls_linearly_over_the_last_steps():
    schedule = make_schedule(1.0, total_steps=100, decay_steps=40)
    rates = [float(schedule(step)) for step in (0, 60, 70, 80, 100)]
    assert rates == pytest.approx([1.0, 1.0, 0.75, 0.5, 0.0])


def test_adam_by_hand():
    """Two updates of Kingma and Ba, algorithm 1, with beta1 0.5, beta2 0.999, epsilon 1e-8."""
    adam = make_adam(make_schedule(0.1, 10))
    param, moments = jnp.float32(1.0), adam.init(jnp.float32(1.0))
    m = v = 0.0
    expected = 1.0
    for t, gradient in enumerate((0.3, -0.2), start=1):
        m, v = 0.5 * m + 0.5 * gradient, 0.999 * v + 0.001 * gradient**2
        expected -= 0.1 * (m / (1 - 0.5**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        update, moments = adam.update(jnp.float32(gradient), moments, param)
        param = optax.apply_updates(param, update)
    assert float(param) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_an_update_is_the_optimisers_own(decay):
    adam = add_weight_decay(make_adam(make_schedule(0.1, 10)), decay)
    params = {"w": jax.random.normal(jax.random.key(0), (4, 3)), "b": jnp.ones(3)}
    gradients = jax.tree.map(lambda x: 0.3 - x, params)
    moments = adam.init(params)
    updates, moments_wanted = adam.update(gradients, moments, params)
    wanted = optax.apply_updates(params, updates), moments_wanted
    jax.tree.map(
        np.testing.assert_array_equal, update_params(adam, gradients, moments, params), wanted
    )


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="CPU's compiler only")
@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_an_update_copies_neither_weights_nor_moments(decay):
    adam = add_weight_decay(make_adam(make_schedule(0.1, 10)), decay)
    params = {"w": jax.ShapeDtypeStruct((1_000_000,), jnp.float32)}
    moments = jax.eval_shape(adam.init, params)

    def update(params, moments, gradients):
        return update_params(adam, gradients, moments, params)

    compiled = jax.jit(update, donate_argnums=(0, 1)).lower(params, moments, params).compile()
    assert "f32[1000000]{0} copy(" not in compiled.as_text()


def test_weight_decay_is_added_to_the_gradient_before_adam_scales_it():
    """Adam's first update is the rate times the sign of what it is given: 0.3, or 0.3 - 0.5."""
    param, gradient = jnp.float32(-1.0), jnp.float32(0.3)
    for rate, expected in ((0.0, -0.1), (0.5, 0.1)):
        adam = add_weight_decay(make_adam(make_schedule(0.1, 10)), rate)
        update, _ = adam.update(gradient, adam.init(param), param)
        assert float(update) == pytest.approx(expected, rel=1e-5)


def test_sgd_moves_by_the_rate_times_the_gradient_without_momentum():
    sgd = add_weight_decay(make_sgd(make_schedule(0.1, 10)), 0.5)
    moments = sgd.init(jnp.float32(2.0))
    for _ in range(2):
        update, moments = sgd.update(jnp.float32(0.3), moments, jnp.float32(2.0))
        assert float(update) == pytest.approx(-0.1 * (0.3 + 0.5 * 2.0))


def test_the_average_starts_fast_and_ends_at_its_decay():
    zero, one = {"w": jnp.zeros(2)}, {"w": jnp.ones(2)}
    early = update_average(zero, one, jnp.int32(0), 0.99)
    np.testing.assert_allclose(early["w"], 1 - 1 / 10)
    late = update_average(zero, one, jnp.int32(100_000), 0.99)
    np.testing.assert_allclose(late["w"], 0.01, rtol=1e-5)
