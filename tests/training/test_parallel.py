import jax
import pytest

from brainsynth_jax.errors import UserError
from brainsynth_jax.training.parallel import check_batch_size, choose_devices


@pytest.mark.parametrize(
    ("batch_size", "devices", "fitting"), [(1, 4, "such as 4"), (10, 4, "such as 8 or 12")]
)
def test_a_batch_that_devices_cannot_share_is_refused_with_sizes_that_fit(
    batch_size, devices, fitting
):
    with pytest.raises(UserError, match=f"--batch_size={batch_size}.*{devices} devices.*{fitting}"):
        check_batch_size(batch_size, devices)


def test_a_batch_that_devices_can_share_passes():
    check_batch_size(8, 4)
    check_batch_size(1, 1)


def test_devices():
    assert choose_devices(0) == jax.local_devices()
    assert choose_devices(1) == jax.local_devices()[:1]
    with pytest.raises(UserError, match=r"--devices=9.*has 2"):
        choose_devices(9)
