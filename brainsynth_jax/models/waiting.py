"""When the compiler is to compute something: late, so as not to keep it, or by itself."""

from jax import Array, lax


def wait_for(other: Array, x: Array) -> Array:
    """`x`, of which nothing can be computed until `other` is there.

    On the way back a layer often makes something large of an image that it has kept. XLA on a CPU
    makes it as early as it can, on the way forwards, and keeps that too. It does not heed
    `lax.optimization_barrier`; but for a number times 0, which might be infinite, it has to wait.

    Args:
        other: finite, of any shape but an empty one.
        x: of any shape.
    """
    return x + 0 * lax.stop_gradient(other)[(0,) * other.ndim]


def isolate(x: Array) -> Array:
    """`x`, images of any number of channels, which XLA cannot fuse with a sum over its pixels.

    As in `wait_for`, each pixel waits; for the first one of its own image, so that a value that is
    not finite spoils no other image.

    Args:
        x: (N, H, W, C).
    """
    return x + 0 * lax.stop_gradient(x[:, :1, :1])
