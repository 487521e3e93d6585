"""The papers' optimisers and learning-rate schedules."""

from typing import Any

import jax
import optax

from brainsynth_jax.models.waiting import compute_once

Params = Any


def update_params(
    optimizer: optax.GradientTransformation,
    gradients: Params,
    moments: optax.OptState,
    params: Params,
) -> tuple[Params, optax.OptState]:
    """One update: the new weights and the new state of the optimiser.

    The state is made to wait for the weights, by adding nothing of theirs to it. XLA on a CPU would
    else write both at once, and would have to copy the old state for that: 2.4 times the time of an
    update, and a third of the state in memory.
    """
    updates, changed = optimizer.update(gradients, moments, params)
    params = optax.apply_updates(params, updates)
    changed = optax.tree_map_params(
        optimizer, lambda moment, param: moment + 0 * param.ravel()[0], changed, params
    )
    return params, changed


def make_schedule(learning_rate: float, total_steps: int, decay_steps: int = 0) -> optax.Schedule:
    """Constant, then falling linearly to zero over the last `decay_steps` steps.

    Args:
        learning_rate: of the constant part.
        total_steps: length of the run.
        decay_steps: 0 for a constant rate (the CycleGAN paper), half of the run for CycleGAN's
            own practice.
    """
    if decay_steps == 0:
        return optax.constant_schedule(learning_rate)
    fall = optax.linear_schedule(learning_rate, 0.0, decay_steps)
    return optax.join_schedules(
        [optax.constant_schedule(learning_rate), fall], [total_steps - decay_steps]
    )


def make_adam(
    schedule: optax.Schedule, beta1: float = 0.5, epsilon: float = 1e-8
) -> optax.GradientTransformation:
    """Adam with beta2 0.999; both papers set beta1 to 0.5."""
    return optax.adam(schedule, b1=beta1, b2=0.999, eps=epsilon)


def add_weight_decay(
    optimizer: optax.GradientTransformation, rate: float
) -> optax.GradientTransformation:
    """The optimiser on gradients to which `rate` times the weights was added.

    This is the weight decay of the DCGAN paper's framework, an L2 term of the loss (all weights,
    norms and biases included), which Adam scales with the rest. AdamW's decoupled decay is not the
    same thing.
    """
    return optax.chain(_add_decayed_weights(rate), optimizer) if rate else optimizer


def _add_decayed_weights(rate: float) -> optax.GradientTransformation:
    """As optax's, computed once.

    Else the moments' updates would add up again, and for that would need the weights from before
    their update: XLA would copy them.
    """

    def add(gradients: Params, params: Params) -> Params:
        return jax.tree.map(lambda g, p: compute_once(g + rate * p), gradients, params)

    return optax.stateless(add)


def make_sgd(schedule: optax.Schedule) -> optax.GradientTransformation:
    """Plain stochastic gradient descent, without momentum: the DCGAN paper's trial."""
    return optax.sgd(schedule)
