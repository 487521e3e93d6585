"""The CycleGAN paper's comparison, redone: the ResNet beside the U-Net, claim by claim.

Trains both on the same slices, with the same seed and as many steps, or takes the folders of two
finished runs. Writes one page: each claim of the paper with a verdict, Table 2 as published and as
measured, Dice beside the best threshold and beside the same networks trained with true pairs, the
errors of the images, seconds and memory, and figures 12 to 15 for the same held-out slices.

  python experiments/compare.py                                  # on the phantom, at demo size
  python experiments/compare.py --epochs=1 --supervised_steps=50 # a first look
  python experiments/compare.py --data_dir=BraTS                 # at the paper's size
  python experiments/compare.py --resnet=runs/cyclegan-001 --unet=runs/cyclegan-002
  python experiments/compare.py --workdir=runs/compare-001       # goes on where it stopped
"""

import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any, NamedTuple

import command_line
import jax
import numpy as np
from child_script import run_script
from command_line import FLAGS, FlagGroup, given_flags, resolve_flags
from cyclegan_evaluation import Held, mask_style, tune_baseline
from cyclegan_setup import build_model, prepare_dataset
from dataset import note_data
from finished_run import load_checkpoint, load_run
from run_options import Run

from brainsynth_jax.data.masks import is_brain, is_tumor
from brainsynth_jax.data.pipeline import SliceBatch, load_slices
from brainsynth_jax.data.prepared import Records, SliceDataset
from brainsynth_jax.errors import UserError
from brainsynth_jax.evaluation.comparison import (
    NETWORKS,
    PAPER_RECIPE,
    NetworkNumbers,
    Scores,
    compare_networks,
    score_translations,
    tabulate,
)
from brainsynth_jax.evaluation.comparison_report import write_comparison_report
from brainsynth_jax.evaluation.cyclegan import score_masks
from brainsynth_jax.evaluation.segmentation import score_subjects
from brainsynth_jax.evaluation.threshold import apply_threshold
from brainsynth_jax.files import write_json, write_table
from brainsynth_jax.plots import save_sample_grid
from brainsynth_jax.progress import Progress
from brainsynth_jax.training.cyclegan import create_cyclegan_state
from brainsynth_jax.training.logs import read_metrics
from brainsynth_jax.training.run_folder import (
    check_same_options,
    claim_run_folder,
    held_run_folder,
    load_options,
    save_options,
)
from brainsynth_jax.training.segmenter import predict, train_segmenter

_PICTURED_SLICES = 6
# Held in memory, spread over the subjects: to compare the networks on, and for the supervised ones.
_HELD_OUT_SLICES = 1_000
_SUPERVISED_SLICES = 2_000
# The rate at which these networks are trained as generators.
_SUPERVISED_RATE = 2e-4

comparison = FlagGroup("The comparison")
comparison.string(
    "workdir",
    None,
    "Folder of the comparison; goes on where it stopped. Without it: the next free "
    "runs/compare-NNN.",
)
comparison.string("resnet", None, "Folder of a finished run to take, with --unet; none is trained.")
comparison.string("unet", None, "The same with the U-Net, with --resnet.")
comparison.switch(
    "allow_differences", "Take runs that differ in more than the network; the page lists it."
)
comparison.integer(
    "supervised_steps",
    0,
    "Steps, of eight pairs each, of the same networks trained with true pairs; 0 for as many as "
    "the run has.",
)
comparison.string(
    "cache_dir",
    os.path.join("~", ".cache", "brainsynth_jax"),
    "Folder for the phantom, prepared slices and compiled steps.",
)
comparison.string(
    "data_dir", None, "Folder with scans, as of cyclegan.py. Without it a phantom is made."
)

both = FlagGroup("What both runs share, as of cyclegan.py; what is not given is as there")
both.choice("preset", None, ("demo", "paper"), "Sets several flags at once.")
both.integer("seed", None, "Seed of split, order, weights and noise.", highest=2**32 - 1)
both.choice("modality", None, ("flair", "t1", "t1ce", "t2"), "MR sequence to learn.")
both.choice("mask_style", None, ("tumor", "tumor_in_brain"), "How masks are drawn.")
both.integer("train_pairs", None, "Slices to train on, at most; 0 for all.")
both.integer("test_pairs", None, "Held-out slices to evaluate, at most; 0 for all.")
both.switch("skip_bad_subjects", "Go on without subjects that cannot be used, and list them.")
both.integer("width", None, "Channels of each network's first layer; the paper's 64.", 1)
both.integer("epochs", None, "Epochs in all.", 1)
both.integer("steps_per_epoch", None, "Optimiser updates in an epoch.", 1)
both.integer("decay_epochs", None, "Last epochs over which the rate falls linearly to 0.")

# May differ between the parts of one comparison.
_FREE = {"workdir", "cache_dir", "data_dir", "allow_differences"}

# What two runs may differ in: the network, names of folders, and what changes no number.
_UNCOMPARED = {
    *("generator", "preset", "workdir", "cache_dir", "data_dir"),
    *("dry_run", "devices", "log_every", "keep_checkpoints"),
    *("encoder", "data_licence", "skip_evaluation"),
}
# What runs did without that began before there was such a flag.
_LATER_FLAGS = {"train_subjects": 0}
# What slices and masks show: where it differs, no picture of one run is the truth of the other's.
_SHOWN = "modality", "intensity", "mask_style", "mask_classes"


class Finished(NamedTuple):
    """A finished run.

    Attributes:
        run: its folder and options.
        evaluation: what its evaluation.json holds.
    """

    run: Run
    evaluation: dict[str, Any]


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


def main() -> None:
    """Two finished runs -> held-out slices translated -> numbers -> verdicts -> one page."""
    workdir = Path(FLAGS.workdir).expanduser() if FLAGS.workdir else None
    options = resolve(workdir)
    command_line.use_cache(Path(options.cache_dir).expanduser())
    runs = {}
    if options.resnet and options.unet:
        folders = {name: Path(getattr(options, name)).expanduser() for name in NETWORKS}
        runs = {name: open_run(name, folders[name], options.data_dir) for name in NETWORKS}
        check_alike(runs, options.allow_differences)
    elif options.resnet or options.unet:
        raise UserError("--resnet and --unet are needed together; without them both are trained.")
    workdir = workdir or claim_run_folder(Path("runs"), "compare")
    given = {**given_flags(), "workdir": workdir}
    again = shlex.join(["python", sys.argv[0], *(f"--{name}={v}" for name, v in given.items())])
    with (
        held_run_folder(workdir),
        command_line.on_interrupt(f"What is done is kept. To go on:\n  {again}"),
    ):
        save_options(workdir, "compare", vars(options), {})
        if not runs:
            for name in NETWORKS:
                train(name, workdir / name, options)
            runs = {name: open_run(name, workdir / name, options.data_dir) for name in NETWORKS}
        print(compare(runs, workdir, options))
    print(f"Open {workdir / 'comparison.html'}")


def resolve(workdir: Path | None) -> SimpleNamespace:
    """Every flag: from the command line, else as the comparison began, else its default.

    Raises:
        UserError: the folder is no comparison's, or a flag differs from what it began with.
    """
    given = given_flags()
    stored = load_options(workdir) if workdir else None
    if stored is None:
        return SimpleNamespace(**resolve_flags(given))
    if stored["script"] != "compare":
        raise UserError(
            f"--workdir={workdir} holds a run of experiments/{stored['script']}.py. "
            "Give a new folder."
        )
    check_same_options(
        workdir,
        {f"--{name}": value for name, value in stored["flags"].items()},
        {f"--{name}": value for name, value in given.items() if name not in _FREE},
    )
    return SimpleNamespace(**resolve_flags(given, stored["flags"]))


def train(network: str, folder: Path, options: SimpleNamespace) -> None:
    """Runs cyclegan.py with this network to its end, unless it is done.

    Raises:
        UserError: it failed.
    """
    if (folder / "evaluation.json").exists():
        print(f"{NETWORKS[network]}: done before, in {folder}.")
        return
    print(f"\n{NETWORKS[network]}", flush=True)
    flags = {name: getattr(options, name) for name in (*both.names, "data_dir", "cache_dir")}
    flags = {name: value for name, value in flags.items() if value is not None}
    if problem := run_script("cyclegan", flags | {"generator": network, "workdir": folder}):
        raise UserError(f"The run of the {NETWORKS[network]} did not come to its end: {problem}")


def open_run(name: str, folder: Path, data_dir: str | None) -> Finished:
    """The finished run of this network in a folder.

    Raises:
        UserError: there is none, or it is another network's.
    """
    where = f"--{name}={folder}"
    run = load_run(str(folder), ("cyclegan",), data_dir, f"--{name}")
    if run.options.generator != name:
        raise UserError(
            f"{where} holds a run with --generator={run.options.generator}. Give one with "
            f"--generator={name}."
        )
    path = folder / "evaluation.json"
    if not path.exists():
        raise UserError(
            f"{where}: the run is not finished. To go on with it: python experiments/cyclegan.py "
            f"--workdir={folder}\nOr, where only its evaluation was skipped: python "
            f"experiments/evaluate.py --workdir={folder}"
        )
    return Finished(run, json.loads(path.read_text()))


def check_alike(runs: Mapping[str, Finished], allowed: bool) -> None:
    """Raises UserError where the runs differ in more than the network, unless that is allowed.

    What slices and masks show may never differ.
    """
    resnet, unet = (runs[name].run.options for name in NETWORKS)
    for name in _SHOWN:
        if (one := getattr(resnet, name)) != (other := getattr(unet, name)):
            raise UserError(
                f"--{name} is {one} with the ResNet and {other} with the U-Net, so that their "
                "slices cannot be laid beside each other. Train both with the same."
            )
    if (differences := list_differences(runs)) and not allowed:
        raise UserError(
            "The two runs differ in more than the network, so their difference would not be the "
            f"network's: {'; '.join(differences)}. Leave out --resnet and --unet to have both "
            "trained alike, or list this on the page by --allow_differences."
        )


def list_differences(runs: Mapping[str, Finished]) -> list[str]:
    """What two runs differ in besides the network: "seed is 0 with the ResNet and 1 ..."."""
    facts = [
        {
            name: value
            for name, value in (_LATER_FLAGS | vars(run.options)).items()
            if name not in _UNCOMPARED
        }
        | {
            "the data's fingerprint": run.stored["data"]["fingerprint"],
            "the device": " ".join(run.stored.get("devices", ())),
            "the evaluated checkpoint": evaluation["checkpoint"],
            "the evaluated step": evaluation["step"],
        }
        for run, evaluation in (runs[name] for name in NETWORKS)
    ]
    return [
        f"{name} is {facts[0].get(name)} with the ResNet and {facts[1].get(name)} with the U-Net"
        for name in dict.fromkeys((*facts[0], *facts[1]))
        if facts[0].get(name) != facts[1].get(name)
    ]


def compare(runs: Mapping[str, Finished], workdir: Path, options: SimpleNamespace) -> str:
    """Writes comparison.json, .csv and .html and the pictures; returns the verdicts as lines."""
    cache_dir = Path(options.cache_dir).expanduser()
    datasets = {}
    for name, (run, _) in runs.items():
        datasets[name] = prepare_dataset(run.options, cache_dir)
        run.check_data(datasets[name].fingerprint)
    differences = list_differences(runs)
    if differences:
        held = keep_common({name: load_held_out(runs[name].run, datasets[name]) for name in runs})
    else:
        held = dict.fromkeys(NETWORKS, load_held_out(runs["unet"].run, datasets["unet"]))
    drawn = {name: draw(name, runs[name], held[name]) for name in NETWORKS}
    paired = all(dataset.paired for dataset in datasets.values())
    numbers = {}
    steps = {
        name: options.supervised_steps or evaluation["step"]
        for name, (_, evaluation) in runs.items()
    }
    for name in NETWORKS:
        supervised = None
        if paired:
            path = workdir / f"supervised_{name}.json"
            print(f"{NETWORKS[name]} trained with true pairs, {steps[name]} steps.")
            supervised = score_supervised(
                runs[name].run, datasets[name], held[name].a, steps[name], path
            )
        numbers[name] = measure(runs[name], datasets[name], drawn[name], supervised)
    options_unet = runs["unet"].run.options
    comparison = compare_networks(
        numbers,
        score_threshold(options_unet, datasets["unet"], held["unet"].a) if paired else None,
        options_unet.seed,
    )
    comparison |= {
        "runs": {name: str(run.workdir) for name, (run, _) in runs.items()},
        "differences_of_options": differences,
        "supervised_steps": steps,
        "supervised_rate": _SUPERVISED_RATE,
        "held_out_slices": len(held["unet"].a.image),
        "held_out_subjects": len(set(held["unet"].a.subjects)),
    }
    write_json(workdir / "comparison.json", comparison)
    write_table(workdir / "comparison.csv", tabulate(comparison))
    stored = runs["unet"].run.stored
    write_comparison_report(
        workdir / "comparison.html",
        comparison,
        {
            "runs": comparison["runs"],
            "flags, of the U-Net's run": stored["flags"],
            "data": stored["data"],
            "versions": stored.get("versions", {}),
        },
        save_figures(drawn, paired, workdir),
        list_notes(comparison, options_unet, datasets["unet"]),
    )
    return "\n".join(f"{claim['verdict']:28} {claim['claim']}" for claim in comparison["claims"])


def load_held_out(run: Run, dataset: SliceDataset) -> Held:
    """Slices of the test split, spread over the subjects where it holds very many."""

    def load(records: Records) -> SliceBatch:
        return load_slices(
            records,
            dataset.paired,
            run.options.mask_style,
            run.options.mask_classes,
            _HELD_OUT_SLICES,
            run.options.seed,
        )

    slices = load(dataset.test_a)
    return Held(slices, slices if dataset.paired else load(dataset.test_b))


def keep_common(held: Mapping[str, Held]) -> dict[str, Held]:
    """Only the slices that both runs hold out, in one order.

    Raises:
        UserError: there are none, or they have different sizes.
    """
    sides = {name: slices.a.image.shape[1] for name, slices in held.items()}
    if len(set(sides.values())) > 1:
        raise UserError(
            f"The runs' slices have {' and '.join(map(str, sides.values()))} pixels a side, so "
            "they cannot be laid beside each other. Train both with one --image_size."
        )

    def places(slices: SliceBatch) -> dict[tuple[str, int], int]:
        names = zip(slices.subjects, slices.slice_numbers.tolist(), strict=True)
        return {name: place for place, name in enumerate(names)}

    def take(slices: SliceBatch, of_both: Sequence[SliceBatch]) -> SliceBatch:
        own = places(slices)
        shared = sorted(set(own).intersection(*(places(other) for other in of_both)))
        if not shared:
            raise UserError(
                "The runs hold out different slices, so there is none to compare them on. Train "
                "both on the same data with the same --seed."
            )
        rows = [own[name] for name in shared]
        return SliceBatch(
            *([v[k] for k in rows] if isinstance(v, list) else v[rows] for v in slices)
        )

    kept = {}
    for name, own in held.items():
        a = take(own.a, [other.a for other in held.values()])
        b = a if own.b is own.a else take(own.b, [other.b for other in held.values()])
        kept[name] = Held(a, b)
    return kept


def draw(name: str, finished: Finished, held: Held) -> Drawn:
    """Sends the slices through the generators that the run's evaluation speaks of."""
    run, evaluation = finished
    model = build_model(run.options)
    state = create_cyclegan_state(model, jax.random.key(0), run.options.image_size)
    state = load_checkpoint(str(evaluation["step"]), run.workdir, state)
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
    flags = _LATER_FLAGS | vars(options)
    recipe = {
        "fingerprint": dataset.fingerprint,
        "steps": steps,
        "rate": _SUPERVISED_RATE,
        "held_out_slices": len(held_out.image),
        **{name: flags[name] for name in told},
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
            rate=_SUPERVISED_RATE,
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


def list_notes(
    comparison: Mapping[str, Any], options: SimpleNamespace, dataset: SliceDataset
) -> list[str]:
    """What a reader of the page has to know."""
    notes = note_data(options, dataset)
    notes += [
        f"The runs differ in more than the network: {text}."
        for text in comparison["differences_of_options"]
    ]
    other = [
        f"{name}={getattr(options, name)} (paper: {value})"
        for name, value in PAPER_RECIPE.items()
        if getattr(options, name) != value
    ]
    if other:
        notes.append(f"Not the paper's recipe: {', '.join(other)}.")
    if len(dataset.test_a) > _HELD_OUT_SLICES:
        notes.append(
            f"Of {len(dataset.test_a):,} held-out slices, {_HELD_OUT_SLICES:,} are compared, "
            "spread over the subjects."
        )
    if not dataset.paired:
        notes.append("The data have no true masks; what needs them is left out.")
    return notes


if __name__ == "__main__":
    command_line.run(main)
