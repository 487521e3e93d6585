"""Whether this project's program and PyTorch's are the same: same weights in, same losses out."""

from brainsynth_jax.benchmark.torch_steps import prepare_peer
from brainsynth_jax.benchmark.workload import Workload, prepare_step

STEPS = 2


def largest_difference(workload: Workload) -> float:
    """The largest relative difference of a loss in the first steps of both programs.

    Both start from the same weights, see the same images and update once in between; whatever the
    program draws at random (dropout, noise) is switched off.

    Args:
        workload: of a training step, not of sampling.
    """
    workload = workload._replace(random=False)
    ours, peer = prepare_step(workload), prepare_peer(workload, "eager")
    largest = 0.0
    for _ in range(STEPS):
        found, wanted = ours.run(), peer.run()
        for name, value in wanted.items():
            value = float(value)
            largest = max(largest, abs(float(found[name]) - value) / max(abs(value), 1e-3))
    return largest
