"""When the compiler is to compute something: late, so as not to keep it, once, or by itself."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.custom_derivatives import CustomVJPPrimal


def wait_for(other: Array, x: Array) -> Array:
    """`x`, of which nothing can be computed until `other` is there.

    On the way back a layer often makes something large of an image that it has kept. XLA on a CPU
    makes it as early as it can, on the way forwards, and keeps that too. It does not heed
    `lax.optimization_barrier`; but for a number times 0, which might be infinite, it has to wait.
    XLA does not compute a tanh again for each pixel of `x`, so that `other` need not be kept.

    Args:
        other: finite, of any shape but an empty one.
        x: numbers or random keys, of any shape.
    """
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        data = wait_for(other, jax.random.key_data(x))
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(x))
    zero = 0 * lax.tanh(lax.stop_gradient(other)[(0,) * other.ndim])
    return x + zero.astype(x.dtype)


def compute_once(x: Array) -> Array:
    """`x`, which XLA on a CPU computes once and keeps, however little time it takes.

    It would compute a sum or a product again in each place where that is needed; a division not.

    Args:
        x: finite, else it becomes NaN; of any shape.
    """
    return x / (1 + 0 * lax.stop_gradient(x))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def rematerialize(function: Callable[[Any, Array], Array], x: Any, other: Array) -> Array:
    """`function(x, other)`, which keeps these two for its gradient and nothing made of them.

    What it makes of `x` is made again once the gradient is there; as `jax.checkpoint` would have
    it, but heeded on a CPU.

    Args:
        function: of `x` and `other`.
        x: images, kernels or a tree of them.
        other: what waits for nothing.
    """
    return function(x, other)


def _rematerialize_forward(
    function: Callable[[Any, Array], Array], x: Any, other: Array
) -> tuple[Array, tuple[Any, Array]]:
    return function(x, other), (x, other)


def _rematerialize_backward(
    function: Callable[[Any, Array], Array], operands: tuple[Any, Array], gradient: Array
) -> tuple[Any, Array]:
    x, other = operands
    x = jax.tree.map(partial(wait_for, gradient), x)
    _, pull_back = jax.vjp(function, x, other)
    return pull_back(gradient)


rematerialize.defvjp(_rematerialize_forward, _rematerialize_backward)


@jax.custom_vjp
def order_gradients(x: Any, kernel: Array) -> tuple[Any, Array]:
    """`x` and `kernel`, whose gradient is there after that of `x`.

    The latter is made with the kernel's help. Only when the kernel's gradient comes after it may an
    optimiser overwrite the kernel; else XLA copies the kernel before the step.

    Args:
        x: an image or a tree of them.
        kernel: of the layer that takes them.
    """
    return x, kernel


def _order_forward(x: Any, kernel: CustomVJPPrimal) -> tuple[tuple[Any, Array], list[Any]]:
    """Keeps, for each image, () or nothing: whether it has a gradient that can be waited for."""
    differentiated = [() if leaf.perturbed else None for leaf in jax.tree.leaves(x, is_leaf=_holds)]
    return jax.tree.map(lambda leaf: leaf.value, (x, kernel), is_leaf=_holds), differentiated


def _holds(leaf: Any) -> bool:
    return isinstance(leaf, CustomVJPPrimal)


def _order_backward(differentiated: list[Any], gradients: tuple[Any, Array]) -> tuple[Any, Array]:
    of_x, of_kernel = gradients
    for gradient, is_wanted in zip(jax.tree.leaves(of_x), differentiated, strict=True):
        if is_wanted is not None:
            of_kernel = wait_for(gradient, of_kernel)
    return of_x, of_kernel


order_gradients.defvjp(_order_forward, _order_backward, symbolic_zeros=True)


def isolate(x: Array) -> Array:
    """`x`, images of any number of channels, which XLA cannot fuse with a sum over its pixels.

    As in `wait_for`, each pixel waits; for the first one of its own image, so that a value that is
    not finite spoils no other image.

    Args:
        x: (N, H, W, C).
    """
    return x + 0 * lax.stop_gradient(x[:, :1, :1])
