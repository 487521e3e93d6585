"""The DCGAN paper's trials, and what it wished for, side by side.

Runs `dcgan.py` once for each trial, one after the other, on the same data with the same seed, and
sets their slices into one picture, in the manner of the paper's figures 2 to 6, and their numbers
into one table: trials.png, trials.csv, trials.html.

  python experiments/dcgan_trials.py --list
  python experiments/dcgan_trials.py                           # all, on the phantom, at demo size
  python experiments/dcgan_trials.py --trials=base,sgd,lsgan --data_dir=BraTS
  python experiments/dcgan_trials.py --workdir=runs/dcgan-trials-001     # goes on, skips the done

Every trial is a preset of `dcgan.py` with what its name says changed; --list shows the flags. The
demo's recipe is changed towards the paper's, one thing at a time, for so little training shows
nothing of the paper's own: that needs --preset=paper at its size, --image_size=256
--field_of_view_mm=0 --width=32 --discriminator_width=32 --channels=3 --epochs=100.
"""

import csv
import io
import os
import shlex
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import command_line
import jax
import numpy as np
from child_script import run_script
from command_line import FLAGS, FlagGroup
from dataset import parse_slices
from dcgan_evaluation import leave_out_other_spaces
from dcgan_setup import build_model, prepare_dataset
from finished_run import load_checkpoint, load_evaluation, load_run

from brainsynth_jax.data.pipeline import load_images
from brainsynth_jax.errors import UserError
from brainsynth_jax.evaluation.trials_report import TRIAL_COLUMNS, write_trials_report
from brainsynth_jax.files import write_atomically
from brainsynth_jax.plots import save_sample_grid
from brainsynth_jax.training.dcgan import create_dcgan_state
from brainsynth_jax.training.run_folder import (
    check_same_options,
    claim_run_folder,
    held_run_folder,
    load_options,
)
from brainsynth_jax.training.sampler import Sampler

_SHOWN_SLICES = 8


class Trial(NamedTuple):
    """One run of the list.

    Attributes:
        about: what is changed, and where the paper shows or says it.
        flags: of `dcgan.py`, other than those all trials share.
        length: times --epochs.
        of: the presets of which it changes something.
    """

    about: str
    flags: Mapping[str, Any]
    length: float = 1.0
    of: tuple[str, ...] = ("demo", "paper")


_DEMO, _PAPER = ("demo",), ("paper",)
TRIALS = {
    "base": Trial("the preset, which every other trial changes", {}),
    "paper": Trial(
        "all as Tables I and II and the final experiments (figures 1, 2)",
        {"preset": "paper"},
        length=0.5,  # its batch is half the demo's
        of=_DEMO,
    ),
    "initial": Trial(
        "the initial experiments (figure 2)", {"dropout": 0, "latent_size": 100, "batch_size": 64}
    ),
    "generator_relu": Trial("ReLU in the generator (figure 3)", {"activation": "relu"}),
    "dropout": Trial("the paper's dropout (figure 4)", {"dropout": 0.5}, of=_DEMO),
    "no_dropout": Trial("no dropout (figure 4)", {"dropout": 0}, of=_PAPER),
    "sgd": Trial("SGD for both networks (figure 5)", {"optimizer": "sgd"}),
    "lsgan": Trial("mean squared error as the loss (figure 6)", {"loss": "lsgan"}),
    "batch_8": Trial("the paper's batch of 8", {"batch_size": 8}, length=0.5, of=_DEMO),
    "batch_16": Trial("batch of 16 (section III)", {"batch_size": 16}, of=_PAPER),
    "batch_64": Trial("batch of 64 (section III)", {"batch_size": 64}),
    "latent_100": Trial("100 latent units (section III)", {"latent_size": 100}),
    "latent_256": Trial("256 latent units (section III)", {"latent_size": 256}),
    "critic_relu": Trial(
        "the paper's ReLU in the discriminator", {"discriminator_activation": "relu"}, of=_DEMO
    ),
    "critic_leaky": Trial(
        "leaky ReLU in the discriminator (section III)",
        {"discriminator_activation": "leaky_relu"},
        of=_PAPER,
    ),
    "critic_elu": Trial(
        "ELU in the discriminator (section III)", {"discriminator_activation": "elu"}
    ),
    "critic_sigmoid": Trial(
        "the paper's sigmoid after its ninth convolution",
        {"discriminator_last_activation": "sigmoid"},
        of=_DEMO,
    ),
    "critic_tanh": Trial(
        "tanh after its ninth convolution (section III)", {"discriminator_last_activation": "tanh"}
    ),
    "critic_batch_norm": Trial(
        "the paper's batch norm in the discriminator", {"discriminator_norm": "batch"}, of=_DEMO
    ),
    "output_sigmoid": Trial("sigmoid as the output (section III)", {"output": "sigmoid"}),
    "rate_0.001": Trial(
        "learning rate 0.001 (section III)",
        {"learning_rate": 0.001, "discriminator_learning_rate": 0.001},
    ),
    "rate_0.005": Trial(
        "learning rate 0.005 (section III)",
        {"learning_rate": 0.005, "discriminator_learning_rate": 0.005},
    ),
    "last_layer": Trial("the paper's last 3x3 layer", {"last_layer": "conv"}, of=_DEMO),
    "no_last_layer": Trial(
        "without the last 3x3 layer (section III)", {"last_layer": "none"}, of=_PAPER
    ),
    "longer": Trial("half as long again, as 150 epochs by 100 (section III)", {}, length=1.5),
    "deconv": Trial("the paper's transposed convolutions", {"upsample": "deconv"}, of=_DEMO),
    "resize": Trial("wished for: resize and convolution", {"upsample": "resize"}, of=_PAPER),
    "pixel_shuffle": Trial("wished for: sub-pixel convolution", {"upsample": "pixel_shuffle"}),
    "wasserstein": Trial(
        "the paper's incomplete Wasserstein loss", {"loss": "wasserstein"}, of=_DEMO
    ),
    "wgan_clip": Trial(
        "wished for: the full Wasserstein loss, clipped",
        {"loss": "wgan-clip", "critic_steps": 5, "weight_decay": 0},
        length=1.5,
    ),
    "wgan_gp": Trial(
        "wished for: the full Wasserstein loss, penalised",
        {
            **{"loss": "wgan-gp", "critic_steps": 5, "weight_decay": 0},
            **{"discriminator_norm": "layer", "discriminator_noise": 0},
            **{"discriminator_last_activation": "leaky_relu"},
        },
        length=1.5,
    ),
    "demo": Trial(
        "the demo's recipe: resize, hinge loss, layer norm, augmentation, averaged weights",
        {"preset": "demo"},
        length=2.0,  # its batch is twice the paper's
        of=_PAPER,
    ),
}

trials = FlagGroup("Trials")
trials.string("trials", "all", "Some of the list with commas between, or all.")
trials.switch("list", "Print the list with its flags, and stop.")
trials.string(
    "workdir",
    None,
    "Folder of the trials, a run folder for each in it; goes on where it stopped. "
    "Without it: the next free runs/dcgan-trials-NNN.",
)
trials.string("data_dir", None, "Folder with scans, as of dcgan.py. Without it a phantom is made.")
trials.string(
    "cache_dir",
    os.path.join("~", ".cache", "brainsynth_jax"),
    "Folder for the phantom, prepared slices and compiled steps.",
)
trials.integer("seed", 0, "Seed of every trial.", highest=2**32 - 1)

shared = FlagGroup("What all trials share, as of dcgan.py")
shared.choice("preset", "demo", ("demo", "paper"), "What the trials change.")
shared.choice("modality", "flair", ("flair", "t1", "t1ce", "t2"), "MR sequence to learn.")
shared.switch("skip_bad_subjects", "Go on without subjects that cannot be used, and list them.")
shared.integer("subjects", 15, "Subjects to train on, the first in name order; 0 for all.")
shared.integer("test_subjects", 3, "Subjects after those to hold out for evaluation; 0 for none.")
shared.string("slices", "60:107", "Axial slices FIRST:LAST, both included, or all.")
shared.integer("image_size", 128, "Height and width of a slice in pixels; a power of two.", 64)
shared.number("field_of_view_mm", 192.0, "Side of the square a slice shows; 0 for all of it.")
shared.integer("channels", 1, "Equal channels of a slice, as the paper has 3.", 1, 4)
shared.integer("width", 16, "Channels at half the slice's size; the paper has 32.", 1)
shared.integer("discriminator_width", 8, "Channels of its first layer; the paper has 32.", 1)
shared.integer("epochs", 8, "Passes through the slices of a trial.", 1)

_SHARED = shared.names


def main() -> None:
    """List -> runs -> picture, table and page."""
    if FLAGS.list:
        for name, trial in list_trials().items():
            print(f"{name:18} {trial.about}\n{'':18} {show_flags(trial)}")
        common = " ".join(f"--{name}={value}" for name, value in shared_flags().items())
        print(f"\nEach is: python experiments/dcgan.py {common}\nand then its flags.")
        return
    chosen = choose_trials(FLAGS.trials)
    parse_slices(FLAGS.slices)
    cache_dir = Path(FLAGS.cache_dir).expanduser()
    command_line.use_cache(cache_dir)
    workdir = (
        Path(FLAGS.workdir).expanduser()
        if FLAGS.workdir
        else claim_run_folder(Path("runs"), "dcgan-trials")
    )
    check_workdir(workdir)
    given = {**command_line.given_flags(), "workdir": workdir}
    again = shlex.join(["python", sys.argv[0], *(f"--{name}={v}" for name, v in given.items())])
    with (
        held_run_folder(workdir),
        command_line.on_interrupt(f"What is done is kept. To go on:\n  {again}"),
    ):
        failures = {}
        for number, name in enumerate(chosen, start=1):
            trial = TRIALS[name]
            print(f"\nTrial {number} of {len(chosen)}: {name}, {trial.about}", flush=True)
            if problem := run_trial(workdir / name, trial):
                failures[name] = problem
        write_results(workdir, failures, cache_dir)
    print(f"Open {workdir / 'trials.html'}")


def choose_trials(text: str) -> list[str]:
    """ "paper,sgd" -> ["paper", "sgd"]; "all" -> all."""
    known = list_trials()
    names = list(known) if text == "all" else text.split(",")
    if unknown := [name for name in names if name not in known]:
        raise UserError(
            f"--trials={text}: {', '.join(map(repr, unknown))} is not in the list of "
            f"--preset={FLAGS.preset}. Give some of {', '.join(known)} with commas between, or all."
        )
    return names


def list_trials() -> dict[str, Trial]:
    """Those that change something of --preset."""
    return {name: trial for name, trial in TRIALS.items() if FLAGS.preset in trial.of}


def check_workdir(workdir: Path) -> None:
    """Raises UserError where a folder holds other things than trials."""
    held = {path.name for path in workdir.glob("*")} - {".lock"}
    if workdir.is_file() or (held and held.isdisjoint(TRIALS)):
        raise UserError(
            f"--workdir={workdir} holds something else than trials. Nothing was touched; give a "
            "new folder."
        )


def trial_flags(trial: Trial) -> dict[str, Any]:
    """Every flag that a trial's run is begun with."""
    return shared_flags() | {"epochs": round(FLAGS.epochs * trial.length)} | dict(trial.flags)


def shared_flags() -> dict[str, Any]:
    """What all trials are begun with, but for what each changes."""
    return {name: FLAGS[name].value for name in (*_SHARED, "seed")} | {"steps_per_epoch": 0}


def show_flags(trial: Trial) -> str:
    """The flags that a trial has after those that all share."""
    epochs = {"epochs": round(FLAGS.epochs * trial.length)} if trial.length != 1 else {}
    return " ".join(f"--{name}={value}" for name, value in {**trial.flags, **epochs}.items())


def run_trial(workdir: Path, trial: Trial) -> str | None:
    """Runs a trial unless it is done; returns what went wrong, None if nothing did."""
    flags = trial_flags(trial)
    if stored := load_options(workdir):
        # Another path is taken for other data: a trial that is done is not looked into again.
        check_same_options(workdir, stored["flags"], flags | {"data_dir": FLAGS.data_dir})
    if (workdir / "evaluation.json").exists():
        print(f"Done before, in {workdir}.")
        return None
    flags |= {"workdir": workdir, "cache_dir": FLAGS.cache_dir}
    if FLAGS.data_dir:
        flags["data_dir"] = FLAGS.data_dir
    return run_script("dcgan", flags)


def write_results(workdir: Path, failures: Mapping[str, str], cache_dir: Path) -> None:
    """Writes trials.png, trials.csv and trials.html of all that are done, and prints the table."""
    done = [name for name in list_trials() if (workdir / name / "evaluation.json").exists()]
    if not done:
        raise UserError(f"No trial came to its end: {'; '.join(failures.values())}")
    evaluations = {name: load_evaluation(workdir / name) for name in done}
    rows = {name: summarise(evaluation) for name, evaluation in evaluations.items()}
    notes = leave_out_other_spaces(rows, evaluations)
    picture = workdir / "trials.png"
    sheet = {"real": real_slices(workdir / done[0], cache_dir)}
    sheet |= {name: draw_slices(workdir / name) for name in done}
    save_sample_grid(
        picture,
        [[image[..., 0] for image in images] for images in sheet.values()],
        [""] * _SHOWN_SLICES,
        [name.replace("_", " ") for name in sheet],
    )
    content = io.StringIO()
    writer = csv.writer(content)
    writer.writerow(["trial", *TRIAL_COLUMNS, "flags"])
    for name, row in rows.items():
        writer.writerow(
            [name, *(row[column] for column in TRIAL_COLUMNS), show_flags(TRIALS[name])]
        )
    write_atomically(workdir / "trials.csv", content.getvalue().encode())
    write_trials_report(
        workdir / "trials.html",
        {name: (TRIALS[name].about, show_flags(TRIALS[name]), row) for name, row in rows.items()},
        shared_flags() | {"data_dir": FLAGS.data_dir},
        picture,
        [
            *notes,
            *(f"{name} did not come to its end: {problem}" for name, problem in failures.items()),
        ],
    )
    for name, row in rows.items():
        print(f"{name:18}" + "".join(f" {column} {row[column]}" for column in TRIAL_COLUMNS))
    for note in notes:
        print(f"warning: {note}")
    for name, problem in failures.items():
        print(f"{name:18} failed: {problem}")


def summarise(evaluation: Mapping[str, Any]) -> dict[str, float | None]:
    """One trial's numbers, by `TRIAL_COLUMNS`."""
    synthetic, gaps = evaluation["synthetic"], evaluation["critic_gap"]
    copies = synthetic["copies"] or {}
    values = {
        "step": evaluation["step"],
        "kid": synthetic["kid"]["value"],
        "kid_floor": synthetic["kid"]["floor"],
        "frechet": synthetic["frechet"]["value"],
        "frechet_floor": synthetic["frechet"]["floor"],
        "ms_ssim_samples": synthetic["ms_ssim"]["samples"]["mean"],
        "ms_ssim_real": synthetic["ms_ssim"]["real"]["mean"],
        "grid_ratio": synthetic["grid_energy"]["ratio"],
        "nearest_ratio": copies.get("median_ratio"),
        "critic_gap_train": gaps["train"],
        "critic_gap_test": gaps["test"],
    }
    return {
        name: value if value is None else float(f"{value:.4g}") for name, value in values.items()
    }


def draw_slices(workdir: Path) -> np.ndarray:
    """The first slices of the seed, by the run's best weights."""
    run = load_run(str(workdir), ("dcgan",))
    model = build_model(run.options, steps_per_epoch=1)
    create_state = partial(create_dcgan_state, model, jax.random.key(0))
    state = load_checkpoint("best", workdir, create_state)
    sampler = Sampler(model, run.options.sample_dropout)
    return sampler.draw(sampler.load(state), FLAGS.seed, _SHOWN_SLICES)


def real_slices(workdir: Path, cache_dir: Path) -> np.ndarray:
    """Real slices of the training subjects, evenly spread."""
    options = load_run(str(workdir), ("dcgan",)).options
    dataset = prepare_dataset(options, cache_dir)
    return load_images(dataset.train_a, _SHOWN_SLICES, FLAGS.seed)[0]


if __name__ == "__main__":
    command_line.run(main)
