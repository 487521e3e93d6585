"""The exponential moving average of a network's weights."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

Params = Any


def update_average(average: Params, params: Params, step: Array, decay: float) -> Params:
    """decay * average + (1 - decay) * params.

    The decay starts low and rises to `decay`, min(decay, (1 + step) / (10 + step)), so that a short
    run's average is not still its first weights.

    Args:
        average: pytree of float32.
        params: a pytree like it.
        step: () int32, updates done before this one.
        decay: in [0, 1).
    """
    step = step.astype(jnp.float32)
    decay = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda old, new: old + (1.0 - decay) * (new - old), average, params)
