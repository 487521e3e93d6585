"""Evaluates a run again, from any of its checkpoints.

  python experiments/evaluate.py --workdir=runs/cyclegan-001
  python experiments/evaluate.py --workdir=runs/cyclegan-001 --checkpoint=best

Writes evaluation.json, the CSV tables, the final pictures, curves.png, report.html and
MODEL_CARD.md into the run's folder, in place of those of the evaluation before. The weights are
not touched.
"""

import os
from functools import partial
from pathlib import Path

import command_line
import cyclegan_evaluation
import cyclegan_setup
import dcgan_evaluation
import dcgan_setup
import jax
from command_line import FLAGS, FlagGroup
from finished_run import load_checkpoint, load_run
from run_options import Run
from samples_evaluation import load_reference

from brainsynth_jax.training.cyclegan import create_cyclegan_state
from brainsynth_jax.training.dcgan import create_dcgan_state
from brainsynth_jax.training.run_folder import held_run_folder

evaluation = FlagGroup("Evaluation")
evaluation.string("workdir", None, "Folder of the run to evaluate. Needed.")
evaluation.string(
    "checkpoint",
    None,
    "last; best (a CycleGAN's highest Dice on training subjects, a DCGAN's lowest kernel distance "
    "to training slices, seen at an epoch's end); or a step. Without it: a CycleGAN's last, a "
    "DCGAN's best.",
)
evaluation.string(
    "encoder",
    None,
    "ONNX file, as of dcgan.py: where the run's is now, or another to compare slices in. "
    "none: one that is trained on the training slices. Without it: the run's.",
)
evaluation.string("data_dir", None, "Where the scans are now, if the run's folder has moved.")
evaluation.string(
    "cache_dir",
    os.path.join("~", ".cache", "brainsynth_jax"),
    "Folder for the phantom, prepared slices and compiled steps.",
)


def main() -> None:
    """Run folder -> data -> networks -> checkpoint -> evaluation."""
    run = load_run(FLAGS.workdir, ("cyclegan", "dcgan"), FLAGS.data_dir)
    cache_dir = Path(FLAGS.cache_dir).expanduser()
    command_line.use_cache(cache_dir)
    evaluate = {"cyclegan": evaluate_cyclegan, "dcgan": evaluate_dcgan}[run.stored["script"]]
    print(evaluate(run, cache_dir, FLAGS.checkpoint))
    print(f"Open {run.workdir / 'report.html'}")


def evaluate_cyclegan(run: Run, cache_dir: Path, checkpoint: str | None) -> str:
    """Evaluates a CycleGAN; returns what a reader needs first."""
    choose_encoder(run)
    dataset = cyclegan_setup.prepare_dataset(run.options, cache_dir)
    run.check_data(dataset.fingerprint)
    model = cyclegan_setup.build_model(run.options)
    create_state = partial(create_cyclegan_state, model, jax.random.key(0), run.options.image_size)
    chosen = checkpoint or "last"
    state = load_checkpoint(chosen, run.workdir, create_state)
    splits = cyclegan_evaluation.load_splits(run.options, dataset)
    with held_run_folder(run.workdir):
        evaluation = cyclegan_evaluation.evaluate_run(
            run.options, model, state, dataset, splits, run.workdir, chosen, cache_dir
        )
    return cyclegan_evaluation.describe_evaluation(evaluation)


def choose_encoder(run: Run) -> None:
    """Sets the run's to --encoder where that is given."""
    if FLAGS.encoder is not None:
        run.options.encoder = None if FLAGS.encoder == "none" else FLAGS.encoder


def evaluate_dcgan(run: Run, cache_dir: Path, checkpoint: str | None) -> str:
    """Evaluates a DCGAN; returns what a reader needs first."""
    choose_encoder(run)
    dataset = dcgan_setup.prepare_dataset(run.options, cache_dir)
    run.check_data(dataset.fingerprint)
    model = dcgan_setup.build_model(run.options, steps_per_epoch=1)
    chosen = checkpoint or "best"
    create_state = partial(create_dcgan_state, model, jax.random.key(0))
    state = load_checkpoint(chosen, run.workdir, create_state)
    real = load_reference(dataset, run.options.seed, cache_dir, run.options.encoder)
    with held_run_folder(run.workdir):
        evaluation = dcgan_evaluation.evaluate_run(
            run.options, model, state, dataset, real, run.workdir, chosen
        )
    return dcgan_evaluation.describe_evaluation(evaluation)


if __name__ == "__main__":
    command_line.run(main)
