"""Evaluates a run again, from any of its checkpoints.

  python experiments/evaluate.py --workdir=runs/cyclegan-001
  python experiments/evaluate.py --workdir=runs/cyclegan-001 --checkpoint=best

Writes evaluation.json, the final pictures, curves.png and report.html into the run's folder, in
place of those of the evaluation before. The weights are not touched.
"""

import os
from pathlib import Path
from types import SimpleNamespace

import command_line
import jax
from command_line import FLAGS, FlagGroup
from cyclegan_evaluation import describe_evaluation, evaluate_run, load_splits
from cyclegan_setup import build_model, prepare_dataset
from run_options import Run

from brainsynth_jax.errors import UserError
from brainsynth_jax.training.checkpoints import Checkpoints
from brainsynth_jax.training.cyclegan import CycleGanState, create_cyclegan_state
from brainsynth_jax.training.run_folder import held_run_folder, load_options

evaluation = FlagGroup("Evaluation")
evaluation.string("workdir", None, "Folder of the run to evaluate. Needed.")
evaluation.string(
    "checkpoint",
    "last",
    "last, best (the highest Dice on training subjects seen at an epoch's end), or a step.",
)
evaluation.string("data_dir", None, "Where the scans are now, if the run's folder has moved.")
evaluation.string(
    "cache_dir",
    os.path.join("~", ".cache", "brainsynth_jax"),
    "Folder for the phantom, prepared slices and compiled steps.",
)


def main() -> None:
    """Run folder -> data -> networks -> checkpoint -> evaluation."""
    run = load_run()
    cache_dir = Path(FLAGS.cache_dir).expanduser()
    command_line.use_cache(cache_dir)
    dataset = prepare_dataset(run.options, cache_dir)
    run.check_data(dataset.fingerprint)
    model = build_model(run.options)
    state = create_cyclegan_state(model, jax.random.key(0), run.options.image_size)
    with Checkpoints(run.workdir / "checkpoints", read_only=True) as checkpoints:
        state = load_checkpoint(FLAGS.checkpoint, checkpoints, state)
    splits = load_splits(run.options, dataset)
    with held_run_folder(run.workdir):
        evaluation = evaluate_run(
            run.options, model, state, dataset, splits, run.workdir, FLAGS.checkpoint
        )
    print(describe_evaluation(evaluation))
    print(f"Open {run.workdir / 'report.html'}")


def load_run() -> Run:
    """The run in --workdir, with this script's --data_dir where one is given."""
    if FLAGS.workdir is None:
        raise UserError("--workdir is needed: the folder of the run to evaluate.")
    workdir = Path(FLAGS.workdir).expanduser()
    stored = load_options(workdir)
    if stored is None:
        raise UserError(f"--workdir={workdir} holds no run. Give the folder of one.")
    if stored["script"] != "cyclegan":
        raise UserError(f"--workdir={workdir} holds a run of {stored['script']}, not of cyclegan.")
    flags = stored["flags"] | ({"data_dir": FLAGS.data_dir} if FLAGS.data_dir else {})
    return Run(workdir, SimpleNamespace(**flags), stored)


def load_checkpoint(wanted: str, checkpoints: Checkpoints, like: CycleGanState) -> CycleGanState:
    """The state that "last", "best" or a step means."""
    if not checkpoints.steps:
        raise UserError(f"{checkpoints.folder} holds no checkpoint yet. Train the run first.")
    if wanted == "last":
        _, state = checkpoints.restore_newest(like)
        return state
    if wanted == "best" and checkpoints.best_step is not None:
        return checkpoints.restore(checkpoints.best_step, like)
    if wanted.isdecimal():
        return checkpoints.restore(int(wanted), like)
    raise UserError(
        f"--checkpoint={wanted}: last, best (where the data have true masks) or a step of "
        f"{checkpoints.steps} is needed."
    )


if __name__ == "__main__":
    command_line.run(main)
