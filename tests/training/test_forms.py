"""Fast forms of layers change how a step is computed, never what it does."""

import jax
import numpy as np
import pytest

from brainsynth_jax.benchmark.jax_steps import create_state, make_step
from brainsynth_jax.benchmark.workload import Workload, make_batch
from brainsynth_jax.models.convolution import plain_forms

STEPS = 2  # of more, rounding errors grow tenfold with each


def train(workload):
    """The losses of some steps, and how far each weight went in the first."""
    step = jax.jit(make_step(workload)())
    state, batch, key = create_state(workload), make_batch(workload), jax.random.key(1)
    weights, losses = [weights_of(state)], []
    for _ in range(STEPS):
        state, metrics = step(state, batch, key)
        losses.append(metrics)
        weights.append(weights_of(state))
    return losses, weights[1] - weights[0]


def weights_of(state):
    """One vector of all."""
    names = ("generators", "discriminators", "generator", "discriminator")
    leaves = jax.tree.leaves([getattr(state, name, {}) for name in names])
    return np.concatenate([np.ravel(leaf) for leaf in leaves])


@pytest.mark.parametrize(
    ("name", "size", "width", "of_losses", "of_distance"),
    [("cyclegan-resnet", 64, 16, 2e-3, 5e-2), ("dcgan", 256, 8, 1e-4, 1e-3)],
)
def test_several_steps_agree_with_the_plain_form(name, size, width, of_losses, of_distance):
    """Within a part of each loss and of the distance that the weights go.

    Adam makes whole steps of small gradients, and rounding errors of the smallest their sign.
    """
    workload = Workload(name, batch_size=2, image_size=size, width=width, random=False)
    losses, gone = train(workload)
    with plain_forms():
        plain_losses, plain_gone = train(workload)
    for found, wanted in zip(losses, plain_losses, strict=True):
        for term, value in wanted.items():
            assert float(found[term]) == pytest.approx(float(value), rel=of_losses, abs=1e-5), term
    error, distance = np.linalg.norm(gone - plain_gone), np.linalg.norm(plain_gone)
    assert error < of_distance * distance
