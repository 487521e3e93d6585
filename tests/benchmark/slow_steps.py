"""What a contender's process builds in the tests."""

import os
import signal
import time

from brainsynth_jax.benchmark.contender import Ready


def prepare(seconds):
    """A step that sleeps."""
    return Ready(lambda: time.sleep(seconds), {"process": os.getpid()})


def prepare_greedy(mebibytes):
    """A step that holds memory while it lasts."""
    return Ready(lambda: bytearray(mebibytes << 20), {})


def fail_at_once():
    """Cannot be built."""
    raise ValueError("no such form")


def fail_in_step():
    """Cannot take its step."""

    def run():
        raise ValueError("out of luck")

    return Ready(run, {})


def prepare_victim():
    """A step that the system kills."""
    return Ready(lambda: os.kill(os.getpid(), signal.SIGKILL), {})


def die():
    """Takes its process with it."""
    os._exit(3)


def prepare_peer(workload, form, weights):
    """A peer of three forms, which wants weights."""
    assert weights["generator"]
    if form == "broken":
        return fail_in_step()
    return Ready(lambda: time.sleep({"fast": 0.1, "slow": 0.4}[form]), {"version": "1.0"})
