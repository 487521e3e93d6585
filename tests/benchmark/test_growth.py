import pytest

from brainsynth_jax.benchmark.growth import list_growth
from brainsynth_jax.benchmark.workload import PAPER_WIDTHS


@pytest.mark.parametrize("name", [name for name in PAPER_WIDTHS if name != "dcgan-sampling"])
def test_one_thing_is_changed_at_a_time(name):
    (_, first), *_ = listed = list(list_growth(name))
    base = first._replace(image_size=256 if name == "cyclegan-unet" else 128)
    for changed, workload in listed:
        assert workload._replace(**{changed: getattr(base, changed)}) == base
    batches = [workload.batch_size for changed, workload in listed if changed == "batch_size"]
    assert batches == [1, 2, 4, 8, 16, 32]
    assert {changed for changed, _ in listed} == {"image_size", "batch_size", "width"}
