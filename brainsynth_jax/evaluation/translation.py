"""How far translated images are from where they should be, and the CycleGAN paper's own rows.

Images are float arrays of one shape in [-1, 1]. Slices of one subject are no independent evidence,
so the scores of images are averaged over each subject first, and then over subjects.

The paper's Table 2 and equations 6 to 10 are rebuilt here. Its text calls `Dis_A` and `Dis_B` sums,
but the printed numbers are half sums, (real + fake) / 2; the U-Net's `Dis_B` alone fits neither.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from brainsynth_jax.evaluation.bootstrap import summarize
from brainsynth_jax.evaluation.chunks import in_chunks
from brainsynth_jax.evaluation.similarity import DATA_RANGE, ssim

_IMAGES_A_CALL = 32
_ROUNDING = 1e-3  # so far outside [-1, 1] an image may be

PUBLISHED_TABLE2 = {
    "resnet": {
        "Dis": 0.430,
        "Dis_A": 0.206,
        "Dis_fakeA": 0.282,
        "Dis_realA": 0.131,
        "Dis_B": 0.223,
        "Dis_fakeB": 0.252,
        "Dis_realB": 0.195,
        "Gen": 1.338,
        "Gen_AB": 1.185,
        "Gen_BA": 1.125,
    },
    "unet": {
        "Dis": 4.890e-3,
        "Dis_A": 2.358e-3,
        "Dis_fakeA": 8.767e-4,
        "Dis_realA": 3.840e-3,
        "Dis_B": 2.532e-3,
        "Dis_fakeB": 3.000e-3,
        "Dis_realB": 1.027e-3,
        "Gen": 2.572,
        "Gen_AB": 1.591,
        "Gen_BA": 1.549,
    },
}


def mse(image: np.ndarray, target: np.ndarray) -> float:
    """Mean squared error of two equally shaped arrays in [-1, 1]: 0 to 4."""
    return float(_errors(np.square, image, target).mean())


def mae(image: np.ndarray, target: np.ndarray) -> float:
    """Mean absolute error of two equally shaped arrays in [-1, 1]: 0 to 2."""
    return float(_errors(np.abs, image, target).mean())


def psnr(images: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio of each image with its target, in dB: 10 log10(4 / MSE).

    (N, ...) and the same -> (N,) float64, from 0 on. 4 is the squared range of [-1, 1]. Infinite
    where the two are identical.
    """
    with np.errstate(divide="ignore"):
        return 10 * np.log10(DATA_RANGE**2 / _errors(np.square, images, targets))


def score_translation(
    images: np.ndarray, targets: np.ndarray, subjects: Sequence[str], seed: int
) -> dict[str, dict]:
    """Four scores of images beside their targets: by image, then by subject, then over subjects.

    Args:
        images: (N, S, S, 1) in [-1, 1], N at least 1 and S at least 11.
        targets: the same shape, the truth of each.
        subjects: N names.
        seed: of the bootstrap.

    Returns:
        What `bootstrap.summarize` gives for `mse`, `mae` (the scale's own units), `psnr` (dB) and
        `ssim`. A pair that is identical has no finite PSNR and is left out of its subject's, which
        is undefined if no pair is left; so `psnr` holds besides `identical`, the number of images
        left out. JSON-safe.

    Raises:
        ValueError: different numbers or shapes, none at all, smaller than SSIM's window, or values
            that are not in [-1, 1].
    """
    _check_pairs(images, targets, subjects)
    return summarize_translation(score_images(images, targets), subjects, seed)


def score_images(images: np.ndarray, targets: np.ndarray) -> dict[str, np.ndarray]:
    """`mse`, `mae`, `psnr` (infinite for identical pairs) and `ssim`, (N,) each.

    Arguments and errors are those of `score_translation`.
    """
    _check_pairs(images, targets, range(len(images)))
    return {
        "mse": _errors(np.square, images, targets),
        "mae": _errors(np.abs, images, targets),
        "psnr": psnr(images, targets),
        "ssim": in_chunks(ssim, _IMAGES_A_CALL, images, targets),
    }


def summarize_translation(
    scores: Mapping[str, np.ndarray], subjects: Sequence[str], seed: int
) -> dict[str, dict]:
    """What `score_translation` returns, from what `score_images` returns."""
    summaries = {
        name: summarize(list(average_by_subject(values, subjects).values()), seed)
        for name, values in scores.items()
    }
    summaries["psnr"]["identical"] = int(np.isinf(scores["psnr"]).sum())
    return summaries


def average_by_subject(values: np.ndarray, subjects: Sequence[str]) -> dict[str, float | None]:
    """The mean of each subject's finite values, None without one; subjects in name order.

    Raises:
        ValueError: another number of subjects than of values.
    """
    if len(values) != len(subjects):
        raise ValueError(
            f"A subject for each image is needed, got {len(subjects)} for {len(values)}."
        )
    names, means = np.asarray(subjects), {}
    for name in sorted(set(subjects)):
        finite = values[(names == name) & np.isfinite(values)]
        means[name] = float(finite.mean()) if len(finite) else None
    return means


def score_hidden_channel(
    images: np.ndarray,
    cycled: np.ndarray,
    disturbed: Mapping[str, np.ndarray | None],
    subjects: Sequence[str],
    seed: int,
) -> dict[str, dict]:
    """How much worse images come back where what was made of them was disturbed on the way.

    A CycleGAN hides the image in its translation, in a signal too faint to see (Chu et al., 2017,
    arXiv 1712.02950): the cycle error is then small, whatever the translation shows. A disturbance
    that leaves the visible content alone tells: a ratio of 1 means that nothing was hidden. A ratio
    above 1 is a sign and no proof, since the way back may also stumble over what it was not trained
    on. A mask rounded to its grey levels is of the kind it was trained on, but for soft edges,
    which move. Noise drowns only what is fine and faint: broad shades outlast it.

    Args:
        images: (N, S, S, 1) in [-1, 1], N at least 1.
        cycled: the same shape, the images sent there and back.
        disturbed: by name, the same with the disturbance in between, or None.
        subjects: N names.
        seed: of the bootstrap.

    Returns:
        `mae`: `plain` and each of `disturbed`, the mean absolute error; `ratio`: each of
        `disturbed`, that error by the plain one, subject by subject (undefined where the plain one
        is 0). All as `bootstrap.summarize` gives them; None for None. JSON-safe.

    Raises:
        ValueError: as `score_translation`.
    """

    def errors(made: np.ndarray) -> list[float | None]:
        _check_pairs(made, images, subjects)
        return list(average_by_subject(_errors(np.abs, made, images), subjects).values())

    plain = errors(cycled)
    errors_of, ratio = {"plain": summarize(plain, seed)}, {}
    for name, made in disturbed.items():
        if made is None:
            errors_of[name] = ratio[name] = None
            continue
        found = errors(made)
        errors_of[name] = summarize(found, seed)
        pairs = zip(found, plain, strict=True)
        ratio[name] = summarize([error / base if base else None for error, base in pairs], seed)
    return {"mae": errors_of, "ratio": ratio}


def paired_cycle(
    image_a: np.ndarray,
    image_b: np.ndarray,
    fake_a: np.ndarray,
    fake_b: np.ndarray,
    weight: float = 10.0,
) -> float:
    """Equation 9 as printed: weight (mean|B - G_AB(A)| + mean|A - G_BA(B)|).

    It compares each image with its true partner, so `image_b` must be the mask of `image_a`. This
    is a paired error and not the cycle loss, which compares an image with its own way there and
    back and needs no partner.
    """
    return weight * (mae(fake_b, image_b) + mae(fake_a, image_a))


def table2(
    dis_real_a: float,
    dis_fake_a: float,
    dis_real_b: float,
    dis_fake_b: float,
    adv_ab: float,
    adv_ba: float,
    cycle: float,
) -> dict[str, float]:
    """The ten rows of Table 2 from the seven losses that they are made of.

    `dis_real_x` = mean((1 - D_X(x))^2), `dis_fake_x` = mean(D_X(fake)^2), `adv_ab` =
    mean((1 - D_B(G_AB(A)))^2), and `cycle` is both directions' L1 cycle loss times its weight.
    """
    dis_a = (dis_real_a + dis_fake_a) / 2
    dis_b = (dis_real_b + dis_fake_b) / 2
    return {
        "Dis": dis_a + dis_b,
        "Dis_A": dis_a,
        "Dis_fakeA": dis_fake_a,
        "Dis_realA": dis_real_a,
        "Dis_B": dis_b,
        "Dis_fakeB": dis_fake_b,
        "Dis_realB": dis_real_b,
        "Gen": adv_ab + adv_ba + cycle,
        "Gen_AB": adv_ab + cycle,
        "Gen_BA": adv_ba + cycle,
    }


def _errors(
    measure: Callable[[np.ndarray], np.ndarray], images: np.ndarray, targets: np.ndarray
) -> np.ndarray:
    """The mean of `measure(image - target)` for each image, (N,) float64.

    One image at a time: a thousand slices in float64 take half a gigabyte, and so does each step of
    their arithmetic.
    """
    if np.shape(images) != np.shape(targets):
        raise ValueError(
            f"Images of one shape are needed, got {np.shape(images)} and {np.shape(targets)}."
        )
    return np.array(
        [
            measure(np.asarray(image, np.float64) - target).mean()
            for image, target in zip(images, targets, strict=True)
        ]
    )


def _check_pairs(images: np.ndarray, targets: np.ndarray, subjects: Sequence[str]) -> None:
    if not 0 < len(images) == len(targets) == len(subjects):
        raise ValueError(
            "Equally many images, targets and subjects are needed, and at least one, got "
            f"{len(images)}, {len(targets)} and {len(subjects)}."
        )
    for array in (images, targets):
        low, high = array.min(), array.max()
        if not -1 - _ROUNDING <= low <= high <= 1 + _ROUNDING:
            raise ValueError(f"Values in [-1, 1] are needed, got {low:g} to {high:g}.")
