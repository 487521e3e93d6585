import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from brainsynth_jax.evaluation.grid import grid_energy, mean_spectrum


def soft_images(count=24, side=64, seed=0):
    """Discs on black that hold smooth noise with a little grain, much as brains do."""
    rng = np.random.default_rng(seed)
    coarse = gaussian_filter(rng.normal(size=(count, side, side)), (0, 3, 3))
    grain = gaussian_filter(rng.normal(size=(count, side, side)), (0, 0.7, 0.7))
    texture = 0.2 * coarse / coarse.std() + 0.02 * grain / grain.std()
    y, x = np.mgrid[:side, :side] - side / 2
    disc = gaussian_filter((np.hypot(x, y) < 0.35 * side).astype(float), 1)
    return np.clip((texture + 1) * disc - 1, -1, 1)[..., None].astype(np.float32)


def pattern(side, period, shift=0):
    y, x = (np.mgrid[:side, :side] + shift) % period < period // 2
    return np.where(x ^ y, 1, -1)[None, ..., None].astype(np.float32)


def test_spectrum_keeps_power():
    noise = np.random.default_rng(0).normal(0, 0.3, size=(70, 32, 32, 1)).astype(np.float32)
    assert mean_spectrum(noise).mean() == pytest.approx(0.09, rel=0.02)


def test_a_wave_is_found_at_its_frequency_with_its_power():
    wave = np.broadcast_to(0.5 * np.cos(2 * np.pi * np.arange(64) / 4), (1, 64, 64))[..., None]
    spectrum = mean_spectrum(wave)
    assert np.unravel_index(spectrum.argmax(), spectrum.shape) in ((0, 16), (0, 48))
    assert spectrum.sum() / 64**2 == pytest.approx(0.5**2 / 2, rel=1e-5)


def random_fields(side, power, count=40):
    """Power falls as frequency^-power."""
    noise = np.fft.fft2(np.random.default_rng(0).normal(size=(count, side, side)))
    frequency = np.hypot(*np.meshgrid(*2 * [np.fft.fftfreq(side)]))
    frequency[0, 0] = 1
    fields = np.fft.ifft2(noise * frequency ** (-power / 2)).real
    return (fields / fields.std() / 3)[..., None]


@pytest.mark.parametrize("side", [32, 64, 128])
@pytest.mark.parametrize("power", [0, 1, 2, 3])
def test_random_fields_have_no_grid(side, power):
    assert grid_energy(random_fields(side, power)) == pytest.approx(1.03, abs=0.07)


def test_images_of_anatomy_are_near_one():
    assert grid_energy(soft_images()) == pytest.approx(1, abs=0.3)


def test_a_pattern_that_only_one_frequency_holds_has_the_power_it_was_given():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.1, size=(300, 64, 64, 1)).astype(np.float32)
    amplitude = 0.01
    # Of the Hann window's 3 x 3 peak each frequency has 1, 1/4 or 1/16 of the centre's power,
    # which is amplitude^2 S^2 (mean(w)^2 / mean(w^2))^2, w along one axis: (1/4 / (3/8))^2.
    peak = amplitude**2 * 64**2 * (1 / 4 / (3 / 8)) ** 2
    shares = np.outer([1 / 4, 1, 1 / 4], [1 / 4, 1, 1 / 4])
    ratio = np.exp(np.log1p(peak * shares / 0.01).mean())
    expected = (62 + ratio) / 63
    assert expected > 1.03
    noisy = grid_energy(noise + amplitude * pattern(64, 2)) - grid_energy(noise)
    assert noisy == pytest.approx(expected - 1, rel=0.1)


@pytest.mark.parametrize("period", [2, 4, 8])
def test_a_grid_raises_it_with_its_amplitude_wherever_it_begins(period):
    real = soft_images()
    plain = grid_energy(real)

    def with_grid(amplitude, shift=0):
        return grid_energy(real + amplitude * pattern(64, period, shift)) / plain

    assert 1.1 < with_grid(0.01) < with_grid(0.03) < with_grid(0.1)
    assert with_grid(0.03, shift=1) == pytest.approx(with_grid(0.03), rel=0.02)


def test_magnified_pixels_raise_it_and_smoothing_does_not():
    real = soft_images(side=128)
    magnified = real[:, ::4, ::4].repeat(4, axis=1).repeat(4, axis=2)
    assert grid_energy(magnified) > 2 * grid_energy(real)
    blurred = gaussian_filter(real, (0, 1.5, 1.5, 0))
    assert grid_energy(blurred) == pytest.approx(grid_energy(real), rel=0.25)


def test_what_no_picture_can_show_is_no_grid():
    black = np.full((4, 64, 64, 1), -1, np.float32)
    assert grid_energy(black) == pytest.approx(1, abs=1e-3)
    assert grid_energy(black + 2e-5 * pattern(64, 2)) == pytest.approx(1, abs=1e-2)
    assert grid_energy(black + 1e-2 * pattern(64, 2)) > 2


@pytest.mark.parametrize(("side", "measured"), [(24, False), (28, False), (32, True), (100, False)])
def test_images_without_room_for_the_grid_have_no_energy(side, measured):
    assert (grid_energy(np.zeros((2, side, side, 1), np.float32)) is not None) == measured


def test_no_image_is_refused():
    with pytest.raises(ValueError, match="At least one image"):
        grid_energy(np.zeros((0, 64, 64, 1), np.float32))
