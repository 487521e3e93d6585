"""The project's own steps, compiled and ready to be timed."""

import itertools
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import numpy as np

from brainsynth_jax.benchmark.contender import Ready
from brainsynth_jax.benchmark.workload import (
    CYCLEGAN_RATE,
    CYCLEGANS,
    DCGAN_RATE,
    DCGAN_WEIGHT_DECAY,
    SAMPLING,
    Workload,
    make_batch,
)
from brainsynth_jax.models import dcgan, resnet, unet
from brainsynth_jax.models.blocks import PRECISIONS
from brainsynth_jax.models.patch import PatchDiscriminator
from brainsynth_jax.training.cyclegan import CycleGan, create_cyclegan_state
from brainsynth_jax.training.cyclegan import make_train_step as make_cyclegan_step
from brainsynth_jax.training.dcgan import Dcgan, create_dcgan_state, draw_latents, split_keys
from brainsynth_jax.training.dcgan import make_train_step as make_dcgan_step
from brainsynth_jax.training.memory import forget_traces, peak_device_memory_mib
from brainsynth_jax.training.optimizer import add_weight_decay, make_adam, make_schedule
from brainsynth_jax.training.parallel import describe_state, place_state, trace_step
from brainsynth_jax.training.sampler import Sampler

_GENERATORS = {"cyclegan-unet": unet.UnetGenerator, "cyclegan-resnet": resnet.ResnetGenerator}
_SIZE_CHECKS = {"cyclegan-unet": unet.check_image_size, "cyclegan-resnet": resnet.check_image_size}

# Of a step's random draws.
_KEY = 1


def check_image_size(workload: Workload) -> None:
    """Raises UserError unless the workload's networks can take such images."""
    _SIZE_CHECKS.get(workload.name, dcgan.check_image_size)(workload.image_size)


def make_cyclegan(workload: Workload) -> CycleGan:
    """The CycleGAN paper's, with the workload's generator."""
    dtype, width = PRECISIONS[workload.precision], workload.first_channels
    generator = _GENERATORS[workload.name](width=width, dtype=dtype)
    if workload.name == "cyclegan-unet" and not workload.random:
        generator = generator.clone(dropout_rate=0.0)
    adam = make_adam(make_schedule(CYCLEGAN_RATE, 1), epsilon=workload.adam_epsilon)
    discriminator = PatchDiscriminator(width=width, dtype=dtype)
    return CycleGan(generator, discriminator, adam, adam)


def make_dcgan(workload: Workload) -> Dcgan:
    """The DCGAN paper's."""
    shared = {"width": workload.first_channels, "dtype": PRECISIONS[workload.precision]}
    off = {} if workload.random else {"dropout_rate": 0.0, "activation": "elu"}
    quiet = {} if workload.random else {"noise_std": 0.0, "activation": "elu"}
    adam = make_adam(make_schedule(DCGAN_RATE, 1), epsilon=workload.adam_epsilon)
    adam = add_weight_decay(adam, DCGAN_WEIGHT_DECAY)
    generator = dcgan.DcganGenerator(image_size=workload.image_size, **shared, **off)
    return Dcgan(generator, dcgan.DcganDiscriminator(**shared, **quiet), adam, adam)


def create_state(workload: Workload) -> Any:
    """The first state of seed 0."""
    key = jax.random.key(0)
    if workload.name in CYCLEGANS:
        return create_cyclegan_state(make_cyclegan(workload), key, workload.image_size)
    return create_dcgan_state(make_dcgan(workload), key)


def export_weights(workload: Workload) -> dict[str, Any]:
    """Each network's weights in the first state, in NumPy's arrays, by the network's name."""
    state = jax.device_get(create_state(workload))
    if workload.name in CYCLEGANS:
        return {**state.generators, **state.discriminators}
    return {"generator": state.generator, "discriminator": state.discriminator}


def make_step(workload: Workload) -> Callable[..., Any]:
    """What `parallel.trace_step` takes: axis name -> the workload's pure step."""
    if workload.name in CYCLEGANS:
        return partial(make_cyclegan_step, make_cyclegan(workload))
    return partial(make_dcgan_step, make_dcgan(workload))


def draw_batch_latents(workload: Workload) -> Iterator[np.ndarray]:
    """The latents that the DCGAN's steps draw, step after step, (N, latent size)."""
    model, index = make_dcgan(workload), np.arange(workload.batch_size)
    draw = jax.jit(
        lambda step: draw_latents(model, split_keys(jax.random.key(_KEY), step, index)[0])
    )
    for step in itertools.count():
        yield np.asarray(draw(step))


def prepare_step(workload: Workload, cache_dir: str = "") -> Ready:
    """Compiles a training step, or the sampler, for the first device.

    Where `cache_dir` is given, JAX keeps there what it compiled, and takes it from there when it is
    compiled again.

    Its facts: `trace_seconds`, of writing the step down for XLA, and `compile_seconds`, of
    compiling that or taking it from the cache (of the sampler both together, and None);
    `xla_flops`, the floating-point operations of a step as XLA counts them, None where it does not
    say.
    """
    if cache_dir:
        jax.config.update("jax_compilation_cache_dir", cache_dir)
    if workload.name == SAMPLING:
        return _prepare_sampling(workload)
    device = jax.local_devices()[:1]
    batch, key = make_batch(workload), jax.random.key(_KEY)
    start = time.perf_counter()
    described = describe_state(partial(create_state, workload), device)
    traced = trace_step(make_step(workload), device, described, batch, key)
    trace_seconds = time.perf_counter() - start
    step = traced.compile()
    compile_seconds = time.perf_counter() - start - trace_seconds
    state = place_state(create_state(workload), device)  # after compiling, as in a run
    forget_traces()

    def run() -> dict[str, Any]:
        nonlocal state
        state, metrics = step(state, batch, key)
        return jax.block_until_ready((state, metrics))[1]

    facts = {
        "trace_seconds": trace_seconds,
        "compile_seconds": compile_seconds,
        "xla_flops": _count_flops(step),
    }
    return Ready(run, facts, peak_device_memory_mib)


def _prepare_sampling(workload: Workload) -> Ready:
    sampler = Sampler(make_dcgan(workload), images_a_call=workload.batch_size)
    weights = sampler.load(create_state(workload))
    start = time.perf_counter()
    sampler.draw(weights, 0, workload.batch_size)
    compile_seconds = time.perf_counter() - start
    return Ready(
        lambda: {"images": sampler.draw(weights, 0, workload.batch_size)},
        {"trace_seconds": None, "compile_seconds": compile_seconds, "xla_flops": None},
        peak_device_memory_mib,
    )


def _count_flops(step: Any) -> float | None:
    costs = step.cost_analysis()
    return costs.get("flops") if costs else None
