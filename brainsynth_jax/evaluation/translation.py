"""How far translated images are from where they should be, in the CycleGAN paper's own rows.

Images are float arrays of one shape in [-1, 1]. The paper's Table 2 and equations 6 to 10 are
rebuilt here. Its text calls `Dis_A` and `Dis_B` sums, but the printed numbers are half sums,
(real + fake) / 2; the U-Net's `Dis_B` alone fits neither.
"""

import numpy as np

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
    return float(np.mean(np.square(_difference(image, target))))


def mae(image: np.ndarray, target: np.ndarray) -> float:
    """Mean absolute error of two equally shaped arrays in [-1, 1]: 0 to 2."""
    return float(np.mean(np.abs(_difference(image, target))))


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


def _difference(image: np.ndarray, target: np.ndarray) -> np.ndarray:
    image, target = np.asarray(image, np.float64), np.asarray(target, np.float64)
    if image.shape != target.shape:
        raise ValueError(f"Images of one shape are needed, got {image.shape} and {target.shape}.")
    return image - target
