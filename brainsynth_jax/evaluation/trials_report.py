"""trials.html: several runs of one experiment side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from brainsynth_jax.evaluation.report import write_page

# Name -> heading and what is good.
TRIAL_COLUMNS = {
    "step": ("Step", "of the best weights"),
    "kid": ("Kernel distance", "small, at best the floor"),
    "kid_floor": ("its floor", "between real subjects"),
    "frechet": ("Fréchet distance", "small, at best the floor"),
    "frechet_floor": ("its floor", "between real subjects"),
    "ms_ssim_samples": ("MS-SSIM", "near that of real pairs"),
    "ms_ssim_real": ("of real pairs", ""),
    "grid_ratio": ("Grid", "1: as real slices"),
    "nearest_ratio": ("Nearness to training slices", "1: as held-out slices"),
    "critic_gap_train": ("Critic's gap, training", ""),
    "critic_gap_test": ("Critic's gap, held out", "near that on training"),
}


def write_trials_report(
    path: Path,
    trials: Mapping[str, tuple[str, str, Mapping[str, float | None]]],
    options: Mapping[str, Any],
    picture: Path,
    notes: Sequence[str],
) -> None:
    """Writes one HTML page that needs nothing beside it.

    Args:
        path: of the page.
        trials: name -> what it is, its flags, and its numbers by `TRIAL_COLUMNS`; None where one
            was not measured.
        options: what all trials share.
        picture: a row of slices for each trial.
        notes: sentences that the reader has to know, such as trials that failed.

    Raises:
        UserError: the page can't be written.
    """
    measured = {name: row["kid"] for name, (_, _, row) in trials.items() if row["kid"] is not None}
    write_page(
        path,
        "trials_report.html",
        title="DCGAN, trials side by side",
        options=options,
        records=(),
        curves_png=None,
        sample_pngs=[
            (
                "Slices of every trial",
                "The first of the same seed, by each trial's best weights, under real slices.",
                picture,
            )
        ],
        notes=notes,
        trials=trials,
        columns=TRIAL_COLUMNS,
        nearest=min(measured, key=measured.get) if measured else None,
    )
