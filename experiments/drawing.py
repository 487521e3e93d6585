"""What a finished run draws, image by image, and all that is needed to draw it again."""

import hashlib
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import cyclegan_setup
import dcgan_setup
import jax
import numpy as np
from dataset import list_spacing
from finished_run import load_checkpoint
from run_options import Run

from brainsynth_jax.catalogue.catalogue import Origin
from brainsynth_jax.data.masks import TUMOR, decode_tumor, is_tumor
from brainsynth_jax.data.pictures import grey_levels
from brainsynth_jax.data.pipeline import load_slices
from brainsynth_jax.data.prepared import SliceDataset
from brainsynth_jax.errors import UserError
from brainsynth_jax.training.calls import aligned_calls
from brainsynth_jax.training.cyclegan import create_cyclegan_state
from brainsynth_jax.training.dcgan import create_dcgan_state
from brainsynth_jax.training.pairs import IMAGES_A_CALL, draw_from_masks
from brainsynth_jax.training.sampler import Sampler


class Drawn(NamedTuple):
    """Images as they go into a catalogue.

    Attributes:
        images: (N, S, S) uint8, black to white.
        masks: (N, S, S) uint8, codes of `data.masks`; None where there are none.
    """

    images: np.ndarray
    masks: np.ndarray | None


class Drawing(NamedTuple):
    """One run's images of one seed.

    Attributes:
        origin: what draws them.
        draw: (number of the first, how many) -> images; image k is the same in any company.
        images_a_call: drawn at a time: stretches that end at its multiples waste nothing.
        most: so many there are; None for no end.
    """

    origin: Origin
    draw: Callable[[int, int], Drawn]
    images_a_call: int
    most: int | None = None


def prepare_dataset(run: Run, cache_dir: Path) -> SliceDataset:
    """The slices that a run was trained on and tested on.

    Raises:
        UserError: they are not there any more, or others.
    """
    setup = {"cyclegan": cyclegan_setup, "dcgan": dcgan_setup}[run.stored["script"]]
    dataset = setup.prepare_dataset(run.options, cache_dir)
    run.check_data(dataset.fingerprint)
    return dataset


def open_dcgan(
    run: Run, checkpoint: str, seed: int, images_a_call: int, devices: Sequence[jax.Device]
) -> Drawing:
    """Slices that a DCGAN draws from latents.

    Args:
        run: of `dcgan.py`.
        checkpoint: as `finished_run.load_checkpoint` takes it.
        seed: of the latents.
        images_a_call: drawn at a time, on all devices together.
        devices: that share them.

    Raises:
        UserError: no such checkpoint.
    """
    model = dcgan_setup.build_model(run.options, steps_per_epoch=1)
    create_state = partial(create_dcgan_state, model, jax.random.key(0))
    state = load_checkpoint(checkpoint, run.workdir, create_state)
    sampler = Sampler(model, run.options.sample_dropout, devices, images_a_call)
    weights = sampler.load(state)

    def draw(first: int, count: int) -> Drawn:
        return Drawn(grey_levels(sampler.draw(weights, seed, count, first)[..., 0]), None)

    origin = _describe(
        run,
        "dcgan",
        state,
        (state.best_generator, state.generator_statistics),
        run.stored["data"]["spacing_mm"],
        {"images_a_call": images_a_call, "devices": len(devices)},
    )
    return Drawing(origin, draw, images_a_call)


def open_pairs(run: Run, checkpoint: str, seed: int, dataset: SliceDataset) -> Drawing:
    """Slices that a CycleGAN draws from masks: of training subjects, moved, scaled and bent.

    A run that saw whole tumours only gives masks of whole tumours.

    Args:
        run: of `cyclegan.py`.
        checkpoint: as `finished_run.load_checkpoint` takes it.
        seed: of the choice of masks and their changes.
        dataset: of the run.

    Raises:
        UserError: no such checkpoint, or masks that say nothing of the brain around a tumour.
    """
    if not dataset.paired:
        raise UserError(
            f"--direction=ba: the masks of the run in {run.workdir} are pictures without the brain "
            "around them, in which a tumour could be moved. Scans with their own masks are needed."
        )
    options = run.options
    generate, state = _load_generator(run, checkpoint)
    tissue = load_slices(dataset.train_b, True, options.mask_style, options.mask_classes).tissue

    def draw(first: int, count: int) -> Drawn:
        drawn = draw_from_masks(
            generate,
            state.best_generators["ba"],
            tissue,
            options.mask_style,
            options.mask_classes,
            count,
            seed,
            first,
        )
        masks = drawn.tissue
        if options.mask_classes == "whole":
            masks = np.where(is_tumor(masks), np.uint8(TUMOR), masks)
        return Drawn(grey_levels(drawn.images[..., 0]), masks)

    return Drawing(_describe_cyclegan(run, "cyclegan-ba", state, dataset), draw, IMAGES_A_CALL)


def open_proposals(run: Run, checkpoint: str, dataset: SliceDataset) -> Drawing:
    """Masks that a CycleGAN proposes for slices of subjects that it was not trained on.

    Args:
        run: of `cyclegan.py`.
        checkpoint: as `finished_run.load_checkpoint` takes it.
        dataset: of the run.

    Raises:
        UserError: no such checkpoint.
    """
    generate, state = _load_generator(run, checkpoint)
    params, records = state.best_generators["ab"], dataset.test_a

    style, classes = run.options.mask_style, run.options.mask_classes

    def draw(first: int, count: int) -> Drawn:
        images, masks = [], []
        for start, wanted in aligned_calls(first, count, IMAGES_A_CALL):
            places = np.arange(start, min(start + IMAGES_A_CALL, len(records)))
            slices = load_slices(records.take(places), dataset.paired, style, classes)
            pictures = np.asarray(generate(params, slices.image))
            images.append(grey_levels(slices.image[wanted, ..., 0]))
            masks.append(decode_tumor(pictures[wanted, ..., 0], style, classes) * np.uint8(TUMOR))
        return Drawn(np.concatenate(images), np.concatenate(masks))

    origin = _describe_cyclegan(run, "cyclegan-ab", state, dataset)
    return Drawing(origin, draw, IMAGES_A_CALL, len(records))


def _load_generator(run: Run, checkpoint: str) -> tuple[Callable, Any]:
    """A function of parameters and pictures, compiled once, and the checkpoint's state."""
    model = cyclegan_setup.build_model(run.options)
    create_state = partial(create_cyclegan_state, model, jax.random.key(0), run.options.image_size)
    state = load_checkpoint(checkpoint, run.workdir, create_state)
    return jax.jit(lambda params, x: model.generator.apply({"params": params}, x)), state


def _describe_cyclegan(run: Run, model: str, state: Any, dataset: SliceDataset) -> Origin:
    weights = state.best_generators[model.removeprefix("cyclegan-")]
    spacing_mm = list_spacing(dataset.train_a)
    return _describe(run, model, state, weights, spacing_mm, {})


def _describe(
    run: Run,
    model: str,
    state: Any,
    weights: Any,
    spacing_mm: Sequence[float | None],
    drawing: dict[str, Any],
) -> Origin:
    data = run.stored["data"]
    return Origin(
        model=model,
        run=str(run.workdir.resolve()),
        step=int(state.step),
        checkpoint_hash=_hash_weights(weights),
        code_version=_code_version(),
        options={
            "flags": run.stored["flags"],
            "weights": "raw" if state.average is None else "ema",
            "drawing": drawing,
        },
        data_fingerprint=data["fingerprint"],
        subjects=[hashlib.sha256(name.encode()).hexdigest() for name in data["train_subjects"]],
        spacing_mm=spacing_mm,
    )


def _hash_weights(weights: Any) -> str:
    """Of a tree of arrays and their names, hexadecimal SHA-256."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(weights):
        array = np.asarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _code_version() -> str:
    """This program's, and the commit where it runs from a checkout: 0.1.0+16dcb76."""
    released = version("brainsynth_jax")
    ask = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        found = subprocess.run(ask, cwd=Path(__file__).parent, capture_output=True, text=True)
    except OSError:  # there is no git
        return released
    return f"{released}+{found.stdout.strip()}" if found.returncode == 0 else released
