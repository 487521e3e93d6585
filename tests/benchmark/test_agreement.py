"""The programs that are timed against each other are the same program."""

import pytest

from brainsynth_jax.benchmark.workload import Workload

agreement = pytest.importorskip(
    "brainsynth_jax.benchmark.agreement", reason="PyTorch is not installed", exc_type=ImportError
)


@pytest.mark.parametrize(
    ("name", "size"), [("dcgan", 256), ("cyclegan-resnet", 64), ("cyclegan-unet", 256)]
)
def test_the_same_weights_give_the_same_losses(name, size):
    workload = Workload(name, batch_size=2, image_size=size, width=8)
    assert agreement.largest_difference(workload) < 1e-2
