"""A DCGAN run looked at: what the end of an epoch shows and what evaluation.json holds.

`options` holds one attribute for each flag of `dcgan.py`.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from dataset import note_data
from samples_evaluation import save_sheet, write_beside_real, write_copies

from brainsynth_jax.data.prepared import SliceDataset
from brainsynth_jax.evaluation.collapse import Collapse, find_collapse, find_fault
from brainsynth_jax.evaluation.dcgan import critic_gaps, make_judge, watch_samples
from brainsynth_jax.evaluation.dcgan_report import write_dcgan_report
from brainsynth_jax.evaluation.dcgan_words import answer_questions
from brainsynth_jax.evaluation.model_card import write_model_card
from brainsynth_jax.evaluation.report import SCHEMA
from brainsynth_jax.evaluation.samples import Reference, evaluate_samples, measure_samples
from brainsynth_jax.files import write_json
from brainsynth_jax.plots import DCGAN_PANELS, save_curves, save_film
from brainsynth_jax.progress import Progress
from brainsynth_jax.training.dcgan import Dcgan, DcganState
from brainsynth_jax.training.logs import read_metrics
from brainsynth_jax.training.loop import EpochResult
from brainsynth_jax.training.run_folder import load_options
from brainsynth_jax.training.sampler import Sampler

_log = logging.getLogger("brainsynth_jax.dcgan")

# Samples at the end of an epoch, and at the end of a run.
_WATCHED_SAMPLES, _EVALUATED_SAMPLES = 64, 500
# Puts the score of every bad epoch below that of every good one.
_BAD = 1e9
_FILM_SECONDS = 12
# Columns of a table of runs whose numbers are distances in a feature space.
_BY_FEATURES = ("kid", "kid_floor", "frechet", "frechet_floor")

BEST_RULE = (
    "The checkpoint of the epoch whose samples were nearest to training slices by kernel distance "
    "(KID), among the epochs that were not bad: in which samples neither copied, nor were all "
    "alike, nor had moved away. Which epoch is nearest, held-out subjects have no say in."
)


def make_finish_epoch(
    options: SimpleNamespace, model: Dcgan, real: Reference, workdir: Path
) -> Callable[[DcganState, int], EpochResult]:
    """Returns what the end of an epoch does: sample, measure, picture, warn."""
    sampler, judge = Sampler(model, options.sample_dropout), make_judge(model)

    def finish_epoch(state: DcganState, epoch: int) -> EpochResult:
        samples = sampler.draw(sampler.load(state), options.seed, _WATCHED_SAMPLES)
        gaps = critic_gaps(state, judge, samples, real)
        values = watch_samples(samples, gaps, real, options.seed)
        save_sheet(workdir / "samples" / f"epoch_{epoch:03d}.png", samples, f"epoch {epoch}")
        before = read_metrics(workdir)
        now = {"step": int(state.step), "epoch": epoch} | values
        save_curves(workdir / "curves.png", [*before, now], DCGAN_PANELS)
        collapse = find_collapse([*before, now])
        if collapse and collapse.step == now["step"]:
            _log.warning(describe_collapse(collapse, workdir, options.stop_on_collapse))
        score = -values["kid"] - (_BAD if find_fault(now, before) else 0.0)
        return EpochResult(values, score, bool(options.stop_on_collapse and collapse))

    return finish_epoch


def evaluate_run(
    options: SimpleNamespace,
    model: Dcgan,
    state: DcganState,
    dataset: SliceDataset,
    real: Reference,
    workdir: Path,
    checkpoint: str,
) -> dict:
    """Writes evaluation.json, copies.csv, final pictures, film, report.html and MODEL_CARD.md."""
    sampler = Sampler(model, options.sample_dropout)
    with Progress("Drawing slices to evaluate", _EVALUATED_SAMPLES, "slice") as progress:
        images = sampler.draw(
            sampler.load(state), options.seed, _EVALUATED_SAMPLES, advance=progress.advance
        )
    samples = measure_samples(images, real)
    records = read_metrics(workdir)
    collapse = find_collapse(records)
    gaps = critic_gaps(state, make_judge(model), images, real)
    evaluation = {
        "schema": SCHEMA,
        "kind": "dcgan",
        "weights": "raw" if state.average is None else "ema",
        "checkpoint": checkpoint,
        "step": int(state.step),
        "sampling": {"seed": options.seed, "dropout": options.sample_dropout},
        "best_rule": BEST_RULE,
        "collapse": collapse._asdict() if collapse else None,
        "critic_gap": gaps,
        "synthetic": evaluate_samples(samples, real, options.seed),
    }
    write_json(workdir / "evaluation.json", evaluation)

    folder = workdir / "samples"
    beside_real = write_beside_real(samples, real, folder, options.seed)
    save_sheet(folder / "final.png", images, "")
    closest = write_copies(samples, real, dataset, workdir)
    film = folder / "film.gif"
    sheets = folder.glob("epoch_*.png")
    save_film(film, sorted(sheets, key=lambda path: int(path.stem[6:])), _FILM_SECONDS)
    save_curves(workdir / "curves.png", records, DCGAN_PANELS)
    stored, notes = load_options(workdir), _notes(options, dataset)
    write_dcgan_report(
        workdir / "report.html",
        title="DCGAN, new slices from noise",
        options=stored,
        evaluation=evaluation,
        records=records,
        curves_png=workdir / "curves.png",
        sample_pngs=[
            beside_real,
            ("More made slices", "The first of the seed, not chosen.", folder / "final.png"),
            closest,
        ],
        film=film if film.exists() else None,
        notes=notes,
    )
    write_model_card(
        workdir / "MODEL_CARD.md", stored, evaluation, answer_questions(evaluation), went_bad=False
    )
    return evaluation


def describe_collapse(collapse: Collapse, workdir: Path, ends: bool) -> str:
    """What a person has to know, and can do, when a run has gone bad, which may end it."""
    way_on = (
        f"The run ends here; --workdir={workdir} --nostop_on_collapse goes on with it."
        if ends
        else f"--workdir={workdir} --stop_on_collapse ends it here."
    )
    return (
        f"The run has gone bad by epoch {collapse.epoch} (step {collapse.step}): "
        f"{collapse.reason}. Its best weights are kept, and evaluation and generate.py take them. "
        f"{way_on} A new run may hold longer with --discriminator_norm=layer, "
        "--augment=flip,intensity, a lower --learning_rate or another --loss."
    )


def _notes(options: SimpleNamespace, dataset: SliceDataset) -> list[str]:
    notes = note_data(options, dataset)
    if not dataset.test_subjects:
        notes.append(
            "No subject is held out, so samples are compared with the slices they were learnt "
            "from, and copies cannot be told."
        )
    return notes


def describe_evaluation(evaluation: dict) -> str:
    """The lines a reader needs first."""
    synthetic = evaluation["synthetic"]
    kid, alike = synthetic["kid"], synthetic["ms_ssim"]
    against = {"test": "held-out", "train": "training"}[synthetic["compared_with"]]
    chosen = evaluation["checkpoint"]
    which = "Weights of" if chosen.isdecimal() else f"{chosen.capitalize()} weights,"
    lines = [f"{which} step {evaluation['step']}."]
    if kid["value"] is not None:
        floor = "" if kid["floor"] is None else f"; between real subjects {kid['floor']:.3g}"
        lines.append(f"Kernel distance to {against} slices {kid['value']:.3g}{floor}.")
    real = alike["real"]["mean"]
    beside = "" if real is None else f", between two real slices {real:.2f}"
    lines.append(
        f"MS-SSIM between two samples {alike['samples']['mean']:.2f}{beside}; grid "
        f"{synthetic['grid_energy']['ratio']:.2f} times that of real slices."
    )
    return " ".join(lines)


def leave_out_other_spaces(
    rows: Mapping[str, dict[str, float | None]], evaluations: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Leaves out of a table what stands in it in another feature space than most.

    Args:
        rows: run -> its numbers; those that are distances by features are set to None.
        evaluations: run -> what its evaluation.json holds.

    Returns:
        Sentences that say so.
    """
    spaces = {
        name: found["synthetic"]["feature_space"]["fingerprint"]
        for name, found in evaluations.items()
    }
    (common, _), *others = Counter(spaces.values()).most_common()
    strange = [name for name, space in spaces.items() if space != common]
    for name in strange:
        rows[name].update(dict.fromkeys(_BY_FEATURES))
    if not others:
        return []
    return [
        f"Distances by features of {', '.join(strange)} are left out: they are in another feature "
        f"space than those of the others, {common}, and cannot be compared with them. "
        "Evaluate these runs again on one machine, with experiments/evaluate.py."
    ]
