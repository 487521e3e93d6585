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

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import command_line
from child_script import run_script
from command_line import FLAGS, FlagGroup, given_flags, resolve_flags
from compare_numbers import (
    SUPERVISED_RATE,
    draw,
    measure,
    save_figures,
    score_supervised,
    score_threshold,
)
from compare_runs import (
    HELD_OUT_SLICES,
    Finished,
    check_alike,
    keep_common,
    list_differences,
    load_held_out,
    open_run,
)
from cyclegan_setup import prepare_dataset
from dataset import note_data

from brainsynth_jax.data.prepared import SliceDataset
from brainsynth_jax.errors import UserError
from brainsynth_jax.evaluation.claims import PAPER_RECIPE
from brainsynth_jax.evaluation.comparison import NETWORKS, compare_networks, tabulate
from brainsynth_jax.evaluation.comparison_report import write_comparison_report
from brainsynth_jax.files import write_json, write_table
from brainsynth_jax.training.run_folder import (
    check_same_options,
    claim_run_folder,
    held_run_folder,
    load_options,
    save_options,
)

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
        comparison = compare(runs, workdir, options)
    for claim in comparison["claims"]:
        print(f"{claim['verdict']:28} {claim['claim']}")
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


def compare(
    runs: Mapping[str, Finished], workdir: Path, options: SimpleNamespace
) -> dict[str, Any]:
    """Writes comparison.json, .csv and .html and the pictures; returns what the first holds."""
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
        "supervised_rate": SUPERVISED_RATE,
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
    return comparison


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
    if len(dataset.test_a) > HELD_OUT_SLICES:
        notes.append(
            f"Of {len(dataset.test_a):,} held-out slices, {HELD_OUT_SLICES:,} are compared, "
            "spread over the subjects."
        )
    if not dataset.paired:
        notes.append("The data have no true masks; what needs them is left out.")
    return notes


if __name__ == "__main__":
    command_line.run(main)
