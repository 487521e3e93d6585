"""A DCGAN's discriminator beside its slices, and what is watched while it trains."""

from collections.abc import Callable

import jax
import numpy as np

from brainsynth_jax.evaluation.chunks import in_chunks
from brainsynth_jax.evaluation.distances import kernel_distance
from brainsynth_jax.evaluation.grid import grid_energy
from brainsynth_jax.evaluation.neighbours import coarsen, nearest_distances
from brainsynth_jax.evaluation.samples import RealSlices, Reference
from brainsynth_jax.evaluation.similarity import pairwise_ms_ssim
from brainsynth_jax.training.dcgan import Dcgan, DcganState

_WATCHED_PAIRS = 100
_SCORED_A_CALL = 32

Judge = Callable[[DcganState, np.ndarray], np.ndarray]


def make_judge(model: Dcgan) -> Judge:
    """Returns a compiled `judge(state, images) -> scores`.

    The discriminator as it would be used, without noise and with its stored statistics.
    (N, S, S, 1) -> (N,).
    """

    @jax.jit
    def apply(params, statistics, images):
        images = images.repeat(model.generator.channels, axis=-1)
        return model.discriminator.apply({"params": params, "batch_stats": statistics}, images)

    def judge(state: DcganState, images: np.ndarray) -> np.ndarray:
        return in_chunks(
            lambda part: apply(state.discriminator, state.discriminator_statistics, part),
            _SCORED_A_CALL,
            images,
        )

    return judge


def critic_gaps(state: DcganState, judge: Judge, samples: np.ndarray, real: Reference) -> dict:
    """How far the discriminator scores real slices above samples, on average.

    `train`, `test` (None without held-out slices), in its own unbounded units. A discriminator that
    has learnt what real slices are like has both alike; a `test` far below `train` shows that it
    has learnt the training slices by heart.
    """
    made = float(judge(state, samples).mean())

    def gap(slices: RealSlices | None) -> float | None:
        return float(judge(state, slices.images).mean()) - made if slices else None

    return {"train": gap(real.train), "test": gap(real.test)}


def watch_samples(samples: np.ndarray, gaps: dict, real: Reference, seed: int) -> dict[str, float]:
    """The named numbers of an epoch's end, for the log and for `find_collapse`.

    `kid`: kernel distance to training slices, which chooses the best checkpoint, `kid_test` to
    held-out ones, and `kid_real` between the two; `ms_ssim_samples`, `ms_ssim_real`; `grid_ratio`:
    grid energy, samples by real; `nearest_ratio`: median distance to the nearest training slice,
    samples by held-out slices; `critic_gap_train`, `critic_gap_test`. Those that need held-out
    slices, or for `ms_ssim_real` a second training subject, are left out where there are none.
    """
    features = real.space.extract(samples)
    nearest = np.median(nearest_distances(coarsen(samples), real.training.coarse).distances)
    values = {
        "kid": kernel_distance(features, real.train_set.features),
        "ms_ssim_samples": pairwise_ms_ssim(samples, _WATCHED_PAIRS, seed)["mean"],
        "grid_ratio": grid_energy(samples) / real.grid_energy,
        "critic_gap_train": gaps["train"],
    }
    if real.ms_ssim["mean"] is not None:
        values["ms_ssim_real"] = real.ms_ssim["mean"]
    if real.test:
        test_nearest = np.median(real.test_nearest.image.distances)
        values |= {
            "kid_test": None
            if real.test_kid is None
            else kernel_distance(features, real.test_set.features),
            "kid_real": real.test_kid,
            "nearest_ratio": float(nearest / test_nearest) if test_nearest else None,
            "critic_gap_test": gaps["test"],
        }
    return {name: value for name, value in values.items() if value is not None}
