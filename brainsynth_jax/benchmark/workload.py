"""What is timed: a training step or the sampler, with the papers' settings.

Knows no framework, so that a peer's process need not load JAX, which would count as its memory.
"""

from typing import NamedTuple

import numpy as np

CYCLEGANS = ("cyclegan-unet", "cyclegan-resnet")
SAMPLING = "dcgan-sampling"
# Channels of the first layers as published.
PAPER_WIDTHS = {"cyclegan-unet": 64, "cyclegan-resnet": 64, "dcgan": 32, SAMPLING: 32}

# The papers'; the values do not change the time.
CYCLEGAN_RATE, DCGAN_RATE, DCGAN_WEIGHT_DECAY = 2e-4, 2e-4, 1e-3


class Workload(NamedTuple):
    """One thing to time.

    Attributes:
        name: one of `PAPER_WIDTHS`.
        precision: one of `blocks.PRECISIONS`.
        batch_size: images in a step, of each domain; slices in a call of the sampler.
        image_size: their height and width.
        width: channels of the networks' first layers; 0 for the paper's.
        random: whether dropout and noise are as in training. Without them two programs can be
            compared number by number; Adam's epsilon is then so large that it does not make steps
            of rounding errors, and the DCGAN has ELUs: among a million values before a ReLU a
            rounding error moves some past its corner, which changes a small batch's gradient by up
            to a hundredth.
    """

    name: str
    precision: str = "float32"
    batch_size: int = 1
    image_size: int = 256
    width: int = 0
    random: bool = True

    @property
    def adam_epsilon(self) -> float:
        """The papers', or one for comparing numbers."""
        return 1e-8 if self.random else 1e-3

    @property
    def first_channels(self) -> int:
        """The width, with the paper's for 0."""
        return self.width or PAPER_WIDTHS[self.name]


def make_batch(workload: Workload) -> dict[str, np.ndarray]:
    """Random images in [-1, 1], the same for every caller."""
    rng = np.random.default_rng(0)
    shape = (workload.batch_size, workload.image_size, workload.image_size, 1)
    names = ("image_a", "image_b") if workload.name in CYCLEGANS else ("image",)
    images = {name: rng.uniform(-1, 1, shape).astype(np.float32) for name in names}
    return images | {"index": np.arange(workload.batch_size, dtype=np.int32)}
