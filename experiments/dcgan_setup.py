"""What a DCGAN run's options mean: its data and its networks.

`options` holds one attribute for each flag of `dcgan.py`.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import jax
import optax
from command_line import describe_options
from dataset import (
    describe_data,
    list_left_out,
    list_spacing,
    list_subjects,
    open_source,
    parse_slices,
    warn_of_data,
)
from distributed import describe_devices, own_part

from brainsynth_jax.data.pipeline import Batch, make_image_batches
from brainsynth_jax.data.prepared import SliceDataset, prepare_slices
from brainsynth_jax.data.scan import Source
from brainsynth_jax.data.slices import SliceOptions
from brainsynth_jax.errors import UserError
from brainsynth_jax.models.blocks import PRECISIONS
from brainsynth_jax.models.dcgan import (
    TOTAL_STRIDE,
    DcganDiscriminator,
    DcganGenerator,
    check_image_size,
)
from brainsynth_jax.training.augmentation import AUGMENTATIONS
from brainsynth_jax.training.dcgan import SCORE_MIDPOINTS, Dcgan, DcganState
from brainsynth_jax.training.optimizer import add_weight_decay, make_adam, make_schedule, make_sgd

# 16 at 64 pixels learnt nothing in 1,200 steps, where layer norm drew brains; 32 at 128 pixels did.
_FEWEST_NORM_VALUES = 32


def prepare_dataset(options: SimpleNamespace, cache_dir: Path) -> SliceDataset:
    """The prepared slices of the first subjects of `--data_dir`, or of the phantom.

    Raises:
        UserError: the data cannot be used, or do not hold what the options ask for.
    """
    wanted = options.subjects + options.test_subjects
    source = open_source(options, cache_dir, wanted)
    if source.domains is None:
        source = _first_subjects(source, options)
    dataset = prepare_slices(
        source,
        SliceOptions(
            modality=options.modality,
            intensity=options.intensity,
            image_size=options.image_size,
            field_of_view_mm=options.field_of_view_mm or None,
            min_tumor_area_pixels=options.min_tumor_area_pixels,
            slices=parse_slices(options.slices),
            test_patients=options.test_subjects,
            skip_bad_subjects=options.skip_bad_subjects,
        ),
        cache_dir,
    )
    if len(dataset.train_a) < 2:
        raise UserError(
            "There is only one training slice, and one says nothing of how slices differ. Give "
            "more --slices, more --subjects or less --min_tumor_area_pixels."
        )
    if options.batch_size > len(dataset.train_a):
        raise UserError(
            f"--batch_size={options.batch_size}: there are only {len(dataset.train_a)} training "
            "slices. Choose a smaller batch, more --subjects or more --slices."
        )
    return dataset._replace(  # without the pictures of trainB/ and testB/, which play no part
        train_subjects=tuple(dict.fromkeys(map(str, dataset.train_a.subjects))),
        test_subjects=tuple(dict.fromkeys(map(str, dataset.test_a.subjects))),
    )


def _first_subjects(source: Source, options: SimpleNamespace) -> Source:
    """Those to train on and those to hold out, the first in name order; all for --subjects=0."""
    train, test, found = options.subjects, options.test_subjects, len(source.subjects)
    if train == 0:
        return source
    if found < train + test:
        rest = found - test
        ways = [f"--subjects={rest}"] if rest > 0 else []
        ways += ["--subjects=0 for all but those held out", "a smaller --test_subjects"]
        raise UserError(
            f"--subjects={train} and --test_subjects={test} need {train + test} subjects; "
            f"{source.root} has {found} that can be used. Give {', or '.join(ways)}."
        )
    return source._replace(subjects=source.subjects[: train + test])


def open_batches(
    options: SimpleNamespace, dataset: SliceDataset, start_step: int
) -> Iterator[Batch]:
    """This process's part of the endless training batches from a step on.

    A step has images for each critic update.
    """
    images = options.batch_size * options.critic_steps
    return make_image_batches(dataset.train_a, images, options.seed, start_step, own_part())


def count_steps_per_epoch(options: SimpleNamespace, dataset: SliceDataset) -> int:
    """--steps_per_epoch, or for 0 as many as one pass through the training slices takes."""
    seen = options.batch_size * options.critic_steps
    return options.steps_per_epoch or max(1, len(dataset.train_a) // seen)


def build_model(options: SimpleNamespace, steps_per_epoch: int, rate: float = 1.0) -> Dcgan:
    """The networks, optimisers and settings that the options describe.

    Args:
        options: one attribute for each flag.
        steps_per_epoch: optimiser updates in an epoch.
        rate: a factor of the learning rates.

    Raises:
        UserError: options that do not go together.
    """
    check_image_size(options.image_size)
    if options.loss == "wgan-gp" and options.discriminator_norm == "batch":
        raise UserError(
            "--loss=wgan-gp: the penalty is on each image's own gradient, and batch norm makes a "
            "score depend on the whole batch. Add --discriminator_norm=layer, or none."
        )
    if options.augment_target and options.augment == "none":
        raise UserError(
            f"--augment_target={options.augment_target:g} adapts the changes that --augment names, "
            f"and it is none. Give some of {', '.join(AUGMENTATIONS)}, or leave the target at 0."
        )
    if options.augment_target and options.loss not in SCORE_MIDPOINTS:
        raise UserError(
            f"--augment_target={options.augment_target:g}: a {options.loss} critic's scores have "
            f"no zero to adapt to. Use --loss={' or '.join(SCORE_MIDPOINTS)}, or leave it at 0."
        )
    dtype = PRECISIONS[options.precision]
    return Dcgan(
        generator=DcganGenerator(
            image_size=options.image_size,
            width=options.width,
            channels=options.channels,
            activation=options.activation,
            output=options.output,
            upsample=options.upsample,
            dropout_rate=options.dropout,
            last_layer=options.last_layer == "conv",
            dtype=dtype,
        ),
        discriminator=DcganDiscriminator(
            width=options.discriminator_width or options.width,
            activation=options.discriminator_activation,
            last_activation=options.discriminator_last_activation,
            norm=options.discriminator_norm,
            noise_std=options.discriminator_noise,
            spectral_norm=options.spectral_norm,
            dtype=dtype,
        ),
        generator_optimizer=_optimizer(options, rate * options.learning_rate, steps_per_epoch),
        discriminator_optimizer=_optimizer(
            options,
            rate * (options.discriminator_learning_rate or options.learning_rate),
            steps_per_epoch,
        ),
        loss=options.loss,
        latent_size=options.latent_size,
        latent=options.latent,
        critic_steps=options.critic_steps,
        penalty_weight=options.penalty_weight,
        clip=options.clip,
        augmentations=parse_augmentations(options.augment),
        augment_strength=0.0 if options.augment_target else options.augment_strength,
        augment_target=options.augment_target,
        average_decay=options.average_decay,
        synchronise=options.batch_statistics == "all_devices",
    )


def _optimizer(
    options: SimpleNamespace, learning_rate: float, steps_per_epoch: int
) -> optax.GradientTransformation:
    schedule = make_schedule(
        learning_rate,
        options.epochs * steps_per_epoch,
        min(options.decay_epochs, options.epochs) * steps_per_epoch,
    )
    optimizer = (
        make_sgd(schedule) if options.optimizer == "sgd" else make_adam(schedule, options.beta1)
    )
    return add_weight_decay(optimizer, options.weight_decay)


def parse_augmentations(text: str) -> tuple[str, ...]:
    """ "shift,cutout" -> ("shift", "cutout"); "none" -> ()."""
    if text == "none":
        return ()
    names = tuple(text.split(","))
    if unknown := [name for name in names if name not in AUGMENTATIONS]:
        raise UserError(
            f"--augment={text}: {', '.join(map(repr, unknown))} is none of "
            f"{', '.join(AUGMENTATIONS)}. Give some of these with commas between, or none."
        )
    return names


def describe_slices(dataset: SliceDataset) -> dict:
    """What options.json says of the data; the spacing is for those who write made slices."""
    return describe_data(dataset) | {"spacing_mm": list_spacing(dataset.train_a)}


def note_devices(options: SimpleNamespace, stored: dict | None, devices: int) -> list[str]:
    """Where a run that goes on with other devices is no longer what one unbroken run would be."""
    began = len(stored["devices"]) if stored else devices
    if began == devices or options.batch_statistics == "all_devices":
        return []
    return [
        f"the run has had {began} devices and goes on with {devices}: batch norm, which looks at "
        "each device's part of the batch, now looks at other parts, and the numbers are not those "
        f"of an unbroken run. Give --devices={began} where there are so many."
    ]


def describe_run(
    options: SimpleNamespace,
    dataset: SliceDataset,
    state: DcganState,
    steps_per_epoch: int,
    devices: list,
) -> str:
    """The lines printed before the first step: options, data, networks, devices."""
    generator, discriminator = (
        sum(leaf.size for leaf in jax.tree.leaves(params))
        for params in (state.generator, state.discriminator)
    )
    total = options.epochs * steps_per_epoch
    return "\n".join(
        [
            describe_options(options),
            f"train: {len(dataset.train_a)} slices, {list_subjects(dataset.train_subjects)}",
            f"test: {len(dataset.test_a)} slices, {list_subjects(dataset.test_subjects)}",
            *list_left_out(dataset.skipped),
            *warn_of_data(options, dataset, masks=False),
            *_note_choice(options, dataset),
            f"Networks: a generator of {generator:,} parameters and a discriminator of "
            f"{discriminator:,}.",
            f"Schedule: {total} steps, {steps_per_epoch} an epoch.",
            f"Devices: {describe_devices(devices)}; batch {options.batch_size}.",
            *_note_batch_norm(options, len(devices)),
        ]
    )


def _note_choice(options: SimpleNamespace, dataset: SliceDataset) -> list[str]:
    """Where the data hold other slices than --subjects and --slices let expect."""
    if not dataset.paired:
        return [
            "trainA/ and testA/ say which pictures to train on and to hold out; --subjects, "
            "--test_subjects and --slices have no say."
        ]
    wanted = parse_slices(options.slices)
    if wanted is None or options.min_tumor_area_pixels:
        return []
    asked = wanted[1] - wanted[0] + 1
    counts = Counter([*map(str, dataset.train_a.subjects), *map(str, dataset.test_a.subjects)])
    short = {name: count for name, count in counts.items() if count < asked}
    if not short:
        return []
    name, count = min(short.items(), key=lambda item: item[1])
    return [
        f"--slices={options.slices} are {asked} slices a subject; {len(short)} of {len(counts)} "
        f"subjects have fewer of them, the fewest {name} with {count}."
    ]


def _note_batch_norm(options: SimpleNamespace, devices: int) -> list[str]:
    """Where the discriminator's batch norm takes its statistics from too little to learn by."""
    images = options.batch_size
    if options.batch_statistics == "each_device":
        images //= devices
    values = images * (options.image_size // TOTAL_STRIDE) ** 2
    if options.discriminator_norm != "batch" or values >= _FEWEST_NORM_VALUES:
        return []
    return [
        f"warning: the discriminator's last batch norms take their statistics from {values} values "
        f"a channel, and below {_FEWEST_NORM_VALUES} runs are likely to learn nothing. Give "
        "--discriminator_norm=layer, a larger --batch_size or a larger --image_size."
    ]
