"""Where the synthetic pairs of utility.py come from: a CycleGAN, or a folder.

`options` holds one attribute for each flag of `utility.py`.
"""

import shlex
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
from child_script import run_script
from command_line import given_flags
from cyclegan_evaluation import warn_of_collapse
from cyclegan_setup import build_model
from dataset import list_subjects
from finished_run import load_checkpoint, load_run
from run_options import Run

from brainsynth_jax.data.masks import is_tumor
from brainsynth_jax.data.pipeline import load_slices
from brainsynth_jax.data.prepared import SliceDataset, prepare_slices
from brainsynth_jax.data.slices import SliceOptions
from brainsynth_jax.data.sources import recognise
from brainsynth_jax.errors import UserError
from brainsynth_jax.evaluation.copies import find_limits
from brainsynth_jax.evaluation.neighbours import nearest_distances
from brainsynth_jax.progress import Progress
from brainsynth_jax.training.checkpoints import Checkpoints
from brainsynth_jax.training.cyclegan import create_cyclegan_state
from brainsynth_jax.training.logs import read_metrics
from brainsynth_jax.training.pairs import Pairs, draw_from_masks, shrink_pairs
from brainsynth_jax.training.run_folder import load_options

# What a CycleGAN's data are made by, beside --data_dir.
DATA_FLAGS = (
    *("modality", "intensity", "image_size", "min_tumor_area_pixels", "test_fraction", "seed"),
    "skip_bad_subjects",
)
# So many of each kind are looked at for copies of held-out slices.
_COMPARED_SLICES = 400


def take_data_of(run: Run, options: SimpleNamespace) -> SimpleNamespace:
    """The options with the data of the CycleGAN's run.

    Raises:
        UserError: a flag on the command line asks for other data.
    """
    began = {name: getattr(run.options, name) for name in (*DATA_FLAGS, "data_dir")}
    for name, value in given_flags().items():
        if name in began and name != "data_dir" and value != began[name]:
            raise UserError(
                f"--{name}={value}: the run in {run.workdir} has {began[name]}, and its data are "
                "used. Leave the flag out."
            )
    return SimpleNamespace(**vars(options) | began)


def load_ready_pairs(
    options: SimpleNamespace, dataset: SliceDataset, most: int, cache_dir: Path
) -> Pairs:
    """At most so many pairs of --pairs_dir, at the segmentation network's size.

    Raises:
        UserError: there are none, or they are called like subjects that are held out.
    """
    slice_options = SliceOptions(
        **{name: getattr(options, name) for name in DATA_FLAGS if name != "test_fraction"},
        test_patients=0,
    )
    try:
        source = recognise(Path(options.pairs_dir).expanduser(), options.modality)
        found = prepare_slices(source, slice_options, cache_dir)
    except UserError as error:
        raise UserError(str(error).replace("--data_dir", "--pairs_dir")) from error
    if not found.paired:
        raise UserError(f"--pairs_dir={options.pairs_dir}: images and their own masks are needed.")
    if shared := sorted(set(found.train_subjects) & set(dataset.test_subjects)):
        raise UserError(
            f"--pairs_dir={options.pairs_dir}: {list_subjects(shared)} are held out for testing. "
            "Pairs made from them would make the result worthless; leave them out."
        )
    slices = load_slices(found.train_a, True, "tumor", "whole", most, options.seed)
    return shrink_pairs(Pairs(slices.image, is_tumor(slices.tissue)), options.segmenter_size)


def count_copies(pairs: Pairs, real: Pairs, held_out: Pairs, subjects: list[str]) -> int | None:
    """How many pairs show a held-out slice again: nearer than any comes to real training slices.

    Args:
        pairs: looked at.
        real: of training subjects.
        held_out: of others.
        subjects: whose the held-out ones are.

    Returns:
        None where too few are held out to say how near is too near (`copies.find_limits`).
    """

    def spread(images: np.ndarray) -> np.ndarray:
        return images[np.unique(np.linspace(0, len(images) - 1, _COMPARED_SLICES).astype(int))]

    ours, theirs, tested = (spread(part.images) for part in (pairs, real, held_out))
    owners = spread(np.asarray(subjects))
    limits = find_limits(nearest_distances(tested, theirs).distances, owners)
    if limits is None:
        return None
    return int((nearest_distances(ours, tested).distances < limits.suspicious).sum())


def train_generator(
    options: SimpleNamespace, dataset: SliceDataset, workdir: Path, cache_dir: Path
) -> Run:
    """A CycleGAN of the dataset's training subjects, in a folder of its own; trained if need be.

    Raises:
        UserError: it did not come to its end, or was trained on other subjects.
    """
    count = len(dataset.train_subjects)
    folder = workdir / "generators" / f"{count:03d}_subjects"
    if not _is_trained(folder):
        print(f"\nA CycleGAN of {list_subjects(dataset.train_subjects)}, in {folder}:", flush=True)
        flags = {name: getattr(options, name) for name in DATA_FLAGS} | {
            "preset": options.generator_preset,
            "generator": options.generator,
            "train_subjects": count,
            "skip_evaluation": True,
            "workdir": folder,
            "cache_dir": cache_dir,
        }
        if options.data_dir:
            flags["data_dir"] = options.data_dir
        if problem := run_script("cyclegan", flags, parse_flags(options.generator_flags)):
            raise UserError(f"The CycleGAN in {folder} did not come to its end: {problem}")
    run = load_run(str(folder), ("cyclegan",), options.data_dir)
    if set(run.stored["data"]["train_subjects"]) != set(dataset.train_subjects):
        raise UserError(
            f"The CycleGAN in {folder} was trained on other subjects than the networks without its "
            "pairs, perhaps on held-out ones. Leave flags of the data out of --generator_flags, "
            "and give a new --workdir."
        )
    return run


def parse_flags(text: str) -> list[str]:
    """ "--width=32 --epochs=10" -> its words."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UserError(
            f"--generator_flags={text}: {error}. Flags of cyclegan.py with spaces between are "
            "needed, such as '--width=32 --epochs=10'."
        ) from error


def _is_trained(folder: Path) -> bool:
    """Whether the run in the folder has come to its last step."""
    stored = load_options(folder)
    if stored is None:
        return False
    with Checkpoints(folder / "checkpoints", read_only=True) as checkpoints:
        last = max(checkpoints.steps, default=0)
    return last >= stored["flags"]["epochs"] * stored["flags"]["steps_per_epoch"]


def draw_pairs(run: Run, tissue: np.ndarray, options: SimpleNamespace) -> tuple[Pairs, int]:
    """Pairs by a CycleGAN's last weights, and their step; its best where it went bad."""
    model = build_model(run.options)
    create_state = partial(create_cyclegan_state, model, jax.random.key(0), run.options.image_size)
    went_bad = warn_of_collapse(read_metrics(run.workdir), run.workdir)
    state = load_checkpoint("best" if went_bad else "last", run.workdir, create_state)
    with Progress("Drawing pairs", options.synthetic_pairs, "pair") as progress:
        drawn = draw_from_masks(
            lambda params, picture: model.generator.apply({"params": params}, picture),
            state.best_generators["ba"],
            tissue,
            run.options.mask_style,
            run.options.mask_classes,
            options.synthetic_pairs,
            options.seed,
            advance=progress.advance,
        )
    pairs = Pairs(drawn.images, is_tumor(drawn.tissue))
    return shrink_pairs(pairs, options.segmenter_size), int(state.step)
