"""What a CycleGAN run's options mean: its data and its networks.

`options` holds one attribute for each flag of `cyclegan.py`.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
from command_line import describe_options

from brainsynth_jax.data.phantom import write_phantom
from brainsynth_jax.data.pipeline import limit_pairs
from brainsynth_jax.data.prepared import SliceDataset, prepare_slices
from brainsynth_jax.data.slices import SliceOptions
from brainsynth_jax.data.sources import recognise
from brainsynth_jax.errors import UserError
from brainsynth_jax.models import resnet, unet
from brainsynth_jax.models.patch import PatchDiscriminator
from brainsynth_jax.training.cyclegan import CycleGan, CycleGanState
from brainsynth_jax.training.optimizer import make_adam, make_schedule

_log = logging.getLogger("brainsynth_jax.cyclegan")

NETWORKS = {
    "unet": (unet.UnetGenerator, unet.check_image_size),
    "resnet": (resnet.ResnetGenerator, resnet.check_image_size),
}
PRECISIONS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def prepare_dataset(options: SimpleNamespace, cache_dir: Path) -> SliceDataset:
    """The prepared slices of `--data_dir`, or of the phantom, no more than the options ask for.

    Raises:
        UserError: the data cannot be used, or do not hold what the options ask for.
    """
    if options.data_dir is None:
        _log.info("No --data_dir: a phantom of brains with gliomas stands in for scans.")
        data_dir = write_phantom(cache_dir)
    else:
        data_dir = Path(options.data_dir).expanduser()
    dataset = prepare_slices(
        recognise(data_dir, options.modality),
        SliceOptions(
            modality=options.modality,
            intensity=options.intensity,
            image_size=options.image_size,
            min_tumor_area_pixels=options.min_tumor_area_pixels,
            slices=parse_slices(options.slices),
            test_fraction=options.test_fraction,
            seed=options.seed,
            skip_bad_subjects=options.skip_bad_subjects,
        ),
        cache_dir,
    )
    if options.mask_classes == "classes" and dataset.paired and not dataset.has_classes:
        raise UserError(
            "--mask_classes=classes: these masks only tell tumour from no tumour. "
            "Use --mask_classes=whole."
        )
    return limit_pairs(dataset, options.train_pairs, options.test_pairs, options.seed)


def parse_slices(text: str | None) -> tuple[int, int] | None:
    """ "60:107" -> (60, 107), the first and the last slice; None -> None."""
    if text is None:
        return None
    first, _, last = text.partition(":")
    if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last)):
        raise UserError(
            f"--slices={text}: the first and the last slice number are needed, FIRST:LAST, such "
            "as 60:107."
        )
    return int(first), int(last)


def build_model(options: SimpleNamespace) -> CycleGan:
    """The networks, optimisers and weights that the options describe."""
    generator, check_image_size = NETWORKS[options.generator]
    check_image_size(options.image_size)
    dtype = PRECISIONS[options.precision]
    schedule = make_schedule(
        options.learning_rate,
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


def describe_data(dataset: SliceDataset) -> dict:
    """What options.json says of the data: who is where, and of what they are a fingerprint."""
    return {
        "fingerprint": dataset.fingerprint,
        "train_subjects": list(dataset.train_subjects),
        "test_subjects": list(dataset.test_subjects),
        "left_out": list(dataset.skipped),
    }


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
        f"{split}: {len(a)} slices of A and {len(b)} masks of B, {len(subjects)} subjects "
        f"({_some(subjects)})"
        for split, a, b, subjects in (
            ("train", dataset.train_a, dataset.train_b, dataset.train_subjects),
            ("test", dataset.test_a, dataset.test_b, dataset.test_subjects),
        )
    ]
    return "\n".join(
        [
            describe_options(options),
            *domains,
            *_left_out(dataset.skipped),
            f"Networks: 2 {options.generator} generators of {parameters['generator']:,} parameters "
            f"and 2 discriminators of {parameters['discriminator']:,}.",
            f"Devices: {len(devices)} x {devices[0].device_kind}; batch {options.batch_size}.",
        ]
    )


def _left_out(problems: Sequence[str], shown: int = 20) -> list[str]:
    if not problems:
        return []
    more = [f"  and {len(problems) - shown} more, all in options.json"]
    return [
        f"Left out: {len(problems)} subjects.",
        *(f"  {problem}" for problem in problems[:shown]),
        *(more if len(problems) > shown else []),
    ]


def _some(names: Sequence[str], shown: int = 20) -> str:
    more = len(names) - shown
    text = ", ".join(names[:shown])
    return f"{text} and {more} more, all in options.json" if more > 0 else text
