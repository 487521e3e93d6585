"""The terms of both papers' losses and of the segmentation network's, each a scalar.

Every term but the Dice is a mean over all its elements, so that values do not depend on batch or
image size.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array


def least_squares_real(scores: Array) -> Array:
    """mean((1 - D(x))^2): how far scores are from "real" (CycleGAN paper, equation 6).

    A discriminator minimises it on real images, a generator on its own (Mao et al., 2017, arXiv
    1611.04076).

    Args:
        scores: any shape, unbounded; 1 means real.
    """
    return jnp.mean(jnp.square(1.0 - scores))


def least_squares_fake(scores: Array) -> Array:
    """mean(D(G(x))^2): how far scores are from "made" (CycleGAN paper, equation 7).

    Args:
        scores: any shape, unbounded; 0 means made.
    """
    return jnp.mean(jnp.square(scores))


def mean_absolute_error(image: Array, other: Array) -> Array:
    """mean|image - other|, the L1 norm of the cycle loss (CycleGAN paper, equation 4).

    Args:
        image: any shape.
        other: the same shape.
    """
    return jnp.mean(jnp.abs(image - other))


def wasserstein_real(scores: Array) -> Array:
    """-mean(D(x)): the score of real images times -1 (DCGAN paper, section III).

    A critic minimises it on real images, a generator on its own (Arjovsky et al., 2017, arXiv
    1701.07875).

    Args:
        scores: any shape, unbounded; higher is more real.
    """
    return -jnp.mean(scores)


def wasserstein_fake(scores: Array) -> Array:
    """mean(D(G(z))): the score of generated images times 1 (DCGAN paper, section III).

    Args:
        scores: any shape, unbounded; higher is more real.
    """
    return jnp.mean(scores)


def hinge_real(scores: Array) -> Array:
    """mean(max(0, 1 - D(x))), for the discriminator only (Lim and Ye, 2017, arXiv 1705.02894).

    Args:
        scores: any shape, unbounded; 1 and above is real enough.
    """
    return jnp.mean(jnp.maximum(0.0, 1.0 - scores))


def hinge_fake(scores: Array) -> Array:
    """mean(max(0, 1 + D(G(z)))), for the discriminator only; the generator's is Wasserstein's.

    Args:
        scores: any shape, unbounded; -1 and below is made enough.
    """
    return jnp.mean(jnp.maximum(0.0, 1.0 + scores))


def gradient_penalty(critic: Callable[[Array], Array], images: Array) -> Array:
    """mean((|gradient of the critic at an image| - 1)^2) (Gulrajani et al., 2017, equation 3).

    The gradient of the sum of scores is each image's own gradient only if no score depends on
    another image, so the critic must not use batch norm.

    Args:
        critic: (N, H, W, C) -> (N,).
        images: (N, H, W, C), between real and made ones.
    """
    gradients = jax.grad(lambda x: critic(x).sum())(images)
    squares = jnp.square(gradients).sum(axis=(1, 2, 3))
    # The root has no derivative at 0.
    return jnp.mean(jnp.square(jnp.sqrt(squares + 1e-12) - 1.0))


def binary_cross_entropy(logits: Array, truth: Array) -> Array:
    """-mean(g log p + (1 - g) log(1 - p)) with p = 1 / (1 + exp(-logit)), in a form that is exact.

    Args:
        logits: any shape, unbounded.
        truth: g, the same shape, 0 or 1.
    """
    return jnp.mean(jax.nn.softplus(logits) - truth * logits)


def soft_dice_loss(logits: Array, truth: Array) -> Array:
    """1 - (2 sum(p g) + 1) / (sum(p) + sum(g) + 1) with p = 1 / (1 + exp(-logit)).

    The overlap that a hard mask is judged by, made smooth (Drozdzal et al., 2016, arXiv
    1608.04117). Sums run over the whole batch, as in nnU-Net: a slice with hardly any tumour does
    not swing it. The 1, of a pixel, keeps it defined where there is no tumour at all.

    Args:
        logits: any shape, unbounded.
        truth: g, the same shape, 0 or 1.
    """
    share = jax.nn.sigmoid(logits)
    return 1 - (2 * jnp.sum(share * truth) + 1) / (jnp.sum(share) + jnp.sum(truth) + 1)
