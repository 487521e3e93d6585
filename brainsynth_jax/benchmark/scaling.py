"""What a step costs on many devices: its own time, and the time in which they talk.

A step's images stay as many for each device (weak scaling). Nothing is taken to overlap: a step
ends with its gradients' mean, and the next needs it.
"""

import math
from typing import Any, NamedTuple

import jax

from brainsynth_jax.benchmark.jax_steps import create_state
from brainsynth_jax.benchmark.workload import CYCLEGANS, Workload

_FLOAT = 4  # bytes
_POOLS = 2


class Network(NamedTuple):
    """How devices are joined.

    Attributes:
        devices_per_host: within a host.
        inside_bytes: a second, from each device to others of its host and at the same time back.
        between_bytes: a second, from each host to others and at the same time back.
        latency_seconds: of a message between hosts.
    """

    devices_per_host: int
    inside_bytes: float
    between_bytes: float
    latency_seconds: float


class Talk(NamedTuple):
    """What devices tell each other in a step, in bytes.

    Attributes:
        averaged: gradients of all networks, whose mean over devices each device gets.
        gathered: of each device's images, what every other device gets: a CycleGAN's fakes, which
            all take through their copies of the pool.
        rounds: one after the other, for the generators' and for the discriminators' gradients.
    """

    averaged: int
    gathered: int
    rounds: int


def count_talk(workload: Workload) -> Talk:
    """What a step of the workload, its batch being one device's, tells others."""
    state = jax.eval_shape(lambda: create_state(workload))
    if workload.name in CYCLEGANS:
        picture = _FLOAT * workload.image_size**2
        networks = state.generators, state.discriminators
        return Talk(_count_bytes(networks), _POOLS * workload.batch_size * picture, rounds=4)
    return Talk(_count_bytes((state.generator, state.discriminator)), 0, rounds=2)


def talk_seconds(talk: Talk, devices: int, network: Network) -> float:
    """How long devices talk in a step.

    A mean is taken within each host, then between hosts, each as a ring, which sends every byte
    twice but for the share of the own (Patarasuk and Yuan, 2009, doi 10.1016/j.jpdc.2008.09.002,
    equation 3); gathering sends it once. A round waits for messages along a tree of hosts and back.
    """
    inside = min(devices, network.devices_per_host)
    hosts = math.ceil(devices / network.devices_per_host)
    averaging = (
        2
        * talk.averaged
        * (_others(inside) / network.inside_bytes + _others(hosts) / network.between_bytes)
    )
    rest = talk.gathered * (
        (devices - 1) / network.inside_bytes + (hosts - 1) * inside / network.between_bytes
    )
    waiting = talk.rounds * 2 * math.ceil(math.log2(hosts)) * network.latency_seconds
    return averaging + rest + waiting


def efficiency(step_seconds: float, talk: Talk, devices: int, network: Network) -> float:
    """The images a second of each of the devices, over those of one alone."""
    return step_seconds / (step_seconds + talk_seconds(talk, devices, network))


def _others(count: int) -> float:
    return (count - 1) / count


def _count_bytes(networks: Any) -> int:
    return _FLOAT * sum(leaf.size for leaf in jax.tree.leaves(networks))
