import jax
import numpy as np
import pytest

from brainsynth_jax.errors import UserError
from brainsynth_jax.training.parallel import check_batch_size, choose_devices, mean_over_devices


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


@pytest.mark.parametrize(
    "shapes", [[(), (3, 2)], [(2**15,)], [(3,), (2**8, 2**8), (), (2**15 - 1,), (2**15,)]]
)
def test_the_mean_over_devices_of_each_array_whatever_its_size(shapes):
    rng = np.random.default_rng(0)
    count = jax.local_device_count()
    tree = {str(k): rng.normal(size=(count, *shape)) for k, shape in enumerate(shapes)}
    tree = jax.tree.map(np.float32, tree)
    found = jax.pmap(lambda each: mean_over_devices(each, "batch"), axis_name="batch")(tree)
    for name, values in tree.items():
        for device in range(count):
            expected = values.astype(float).mean(axis=0)
            np.testing.assert_allclose(found[name][device], expected, rtol=1e-6, atol=1e-7)


def test_on_one_device_nothing_is_averaged():
    tree = object()
    assert mean_over_devices(tree, None) is tree
