"""What a CycleGAN run's options mean: its data and its networks.

`options` holds one attribute for each flag of `cyclegan.py`.
"""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import jax
from command_line import describe_options
from dataset import list_left_out, list_subjects, open_source, parse_slices, warn_of_data
from distributed import describe_devices, own_part

from brainsynth_jax.data.pipeline import Batch, limit_pairs, limit_subjects, make_batches
from brainsynth_jax.data.prepared import SliceDataset, prepare_empty_slices, prepare_slices
from brainsynth_jax.data.slices import SliceOptions
from brainsynth_jax.errors import UserError
from brainsynth_jax.models import resnet, unet
from brainsynth_jax.models.blocks import PRECISIONS
from brainsynth_jax.models.patch import PatchDiscriminator
from brainsynth_jax.training.cyclegan import CycleGan, CycleGanState
from brainsynth_jax.training.optimizer import make_adam, make_schedule

# Of each test subject, so many slices without tumour are looked at for tumours drawn all the same.
_EMPTY_SLICES = 8

NETWORKS = {
    "unet": (unet.UnetGenerator, unet.check_image_size),
    "resnet": (resnet.ResnetGenerator, resnet.check_image_size),
}


def prepare_dataset(options: SimpleNamespace, cache_dir: Path) -> SliceDataset:
    """The prepared slices of `--data_dir`, or of the phantom, no more than the options ask for.

    Raises:
        UserError: the data cannot be used, or do not hold what the options ask for.
    """
    slices = parse_slices(options.slices)
    source = open_source(options, cache_dir)
    slice_options = SliceOptions(
        modality=options.modality,
        intensity=options.intensity,
        image_size=options.image_size,
        min_tumor_area_pixels=0 if slices else options.min_tumor_area_pixels,
        slices=slices,
        test_fraction=options.test_fraction,
        seed=options.seed,
        skip_bad_subjects=options.skip_bad_subjects,
    )
    dataset = prepare_slices(source, slice_options, cache_dir)
    if options.mask_classes == "classes" and dataset.paired and not dataset.has_classes:
        raise UserError(
            "--mask_classes=classes: these masks only tell tumour from no tumour. "
            "Use --mask_classes=whole."
        )
    if dataset.paired:
        test_empty = prepare_empty_slices(
            source, dataset.test_subjects, slice_options, _EMPTY_SLICES, cache_dir
        )
        dataset = dataset._replace(test_empty=test_empty)
    dataset = limit_subjects(dataset, options.train_subjects, options.seed)
    return limit_pairs(dataset, options.train_pairs, options.test_pairs, options.seed)


def open_batches(
    options: SimpleNamespace, dataset: SliceDataset, start_step: int
) -> Iterator[Batch]:
    """This process's part of the endless training batches from a step on."""
    return make_batches(
        dataset,
        options.mask_style,
        options.mask_classes,
        options.batch_size,
        options.seed,
        start_step,
        own_part(),
    )


def build_model(options: SimpleNamespace, rate: float = 1.0) -> CycleGan:
    """The networks, optimisers and weights that the options describe.

    Args:
        options: one attribute for each flag.
        rate: a factor of the learning rate.
    """
    generator, check_image_size = NETWORKS[options.generator]
    check_image_size(options.image_size)
    dtype = PRECISIONS[options.precision]
    schedule = make_schedule(
        rate * options.learning_rate,
        options.epochs * options.steps_per_epoch,
        min(options.decay_epochs, options.epochs) * options.steps_per_epoch,
    )
    return CycleGan(
        generator=generator(width=options.width, upsample=options.upsample, dtype=dtype),
        discriminator=PatchDiscriminator(width=options.width, dtype=dtype),
        generator_optimizer=make_adam(schedule),
        discriminator_optimizer=make_adam(schedule),
        cycle_weight=options.cycle_weight,
        identity_weight=options.identity_weight,
        pool_size=options.pool_size,
        discriminator_noise=options.discriminator_noise,
        average_decay=options.average_decay,
    )


def describe_run(
    options: SimpleNamespace, dataset: SliceDataset, state: CycleGanState, devices: list
) -> str:
    """The lines printed before the first step: options, data, networks, devices."""
    parameters = {
        name: sum(leaf.size for leaf in jax.tree.leaves(params))
        for name, params in (
            ("generator", state.generators["ab"]),
            ("discriminator", state.discriminators["a"]),
        )
    }
    domains = [
        f"{split}: {len(a)} slices of A and {len(b)} masks of B, {list_subjects(subjects)}"
        for split, a, b, subjects in (
            ("train", dataset.train_a, dataset.train_b, dataset.train_subjects),
            ("test", dataset.test_a, dataset.test_b, dataset.test_subjects),
        )
    ]
    return "\n".join(
        [
            describe_options(options),
            *domains,
            *list_left_out(dataset.skipped),
            *warn_of_data(options, dataset),
            f"Networks: 2 {options.generator} generators of {parameters['generator']:,} parameters "
            f"and 2 discriminators of {parameters['discriminator']:,}.",
            f"Devices: {describe_devices(devices)}; batch {options.batch_size}.",
        ]
    )
