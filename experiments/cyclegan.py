"""CycleGAN: brain-tumour MR slices into segmentation masks and back, without aligned pairs.

Trains two generators (ResNet or U-Net) against two patch discriminators by least squares and
cycle consistency. Reports the paper's Table 2 and, where the truth is known, the Dice on held-out
subjects beside that of the best threshold.

  python experiments/cyclegan.py                             # phantom, demo size, minutes
  python experiments/cyclegan.py --data_dir=BraTS --generator=resnet
  python experiments/cyclegan.py --workdir=runs/cyclegan-001 # goes on where that run stopped

How a run differs from the paper: the paper does not state image size (256 here), pool (50 past
fakes, CycleGAN's practice), initialisation (normal(0, 0.02)) or how subjects were split (by
subject here). --preset=paper is otherwise the paper; --preset=demo is narrower, draws masks
inside the brain, up-samples without a grid, noises what the discriminators see and averages the
generators' weights, which is what works in minutes on a laptop.
"""

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import command_line
import distributed
import environment
import jax
from command_line import FlagGroup
from cyclegan_evaluation import (
    describe_evaluation,
    evaluate_run,
    load_splits,
    make_finish_epoch,
    warn_of_collapse,
)
from cyclegan_setup import build_model, describe_run, open_batches, prepare_dataset
from dataset import describe_data
from estimate import estimate_cost
from run_options import resolve_run
from samples_evaluation import check_encoder
from training_run import train_run

from brainsynth_jax.progress import duration
from brainsynth_jax.training import processes
from brainsynth_jax.training.cyclegan import create_cyclegan_state, make_train_step
from brainsynth_jax.training.logs import read_metrics
from brainsynth_jax.training.loop import Plan
from brainsynth_jax.training.parallel import check_batch_size, choose_devices

PRESETS = {
    "demo": {
        "width": 16,
        "upsample": "resize",
        "mask_style": "tumor_in_brain",
        "identity_weight": 5.0,
        "discriminator_noise": 0.1,
        "average_decay": 0.99,
        "epochs": 5,
        "decay_epochs": 4,  # at a constant rate it goes bad after 500 to 1,000 steps
        "test_pairs": 400,
    },
    "paper": {
        "train_pairs": 765,
        "test_pairs": 92,
    },
}

run = FlagGroup("The run")
run.string(
    "workdir",
    None,
    "Folder of the run; an earlier run's folder goes on with that run. "
    "Without it: the next free runs/cyclegan-NNN.",
)
run.choice(
    "preset",
    None,
    tuple(PRESETS),
    "Sets several flags at once; a flag of its own wins. "
    "Without it: demo without --data_dir, paper with.",
)
run.integer("seed", 0, "Seed of split, order, weights and noise.", highest=2**32 - 1)
run.switch("dry_run", "Print options, counts, estimated time and memory, and stop.")
run.integer("devices", 0, "How many of a machine's devices share each batch; 0 for all.")
run.string(
    "distributed",
    "auto",
    "One run in several processes, one a machine: auto asks the launcher (srun, mpirun) and is one "
    "process without one; HOST:PORT is where process 0 answers; off.",
)
run.integer("process_count", 0, "How many processes; 0: as the launcher says.")
run.integer("process_index", -1, "Which one this is, from 0; -1: as the launcher says.", -1)

data = FlagGroup("Data")
data.string(
    "data_dir",
    None,
    "Folder with scans: a BraTS release, a Medical Segmentation "
    "Decathlon task, images/ + masks/, the LGG set, or trainA/ trainB/ testA/ testB/. "
    "Without it a phantom is made.",
)
data.string(
    "cache_dir",
    os.path.join("~", ".cache", "brainsynth_jax"),
    "Folder for the phantom, prepared slices and compiled steps.",
)
data.choice("modality", "flair", ("flair", "t1", "t1ce", "t2"), "MR sequence to learn.")
data.choice(
    "intensity",
    "median",
    ("median", "percentiles"),
    "Scaling of each volume: centred on "
    "the brain's median, in its standard deviations; or by its 0.5 and 99.5 percentiles.",
)
data.integer(
    "image_size",
    256,
    "Height and width of a prepared slice in pixels; for the U-Net a "
    "multiple of 256, for the ResNet of 8.",
    16,
)
data.integer(
    "min_tumor_area_pixels",
    50,
    "Tumour that a slice must show, in pixels of the prepared slice; ignored with --slices.",
)
data.string("slices", None, "Axial slices FIRST:LAST instead, both included: 60:107.")
data.choice(
    "mask_style",
    "tumor",
    ("tumor", "tumor_in_brain"),
    "Masks drawn as tumour on black, as in the paper, or inside a brain in mid grey.",
)
data.choice(
    "mask_classes",
    "whole",
    ("whole", "classes"),
    "The whole tumour in one level, or oedema, core and enhancing tumour in three.",
)
data.number("test_fraction", 0.2, "Share of the subjects held out, between 0 and 1.", 0.0, 1.0)
data.integer("train_subjects", 0, "Training subjects to use, chosen by the seed; 0 for all.")
data.integer("train_pairs", 0, "Slices to train on, at most; 0 for all. Paper: 765.")
data.integer("test_pairs", 0, "Held-out slices to evaluate, at most; 0 for all. Paper: 92.")
data.integer("evaluated_train_pairs", 92, "Training slices to evaluate, at most; 0 for all.")
data.switch("skip_bad_subjects", "Go on without subjects that cannot be used, and list them.")

networks = FlagGroup("Networks")
networks.choice("generator", "unet", ("unet", "resnet"), "Architecture of both generators.")
networks.integer("width", 64, "Channels of each network's first layer; the others follow.", 1)
networks.choice(
    "upsample",
    "deconv",
    ("deconv", "resize"),
    "Up-sampling by transposed "
    "convolutions, or by nearest-neighbour resize and convolution, without grid.",
)
networks.choice(
    "precision",
    "float32",
    ("float32", "bfloat16"),
    "Type of the networks' products; weights, norms and losses are float32 either way.",
)

training = FlagGroup("Training")
training.integer("epochs", 20, "Epochs in all.", 1)
training.integer("steps_per_epoch", 100, "Optimiser updates in an epoch.", 1)
training.integer("batch_size", 1, "Pairs in a step, all devices together.", 1)
training.number("learning_rate", 2e-4, "Adam's rate for all networks.", 1e-9, 1.0)
training.integer(
    "decay_epochs",
    0,
    "Last epochs over which the rate falls linearly to 0; all where there are fewer.",
)
training.number("cycle_weight", 10.0, "Weight of the cycle loss (the paper's lambda).")
training.number("identity_weight", 0.0, "Weight of the identity loss; CycleGAN's paintings had 5.")
training.integer("pool_size", 50, "Past fakes kept for each discriminator; 0 for none.")
training.number(
    "discriminator_noise",
    0.0,
    "Standard deviation of Gaussian noise on every image "
    "that a discriminator sees, images being in [-1, 1].",
)
training.number(
    "average_decay",
    0.0,
    "Decay a step of the moving average of the generators' "
    "weights, which evaluation and pictures then use; 0 for none.",
    0.0,
    0.99999,
)

training.switch(
    "deterministic",
    "The same numbers in each run on the same GPUs, at a cost in time; on CPUs they always are.",
)
training.choice(
    "on_nan",
    "stop",
    ("stop", "rollback"),
    "When a loss or weight is no longer a number: end the run, or go back to its newest checkpoint "
    "and on from there at half the learning rate.",
)
training.integer("max_rollbacks", 3, "How often a run may go back.")

output = FlagGroup("Output")
output.string(
    "encoder",
    None,
    "ONNX file of an encoder of your own, in whose features slices are compared (needs pip install "
    "onnxruntime), as of dcgan.py. Without it one is trained on the training slices.",
)
output.switch("skip_evaluation", "Train only; evaluate.py can do the rest at any time.")
output.string("data_licence", None, "Licence of the data, for the model card.")
output.integer("log_every", 5, "Steps from one record in metrics.jsonl to the next.", 1)
output.integer("keep_checkpoints", 3, "Newest checkpoints to keep; the best stays as well.", 1)

# May differ between the parts of one run: they change no number of it.
_FREE = {
    *("workdir", "cache_dir", "data_dir", "dry_run", "devices", "log_every", "keep_checkpoints"),
    *("on_nan", "max_rollbacks", "deterministic"),
    *distributed.LAUNCH_FLAGS,
    *("encoder", "data_licence", "skip_evaluation"),
}


def main() -> None:
    """Data -> networks -> state -> step -> loop -> evaluation."""
    started = time.monotonic()
    run = resolve_run("cyclegan", PRESETS, _FREE)
    options = run.options
    cache_dir = Path(options.cache_dir).expanduser()
    command_line.use_cache(cache_dir)
    print(f"Preset {options.preset}. Data cache {cache_dir}.")

    if options.deterministic:
        environment.make_deterministic()
    distributed.join_processes(options)
    devices = choose_devices(options.devices)
    check_batch_size(options.batch_size, len(devices))
    model = build_model(options)

    dataset = prepare_dataset(options, cache_dir)
    run.check_data(dataset.fingerprint)
    distributed.check_alike(options, _FREE, dataset.fingerprint)
    encoder = check_encoder(options, run.stored)

    state_key, step_key = jax.random.split(jax.random.key(options.seed))
    create_state = partial(create_cyclegan_state, model, state_key, options.image_size)
    plan = Plan(
        options.epochs,
        options.steps_per_epoch,
        options.log_every,
        shown=("Gen_AB", "Gen_BA", "cycle", "Dis_A", "Dis_B"),
    )
    print(describe_run(options, dataset, jax.eval_shape(create_state), devices))

    def make_step_at(rate: float) -> Callable:
        return partial(make_train_step, build_model(options, rate))

    if options.dry_run:
        batch = next(open_batches(options, dataset, 0))
        print(
            estimate_cost(
                make_step_at(1.0), create_state, batch, step_key, plan.total_steps, devices
            )
        )
        return

    workdir = distributed.choose_run_folder(run.workdir, "cyclegan")
    print(f"Run folder {workdir}. The first step is compiled, which takes a while.")
    with distributed.held_together(workdir):
        distributed.save_options_once(
            workdir, "cyclegan", options, describe_data(dataset) | {"encoder": encoder}, devices
        )
        splits = load_splits(options, dataset)
        state = train_run(
            "cyclegan",
            workdir,
            create_state,
            make_step_at,
            lambda step: open_batches(options, dataset, step),
            step_key,
            plan,
            make_finish_epoch(options, model, splits, dataset.paired, workdir),
            options.keep_checkpoints,
            devices,
            options.max_rollbacks if options.on_nan == "rollback" else 0,
        )
        processes.leave()
        if options.skip_evaluation or not processes.is_first():
            print(
                f"Trained in {duration(time.monotonic() - started)}. To evaluate it:\n"
                f"  python experiments/evaluate.py --workdir={workdir}"
            )
            return
        with command_line.on_interrupt(
            "The training is complete and saved. To evaluate it:\n"
            f"  python experiments/evaluate.py --workdir={workdir}"
        ):
            evaluation = evaluate_run(
                options, model, state, dataset, splits, workdir, "last", cache_dir
            )
    print(describe_evaluation(evaluation))
    for warning in warn_of_collapse(read_metrics(workdir), workdir):
        print(f"warning: {warning}")
    print(f"Done in {duration(time.monotonic() - started)}. Open {workdir / 'report.html'}")


if __name__ == "__main__":
    command_line.run(main, PRESETS)
