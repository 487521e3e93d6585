"""What is measured of each image before it goes into a catalogue."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from drawing import Drawn
from run_options import Run
from samples_evaluation import load_reference

from brainsynth_jax.catalogue.catalogue import Scores
from brainsynth_jax.data.masks import is_tumor
from brainsynth_jax.data.prepared import SliceDataset
from brainsynth_jax.evaluation.manifold import NEIGHBOURS, realism_scores
from brainsynth_jax.evaluation.samples import list_copies, measure_samples


class Scorer(NamedTuple):
    """What measures images.

    Attributes:
        score: of some images.
        heldout_realism: median realism score of held-out real slices; None where not known.
    """

    score: Callable[[Drawn], list[Scores]]
    heldout_realism: float | None = None


# An image on top of a real one would have an infinite score, which JSON has not.
_MOST_REALISM = 1e6

# A proposal shows a slice of a patient, which no verdict of ours may let out as a synthetic one.
_REAL_SLICE = {"copy_distance": 0.0, "copy_verdict": "suspicious"}


def make_scorer(run: Run, model: str, dataset: SliceDataset | None, cache_dir: Path) -> Scorer:
    """What measures a run's images beside its training slices.

    Args:
        run: that draws them.
        model: one of `catalogue.tables.MODELS`.
        dataset: of the run; None to measure only what the masks tell.
        cache_dir: where the encoder of the feature space is kept.
    """
    if model == "cyclegan-ab":
        return Scorer(
            lambda drawn: [Scores(**_REAL_SLICE, **place) for place in _find_tumors(drawn)]
        )
    if dataset is None:
        return Scorer(lambda drawn: [Scores(**place) for place in _find_tumors(drawn)])
    real = load_reference(dataset, run.options.seed, cache_dir, run.options.encoder)
    known = real.train_set.features

    def score(drawn: Drawn) -> list[Scores]:
        samples = measure_samples(drawn.images[..., None] / np.float32(127.5) - 1, real)
        realism = [None] * len(drawn.images)
        if len(known) > NEIGHBOURS:
            realism = np.minimum(realism_scores(samples.features, known), _MOST_REALISM).tolist()
        return [
            Scores(
                realism=how_real,
                copy_distance=row["image_distance"],
                copy_verdict=row["verdict"],
                **place,
            )
            for how_real, row, place in zip(
                realism, list_copies(samples, real), _find_tumors(drawn), strict=True
            )
        ]

    heldout = None
    if real.test_set and len(known) > NEIGHBOURS:
        heldout = float(np.median(realism_scores(real.test_set.features, known)))
    return Scorer(score, heldout)


def _find_tumors(drawn: Drawn) -> list[dict]:
    """Area and centre of each mask's tumour, as `Scores` has them."""
    if drawn.masks is None:
        return [{} for _ in drawn.images]
    found = []
    for mask in drawn.masks:
        pixels = np.argwhere(is_tumor(mask))
        place = {"tumor_pixels": len(pixels)}
        if len(pixels):
            row, column = ((pixels + 0.5) / mask.shape).mean(axis=0).tolist()
            place |= {"tumor_row": row, "tumor_column": column}
        found.append(place)
    return found
