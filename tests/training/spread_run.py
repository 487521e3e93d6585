"""One process of a small run spread over several: python spread_run.py ADDRESS COUNT INDEX FILE.

Process 0 writes to FILE.npz each model's losses and parameters after a few steps, of several seeds.
"""

import sys
from functools import partial

import jax
import numpy as np

from brainsynth_jax.data.pipeline import Part
from brainsynth_jax.training import cyclegan, dcgan, processes
from brainsynth_jax.training.optimizer import make_adam, make_schedule
from brainsynth_jax.training.parallel import (
    choose_devices,
    compile_step,
    place_state,
    share_batch,
)

SEEDS, STEPS, IMAGES = range(3), 3, 4


def make_runs():
    """Name -> model, what makes its step, its state, a batch.

    With an Adam that does not make steps out of rounding errors, as it does of a gradient near 0.
    """
    import test_cyclegan  # which touches devices
    import test_dcgan

    adam = make_adam(make_schedule(2e-4, 100), epsilon=1e-3)

    return {
        "cyclegan": (
            test_cyclegan.small_model(
                pool_size=3, discriminator_noise=0.1, average_decay=0.9
            )._replace(generator_optimizer=adam, discriminator_optimizer=adam),
            cyclegan.make_train_step,
            lambda model, key: cyclegan.create_cyclegan_state(model, key, test_cyclegan.SIZE),
            lambda seed: test_cyclegan.random_batch(seed, IMAGES),
        ),
        "dcgan": (
            test_dcgan.small_model(
                generator={"dropout_rate": 0.5},
                optimizer=adam,
                discriminator={"norm": "batch", "noise_std": 0.2},
                augmentations=("shift", "cutout"),
                synchronise=True,
            ),
            dcgan.make_train_step,
            dcgan.create_dcgan_state,
            lambda seed: test_dcgan.random_batch(seed, IMAGES),
        ),
        "dcgan, norms of each device": (
            test_dcgan.small_model(discriminator={"norm": "batch"}, optimizer=adam),
            dcgan.make_train_step,
            dcgan.create_dcgan_state,
            lambda seed: test_dcgan.random_batch(seed, IMAGES),
        ),
    }


def train(model, make_train_step, create_state, make_batch):
    """Losses and parameters after the steps, of every seed one after the other."""
    key = jax.random.key(7)
    devices = choose_devices(0)
    part = Part(processes.index(), processes.count()).places(IMAGES)

    def start(seed):
        return place_state(create_state(model, jax.random.key(seed)), devices)

    def batch_of(seed, number):
        batch = make_batch(100 * seed + number)
        own = {name: np.asarray(values)[part.start : part.stop] for name, values in batch.items()}
        return share_batch(own, devices)

    make_step = partial(make_train_step, model)
    step = compile_step(make_step, devices, start(0), batch_of(0, 0), key)
    for seed in SEEDS:
        state = start(seed)
        for number in range(STEPS):
            state, metrics = step(state, batch_of(seed, number), key)
        leaves = [np.ravel(leaf) for leaf in jax.tree.leaves(jax.device_get(state))]
        yield np.array([float(metrics[name]) for name in sorted(metrics)]), np.concatenate(leaves)


def main():
    address, count, index, file = sys.argv[1:]
    if int(count) > 1:
        processes.join(processes.Place(address, int(count), int(index)))
    found = {}
    for name, run in make_runs().items():
        for seed, (losses, state) in enumerate(train(*run)):
            found |= {f"{name}: losses {seed}": losses, f"{name}: state {seed}": state}
    if processes.is_first():
        np.savez(file, **found)
    processes.leave()


if __name__ == "__main__":
    main()
