"""DCGAN: new T2-FLAIR slices with tumour, from noise.

Trains a generator that draws slices from latent vectors against a discriminator, or critic. Says
how far its slices are from real ones beside how far real ones are from each other, how alike they
are, whether they copy, and whether they show the grid of the up-sampling.

  python experiments/dcgan.py                                # phantom, demo size, minutes
  python experiments/dcgan.py --data_dir=BraTS --batch_size=8
  python experiments/dcgan.py --workdir=runs/dcgan-001       # goes on where that run stopped
  python experiments/generate.py --workdir=runs/dcgan-001    # draws new slices with it

How a run differs from the paper: the paper states neither its length (100 epochs here; it calls 150
over-trained), nor the dropout rate (0.5), the latent's distribution (uniform) or the noise of the
discriminator's layers (0.2, as in its framework's own example). Sampling is without dropout, with
batch-norm statistics measured for it. Three subjects after the paper's fifteen are held out, so
that something can be measured. --preset=paper is otherwise the paper; --preset=demo is what works
in minutes on a laptop: smaller slices around the brain, up-sampling without a grid, a hinge loss,
layer norm in the discriminator, augmented real and made slices, averaged weights.
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
from dcgan_evaluation import (
    describe_collapse,
    describe_evaluation,
    evaluate_run,
    make_finish_epoch,
)
from dcgan_setup import (
    build_model,
    count_steps_per_epoch,
    describe_run,
    describe_slices,
    note_devices,
    open_batches,
    prepare_dataset,
)
from estimate import estimate_cost
from finished_run import load_checkpoint
from run_options import resolve_run
from samples_evaluation import check_encoder, load_reference
from training_run import train_run

from brainsynth_jax.evaluation.collapse import find_collapse
from brainsynth_jax.models.blocks import UPSAMPLINGS
from brainsynth_jax.models.dcgan import ACTIVATIONS, LAST_ACTIVATIONS, NORMS, OUTPUTS
from brainsynth_jax.progress import duration
from brainsynth_jax.training import processes
from brainsynth_jax.training.augmentation import AUGMENTATIONS
from brainsynth_jax.training.dcgan import LATENTS, LOSSES, create_dcgan_state, make_train_step
from brainsynth_jax.training.logs import read_metrics
from brainsynth_jax.training.loop import Plan
from brainsynth_jax.training.parallel import check_batch_size, choose_devices

PRESETS = {
    "demo": {
        "image_size": 128,
        "field_of_view_mm": 192.0,
        "slices": "70:95",  # where the ventricles are
        "channels": 1,
        "latent_size": 64,
        "latent": "normal",
        "upsample": "resize",
        "dropout": 0.0,
        "last_layer": "none",
        "discriminator_width": 8,
        "discriminator_activation": "leaky_relu",
        "discriminator_last_activation": "leaky_relu",
        "discriminator_norm": "layer",
        "discriminator_noise": 0.1,
        "epochs": 16,
        "steps_per_epoch": 100,
        "batch_size": 16,
        "loss": "hinge",
        "learning_rate": 4e-4,
        "discriminator_learning_rate": 2e-4,
        "weight_decay": 0.0,
        "decay_epochs": 4,
        "augment": "flip,intensity",
        "average_decay": 0.995,
    },
    "paper": {},
}

run = FlagGroup("The run")
run.string(
    "workdir",
    None,
    "Folder of the run; an earlier run's folder goes on with that run. "
    "Without it: the next free runs/dcgan-NNN.",
)
run.choice(
    "preset",
    None,
    tuple(PRESETS),
    "Sets several flags at once; a flag of its own wins. "
    "Without it: demo without --data_dir, paper with.",
)
run.integer("seed", 0, "Seed of order, weights, latents and noise.", highest=2**32 - 1)
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
data.integer("subjects", 15, "Subjects to train on, the first in name order; 0 for all.")
data.integer("test_subjects", 3, "Subjects after those to hold out for evaluation; 0 for none.")
data.string("slices", "60:107", "Axial slices FIRST:LAST, both included, or all.")
data.integer("image_size", 256, "Height and width of a slice in pixels; a power of two.", 64)
data.number(
    "field_of_view_mm",
    0.0,
    "Side of the square around the brain that a slice shows; 0 for the whole slice.",
)
data.integer(
    "min_tumor_area_pixels", 0, "Tumour that a slice must show, in pixels of the prepared slice."
)
data.integer("channels", 3, "Equal channels of a slice, as the paper has 3.", 1, 4)
data.switch("skip_bad_subjects", "Go on without subjects that cannot be used, and list them.")

generator = FlagGroup("Generator")
generator.integer("latent_size", 128, "Length of the latent vector.", 1)
generator.choice("latent", "uniform", LATENTS, "Its distribution: on (-1, 1), or standard normal.")
generator.integer("width", 32, "Channels at half the slice's size, doubled at each size before.", 1)
generator.choice("activation", "leaky_relu", tuple(ACTIVATIONS), "Activation of hidden layers.")
generator.choice("output", "tanh", tuple(OUTPUTS), "Activation of the last layer.")
generator.choice(
    "upsample",
    "deconv",
    UPSAMPLINGS,
    "Up-sampling by transposed convolutions; by nearest-neighbour or bilinear resize and "
    "convolution, without a grid; by sub-pixel convolution, which starts without one.",
)
generator.number("dropout", 0.5, "Share of values dropped after each hidden layer.", 0.0, 0.95)
generator.choice(
    "last_layer",
    "conv",
    ("conv", "none"),
    "A 3x3 convolution after the last up-sampling, as in the paper, or none.",
)

discriminator = FlagGroup("Discriminator")
discriminator.integer(
    "discriminator_width", 0, "Channels of its first layer, the others follow; 0: as --width."
)
discriminator.choice(
    "discriminator_activation", "relu", tuple(ACTIVATIONS), "Activation of convolutions 1 to 8."
)
discriminator.choice(
    "discriminator_last_activation", "sigmoid", tuple(LAST_ACTIVATIONS), "Activation of the ninth."
)
discriminator.choice(
    "discriminator_norm", "batch", NORMS, "Normalisation over the batch, over each image, or none."
)
discriminator.number(
    "discriminator_noise", 0.2, "Standard deviation of Gaussian noise on its input and layers."
)
discriminator.switch("spectral_norm", "Divide each of its kernels by the largest singular value.")

training = FlagGroup("Training")
training.choice(
    "precision",
    "float32",
    ("float32", "bfloat16"),
    "Type of the networks' products; weights, norms and losses are float32 either way.",
)
training.integer("epochs", 100, "Epochs in all.", 1)
training.integer(
    "steps_per_epoch", 0, "Generator updates in an epoch; 0 for one pass through the slices."
)
training.integer("batch_size", 8, "Slices in an update, all devices together.", 1)
training.choice(
    "loss",
    "wasserstein",
    LOSSES,
    "The paper's incomplete Wasserstein loss; the full one with gradient penalty or with clipped "
    "weights; hinge; least squares (the paper's MSE trial).",
)
training.integer("critic_steps", 1, "Discriminator updates for each generator update.", 1)
training.number("penalty_weight", 10.0, "Weight of wgan-gp's gradient penalty.")
training.number("clip", 0.01, "Largest weight that wgan-clip leaves.", 1e-6)
training.choice("optimizer", "adam", ("adam", "sgd"), "Optimiser of both networks.")
training.number("learning_rate", 2e-4, "Learning rate.", 1e-9, 1.0)
training.number(
    "discriminator_learning_rate", 0.0, "The discriminator's; 0: as --learning_rate.", 0.0, 1.0
)
training.number("beta1", 0.5, "Adam's decay of the mean gradient.", 0.0, 0.999)
training.number(
    "weight_decay", 1e-3, "Times the weights, added to the gradient before the optimiser.", 0.0, 1.0
)
training.integer(
    "decay_epochs",
    0,
    "Last epochs over which the rate falls linearly to 0; all where there are fewer.",
)
training.choice(
    "batch_statistics",
    "each_device",
    ("each_device", "all_devices"),
    "Whether batch norm looks at each device's part of the batch, or at all of it.",
)
training.string(
    "augment",
    "none",
    "Random changes of what the discriminator sees, real and made alike: some of "
    f"{','.join(AUGMENTATIONS)}; or none.",
)
training.number("augment_strength", 1.0, "Probability of each of them.", 0.0, 1.0)
training.number(
    "augment_target",
    0.0,
    "Adapts that probability, from 0, so that the mean sign of real scores is this, 0.6 say; "
    "0: fixed.",
    0.0,
    1.0,
)
training.number(
    "average_decay",
    0.0,
    "Decay a step of the moving average of the generator's "
    "weights, which evaluation and samples then use; 0 for none.",
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
    "onnxruntime). It is given slices in [-1, 1] as 1 or 3 equal channels, at the size that it "
    "fixes or at 224 pixels, and answers with a vector or a map of features an image. Without it "
    "one is trained on the training slices.",
)
output.string("data_licence", None, "Licence of the data, for the model card.")
output.switch("sample_dropout", "Keep dropout on when slices are drawn from the trained generator.")
output.switch("stop_on_collapse", "End the run when it goes bad, and use its best weights.")
output.integer("log_every", 5, "Steps from one record in metrics.jsonl to the next.", 1)
output.integer("keep_checkpoints", 3, "Newest checkpoints to keep; the best stays as well.", 1)

# May differ between the parts of one run: they change no number of it, but for rounding and what
# `note_devices` says. --data_dir and --encoder have to hold the same as before.
_FREE = {
    *("workdir", "cache_dir", "data_dir", "dry_run", "devices", "log_every", "keep_checkpoints"),
    *("on_nan", "max_rollbacks", "deterministic"),
    *distributed.LAUNCH_FLAGS,
    *("stop_on_collapse", "encoder", "data_licence"),
}


def main() -> None:
    """Data -> networks -> state -> step -> loop -> evaluation."""
    started = time.monotonic()
    run = resolve_run("dcgan", PRESETS, _FREE)
    options = run.options
    cache_dir = Path(options.cache_dir).expanduser()
    command_line.use_cache(cache_dir)
    print(f"Preset {options.preset}. Data cache {cache_dir}.")

    if options.deterministic:
        environment.make_deterministic()
    distributed.join_processes(options)
    devices = choose_devices(options.devices)
    check_batch_size(options.batch_size, len(devices))
    build_model(options, steps_per_epoch=1)  # refuses what does not go together before any work
    encoder = check_encoder(options, run.stored)

    dataset = prepare_dataset(options, cache_dir)
    run.check_data(dataset.fingerprint)
    distributed.check_alike(options, _FREE, dataset.fingerprint)

    steps_per_epoch = count_steps_per_epoch(options, dataset)
    model = build_model(options, steps_per_epoch)
    state_key, step_key = jax.random.split(jax.random.key(options.seed))
    create_state = partial(create_dcgan_state, model, state_key)
    plan = Plan(
        options.epochs,
        steps_per_epoch,
        options.log_every,
        shown=("Gen", "Dis", "score_real", "score_fake"),
    )
    described = jax.eval_shape(create_state)
    print(describe_run(options, dataset, described, steps_per_epoch, devices))

    def make_step_at(rate: float) -> Callable:
        return partial(make_train_step, build_model(options, steps_per_epoch, rate))

    if options.dry_run:
        batch = next(open_batches(options, dataset, 0))
        print(
            estimate_cost(
                make_step_at(1.0), create_state, batch, step_key, plan.total_steps, devices
            )
        )
        return

    workdir = distributed.choose_run_folder(run.workdir, "dcgan")
    print(f"Run folder {workdir}. The first step is compiled, which takes a while.")
    with distributed.held_together(workdir):
        for note in note_devices(options, run.stored, len(devices)):
            print(f"warning: {note}")
        distributed.save_options_once(
            workdir, "dcgan", options, describe_slices(dataset) | {"encoder": encoder}, devices
        )
        collapse = find_collapse(read_metrics(workdir))
        if options.stop_on_collapse and collapse:
            plan = plan._replace(epochs=collapse.epoch)  # it went bad before, and ended there
            print(f"warning: {describe_collapse(collapse, workdir, ends=True)}")
        real = None
        if processes.is_first():  # which looks at slices while the others wait
            real = load_reference(dataset, options.seed, cache_dir, options.encoder)
        train_run(
            "dcgan",
            workdir,
            create_state,
            make_step_at,
            lambda step: open_batches(options, dataset, step),
            step_key,
            plan,
            make_finish_epoch(options, model, real, workdir),
            options.keep_checkpoints,
            devices,
            options.max_rollbacks if options.on_nan == "rollback" else 0,
        )
        with command_line.on_interrupt(
            "The training is complete and saved. To evaluate it:\n"
            f"  python experiments/evaluate.py --workdir={workdir}"
        ):
            state = load_checkpoint("best", workdir, create_state, devices)
            processes.leave()
            if not processes.is_first():
                return
            evaluation = evaluate_run(options, model, state, dataset, real, workdir, "best")
    print(describe_evaluation(evaluation))
    if collapse := find_collapse(read_metrics(workdir)):
        print(
            f"warning: the run had gone bad by epoch {collapse.epoch}: {collapse.reason}. The "
            "figures are of its best weights."
        )
    print(
        f"Done in {duration(time.monotonic() - started)}. Open {workdir / 'report.html'}\n"
        f"New slices: python experiments/generate.py --workdir={workdir}"
    )


if __name__ == "__main__":
    command_line.run(main, PRESETS)
