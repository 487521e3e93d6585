"""A workload's time, memory and operations, and its peers' time beside it, in one record."""

import os
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median, quantiles
from typing import Any

import jax

from brainsynth_jax.benchmark import machine
from brainsynth_jax.benchmark.contender import Contender, Failed, Ready
from brainsynth_jax.benchmark.jax_steps import export_weights, prepare_step
from brainsynth_jax.benchmark.operations import count_operations
from brainsynth_jax.benchmark.workload import Workload

_WARM_UP_STEPS = 2
# What the project's scripts set for themselves.
_ALLOCATOR_SETTINGS = "GLIBC_TUNABLES"


def time_workload(
    workload: Workload,
    rounds: int,
    forms: Sequence[str] = (),
    prepare_peer: Callable[[Workload, str, Mapping[str, Any]], Ready] | None = None,
) -> dict[str, Any]:
    """A record of the project's step: compiled, taken, and compiled once more from JAX's cache.

    Args:
        workload: what is timed.
        rounds: steps of each contender, one at a time in random order.
        forms: of the peer; the fastest one's time is in the record. A form that cannot be built or
            take its first steps here is told and left out.
        prepare_peer: of the workload, a form and each network's weights.

    Raises:
        Failed: the project's own step cannot be built or taken, or a peer fails later than in its
            first steps, as where memory runs out.
    """
    with tempfile.TemporaryDirectory() as cache_dir:
        with ExitStack() as stack:
            ours = stack.enter_context(_warmed_up(prepare_step, workload, cache_dir))
            peers, weights = {}, export_weights(workload) if forms else {}
            for form in forms:
                try:
                    with _default_allocator():
                        peer = _warmed_up(prepare_peer, workload, form, weights)
                        peers[form] = stack.enter_context(peer)
                except Failed as failure:
                    print(f"warning: PyTorch, {form}, is left out: {failure}.")
            seconds = take_turns({"jax": ours} | peers, rounds)
            record = _describe_step(workload, ours, seconds.pop("jax"))
            if peers:
                record |= _describe_fastest(peers, seconds, record["seconds"])
        with Contender(prepare_step, workload, cache_dir) as again:
            return record | {"compile_seconds_from_cache": again.facts["compile_seconds"]}


@contextmanager
def _warmed_up(build: Callable[..., Ready], *arguments: Any) -> Iterator[Contender]:
    """A contender that has taken its first steps; only what it holds from now on counts."""
    with Contender(build, *arguments) as contender:
        for _ in range(_WARM_UP_STEPS):
            contender.step()
        contender.forget_peak()
        yield contender


@contextmanager
def _default_allocator() -> Iterator[None]:
    """Processes started in here have the system's memory settings, as a peer's users have them."""
    kept = os.environ.pop(_ALLOCATOR_SETTINGS, None)
    try:
        yield
    finally:
        if kept is not None:
            os.environ[_ALLOCATOR_SETTINGS] = kept


def take_turns(contenders: Mapping[str, Contender], rounds: int) -> dict[str, list[float]]:
    """Seconds of each one's steps; in each round one step of each, in random order.

    Before it a contender takes one that does not count: in training a step follows another, and
    nobody takes caches and memory away in between.
    """
    seconds = {name: [] for name in contenders}
    for _ in range(rounds):
        for name in random.sample(list(contenders), len(contenders)):
            contenders[name].step()
            seconds[name].append(contenders[name].step())
    return seconds


def spread(seconds: Sequence[float]) -> float:
    """The width of the middle half."""
    if len(seconds) < 2:
        return 0.0
    low, _, high = quantiles(seconds, n=4, method="inclusive")
    return high - low


def _describe_step(workload: Workload, step: Contender, seconds: list[float]) -> dict[str, Any]:
    operations = count_operations(workload)
    rate = machine.product_rate(workload.precision)
    return {
        "name": workload.name,
        "backend": jax.default_backend(),
        "precision": workload.precision,
        "batch_size": workload.batch_size,
        "image_size": workload.image_size,
        "width": workload.first_channels,
        "jax_version": jax.__version__,
        "seconds": seconds,
        "seconds_median": median(seconds),
        "seconds_spread": spread(seconds),
        "peak_memory_mib": step.peak_memory_mib(),
        "flops": operations,
        "xla_flops": step.facts["xla_flops"],
        "product_rate": rate,
        "share_of_product_rate": operations / median(seconds) / rate,
        "import_seconds": step.import_seconds,
        "trace_seconds": step.facts["trace_seconds"],
        "compile_seconds": step.facts["compile_seconds"],
    }


def _describe_fastest(
    peers: Mapping[str, Contender], seconds: Mapping[str, list[float]], ours: list[float]
) -> dict[str, Any]:
    form = min(peers, key=lambda form: median(seconds[form]))
    return {
        "torch_form": form,
        "torch_version": peers[form].facts["version"],
        "torch_seconds": seconds[form],
        "torch_seconds_median": median(seconds[form]),
        "torch_seconds_spread": spread(seconds[form]),
        "torch_peak_memory_mib": peers[form].peak_memory_mib(),
        "ratio": median(a / b for a, b in zip(ours, seconds[form], strict=True)),
    }
