"""What compare.py measures of two runs on the same slices, and its pictures."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import NamedTuple

import jax
import numpy as np
from compare_runs import Finished
from cyclegan_evaluation import Held, mask_style, tune_baseline
from cyclegan_setup import build_model
from finished_run import load_checkpoint
from run_options import Run

from brainsynth_jax.data.masks import is_brain, is_tumor
from brainsynth_jax.data.pipeline import SliceBatch, load_slices
from brainsynth_jax.data.prepared import SliceDataset
from brainsynth_jax.evaluation.claims import PAPER_RECIPE
from brainsynth_jax.evaluation.comparison import (
    NETWORKS,
    NetworkNumbers,
    Scores,
    score_translations,
)
from brainsynth_jax.evaluation.cyclegan import score_masks
from brainsynth_jax.evaluation.segmentation import score_subjects
from brainsynth_jax.evaluation.threshold import apply_threshold
from brainsynth_jax.files import write_json
from brainsynth_jax.plots import save_sample_grid
from brainsynth_jax.progress import Progress
from brainsynth_jax.training.cyclegan import create_cyclegan_state
from brainsynth_jax.training.logs import read_metrics
from brainsynth_jax.training.segmenter import predict, train_segmenter

# The rate at which these networks are trained as generators.
SUPERVISED_RATE = 2e-4
# Held in memory, spread over the subjects.
_SUPERVISED_SLICES = 2_000
_PICTURED_SLICES = 6


class Drawn(NamedTuple):
    """Held-out slices and what a run's generators made of them.

    Attributes:
        held: the slices.
        fake_b: (N, H, W, 1) in [-1, 1], G_AB of `held.a`.
        fake_a: G_BA of `held.b`.
        parameters: of one generator.
    """

    held: Held
    fake_b: np.ndarray
    fake_a: np.ndarray
    parameters: int


def draw(name: str, finished: Finished, held: Held) -> Drawn:
    """Sends the slices through the generators that the run's evaluation speaks of."""
    run, evaluation = finished
    model = build_model(run.options)
    create_state = partial(create_cyclegan_state, model, jax.random.key(0), run.options.image_size)
    state = load_checkpoint(str(evaluation["step"]), run.workdir, create_state)
    generate = jax.jit(lambda params, image: model.generator.apply({"params": params}, image))
    made = []
    with Progress(f"{NETWORKS[name]} draws", len(held.a.image) + len(held.b.image), "slice") as bar:
        for direction, images in (("ab", held.a.image), ("ba", held.b.mask)):
            params, drawn = state.best_generators[direction], []
            for image in images:
                drawn.append(jax.device_get(generate(params, image[None]))[0])
                bar.advance()
            made.append(np.stack(drawn))
    return Drawn(held, *made, sum(leaf.size for leaf in jax.tree.leaves(state.generators["ab"])))


def measure(
    finished: Finished, dataset: SliceDataset, drawn: Drawn, supervised: Scores | None
) -> NetworkNumbers:
    """A run's numbers; what needs true masks is None where there are none."""
    run, evaluation = finished
    slices = drawn.held.a
    segmentation = translation = None
    if drawn.held.b is slices:
        style = mask_style(run.options)
        segmentation = score_masks(drawn.fake_b, slices, style, run.options.seed)["subjects"]
        translation = {
            "a_to_b": score_translations(drawn.fake_b, slices.mask, slices.subjects),
            "b_to_a": score_translations(drawn.fake_a, slices.image, slices.subjects),
        }
    records = read_metrics(run.workdir)
    seconds = [record["seconds_per_step"] for record in records if "seconds_per_step" in record]
    peaks = [record["peak_memory_mib"] for record in records if record.get("peak_memory_mib")]
    return NetworkNumbers(
        steps=evaluation["step"],
        width=run.options.width,
        image_size=run.options.image_size,
        train_slices=len(dataset.train_a),
        recipe={name: getattr(run.options, name) for name in PAPER_RECIPE},
        phantom=run.options.data_dir is None,
        parameters=drawn.parameters,
        devices=run.stored.get("devices", []),
        seconds_per_step=median(seconds) if seconds else None,
        peak_memory_mib=max(peaks, default=None),
        table2={split: evaluation[split]["table2"] for split in ("train", "test")},
        segmentation=segmentation,
        supervised=supervised,
        translation=translation,
    )


def score_supervised(
    run: Run, dataset: SliceDataset, held_out: SliceBatch, steps: int, path: Path
) -> Scores:
    """The run's generator trained on true pairs of its training subjects, scored alike.

    The scores are kept in a file, and read from it where the training was the same.
    """
    options = run.options
    told = "width", "upsample", "precision", "train_pairs", "train_subjects", "seed"
    recipe = {
        "fingerprint": dataset.fingerprint,
        "steps": steps,
        "rate": SUPERVISED_RATE,
        "held_out_slices": len(held_out.image),
        **{name: getattr(options, name) for name in told},
    }
    kept = json.loads(path.read_text()) if path.exists() else {}
    if kept.get("recipe") != recipe:
        network = build_model(options).generator.clone(bounded=False)
        slices = load_slices(
            dataset.train_a,
            dataset.paired,
            options.mask_style,
            options.mask_classes,
            _SUPERVISED_SLICES,
            options.seed,
        )
        params = train_segmenter(
            slices.image,
            is_tumor(slices.tissue),
            options.seed,
            steps,
            network=network,
            rate=SUPERVISED_RATE,
        )
        masks = predict(params, held_out.image, network)
        kept = {"recipe": recipe, "subjects": score(masks, held_out)}
        write_json(path, kept)
    return kept["subjects"]


def score_threshold(
    options: SimpleNamespace, dataset: SliceDataset, held_out: SliceBatch
) -> Scores:
    """The threshold baseline, tuned on the training subjects, on the held-out slices."""
    baseline = tune_baseline(options, dataset)
    return score(apply_threshold(baseline, held_out.brain_z, is_brain(held_out.tissue)), held_out)


def score(masks: np.ndarray, slices: SliceBatch) -> Scores:
    """Drawn masks (N, H, W) bool against the true ones, by subject."""
    return score_subjects(
        masks, is_tumor(slices.tissue), slices.subjects, slices.slice_numbers, slices.spacing_mm
    )


def save_figures(
    drawn: Mapping[str, Drawn], paired: bool, workdir: Path
) -> list[tuple[str, str, Path]]:
    """Figures 12 to 15 for the same slices: input, ResNet, U-Net (, truth).

    Returns (title, caption, file) of each.
    """
    resnet, unet = (drawn[name] for name in NETWORKS)
    a, b = unet.held.a, unet.held.b
    columns = {
        "a_to_b": (a, [a.image, resnet.fake_b, unet.fake_b, b.mask]),
        "b_to_a": (b, [b.mask, resnet.fake_a, unet.fake_a, a.image]),
    }
    titles = ["input", *NETWORKS.values(), "truth"][: 4 if paired else 3]
    words = {
        "a_to_b": ("Figures 12 and 14: MR slice to mask", "figure_a_to_b.png"),
        "b_to_a": ("Figures 13 and 15: mask to MR slice", "figure_b_to_a.png"),
    }
    figures = []
    for direction, (owner, images) in columns.items():
        count = len(owner.image)
        chosen = np.unique(np.linspace(0, count - 1, _PICTURED_SLICES).astype(int))
        title, name = words[direction]
        save_sample_grid(
            workdir / name,
            [[image[row, ..., 0] for image in images[: len(titles)]] for row in chosen],
            titles,
            [f"{owner.subjects[row]} · {owner.slice_numbers[row]}" for row in chosen],
        )
        caption = "Held-out slices, evenly spread and not chosen by looks; the paper's columns."
        figures.append((title, caption, workdir / name))
    return figures
