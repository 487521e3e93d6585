"""The first weights of a network."""

from typing import Any

import jax
from flax import linen as nn
from jax import Array


def initialise(network: nn.Module, key: Array, *example: Array) -> dict[str, Any]:
    """The network's first variables, {"params": ..., "batch_stats": ... where there are any}.

    They are computed once, so XLA is told not to optimise: it compiles eight times sooner, to the
    same numbers.

    Args:
        network: any.
        key: random key.
        example: what the network is called with; only shapes count.
    """
    init = jax.jit(network.init, compiler_options={"xla_backend_optimization_level": 0})
    return init(key, *example)
