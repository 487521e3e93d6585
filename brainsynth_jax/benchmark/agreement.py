"""Whether this project's program and PyTorch's are the same: same weights in, same losses out."""

from brainsynth_jax.benchmark.jax_steps import draw_batch_latents, export_weights, prepare_step
from brainsynth_jax.benchmark.torch_steps import prepare_peer
from brainsynth_jax.benchmark.workload import Workload

STEPS = 2


def largest_difference(workload: Workload) -> float:
    """The largest relative difference of a loss in the first steps of both programs.

    Both start from the same weights, see the same images and update once in between; whatever the
    program draws at random (dropout, noise) is switched off.

    Args:
        workload: of a training step, not of sampling.
    """
    workload = workload._replace(random=False)
    latents = draw_batch_latents(workload) if workload.name == "dcgan" else None
    ours = prepare_step(workload)
    peer = prepare_peer(workload, "eager", export_weights(workload), latents)
    largest = 0.0
    for _ in range(STEPS):
        found, wanted = ours.run(), peer.run()
        for name, value in wanted.items():
            value = float(value)
            largest = max(largest, abs(float(found[name]) - value) / max(abs(value), 1e-3))
    return largest
