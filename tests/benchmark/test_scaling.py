"""How long devices talk, by hand."""

import pytest

from brainsynth_jax.benchmark.scaling import Network, Talk, count_talk, efficiency, talk_seconds
from brainsynth_jax.benchmark.workload import Workload

NETWORK = Network(devices_per_host=8, inside_bytes=100e9, between_bytes=10e9, latency_seconds=1e-5)


def test_one_device_does_not_talk():
    assert talk_seconds(Talk(10**9, 10**6, 2), 1, NETWORK) == 0
    assert efficiency(0.1, Talk(10**9, 10**6, 2), 1, NETWORK) == 1


def test_a_ring_sends_all_but_the_own_share_twice():
    assert talk_seconds(Talk(10**9, 0, 0), 2, NETWORK) == pytest.approx(0.01)
    assert talk_seconds(Talk(10**9, 0, 0), 8, NETWORK) == pytest.approx(2 * 7 / 8 * 0.01)
    between = 2 * 7 / 8 * 0.01 + 2 * 1 / 2 * 0.1
    assert talk_seconds(Talk(10**9, 0, 0), 16, NETWORK) == pytest.approx(between)


def test_gathering_brings_every_other_devices_images():
    assert talk_seconds(Talk(0, 10**6, 0), 8, NETWORK) == pytest.approx(7e6 / 100e9)


def test_messages_wait_along_a_tree_of_hosts():
    assert talk_seconds(Talk(0, 0, 3), 64, NETWORK) == pytest.approx(3 * 2 * 3 * 1e-5)


def test_efficiency_is_the_share_of_time_in_which_a_step_is_taken():
    assert efficiency(0.03, Talk(10**9, 0, 0), 2, NETWORK) == pytest.approx(0.75)


def test_what_a_step_tells_is_counted_from_its_networks():
    """The papers' parameters, as the benchmark's README has them, of four bytes."""
    resnet = count_talk(Workload("cyclegan-resnet", batch_size=2))
    assert resnet.averaged == pytest.approx(4 * 2 * (11.37e6 + 2.76e6), rel=0.01)
    assert resnet.gathered == 2 * 2 * 256 * 256 * 4
    assert count_talk(Workload("dcgan", batch_size=8)).gathered == 0
