"""Winograd's filtering against NumPy's correlation and XLA's convolution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from brainsynth_jax.models.winograd import transforms, winograd_conv

FILTERS = [(2, 2), (3, 2), (4, 2), (2, 3), (4, 3), (6, 3), (2, 4), (3, 4)]


@pytest.mark.parametrize(("outputs", "taps"), FILTERS)
def test_the_matrices_filter(outputs, taps):
    rng = np.random.default_rng(0)
    tile, kernel = rng.normal(size=outputs + taps - 1), rng.normal(size=taps)
    output, of_kernel, of_tile = transforms(outputs, taps)
    found = output @ ((of_kernel @ kernel) * (of_tile @ tile))
    np.testing.assert_allclose(found, np.correlate(tile, kernel, "valid"), atol=1e-13)


def direct(x, kernel):
    return lax.conv_general_dilated(
        x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@pytest.mark.parametrize(("outputs", "taps"), [(2, 3), (4, 3), (3, 4)])
@pytest.mark.parametrize("side", [11, 12, 13])  # whole tiles, and tiles that stick out
def test_it_is_within_a_ten_thousandth_of_float64_with_its_gradients(outputs, taps, side):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, side, side + 1, 32))
    kernel = rng.normal(size=(taps, taps, 32, 24)) * 0.02

    def with_gradients(form, *arguments):
        result, pull_back = jax.vjp(form, *arguments)
        return result, *pull_back(jnp.cos(result))

    ours = with_gradients(
        lambda x, kernel: winograd_conv(x, kernel, outputs), jnp.float32(x), jnp.float32(kernel)
    )
    with jax.enable_x64(True):
        exact = with_gradients(direct, jnp.asarray(x), jnp.asarray(kernel))
    for found, truth in zip(ours, exact, strict=True):
        assert found.dtype == jnp.float32
        error = np.abs(np.asarray(found, np.float64) - np.asarray(truth)).max()
        assert error < 1e-4 * np.abs(np.asarray(truth)).max()
