"""The first weights of a network."""

from functools import partial
from typing import Any

import jax
from flax import linen as nn
from jax import Array


@partial(jax.jit, static_argnums=0)
def initialise(network: nn.Module, key: Array, *example: Array) -> dict[str, Any]:
    """The network's first variables, {"params": ..., "batch_stats": ... where there are any}.

    Args:
        network: any; two of the same attributes are compiled once.
        key: random key.
        example: what the network is called with; only shapes count.
    """
    return network.init(key, *example)
