"""Draws new slices with a trained DCGAN.

  python experiments/generate.py --workdir=runs/dcgan-001 --count=100 --seed=0

Slice k of a seed is the same whatever is drawn with it, in whatever batches and on however many
devices. Writes the slices, a contact sheet and generated.json, which says how they were made, into
a folder of their own.
"""

import json
import os
import time
from functools import partial
from pathlib import Path

import command_line
import jax
import numpy as np
from command_line import FLAGS, FlagGroup
from dcgan_setup import build_model
from finished_run import load_checkpoint, load_run

from brainsynth_jax.data.nifti import save_slices
from brainsynth_jax.data.pictures import save_picture
from brainsynth_jax.errors import UserError
from brainsynth_jax.files import filled_folder, write_atomically
from brainsynth_jax.plots import save_sample_grid
from brainsynth_jax.progress import Progress, duration
from brainsynth_jax.training.dcgan import create_dcgan_state
from brainsynth_jax.training.parallel import check_batch_size, choose_devices
from brainsynth_jax.training.sampler import Sampler

_SHEET_SLICES, _SHEET_COLUMNS = 100, 10

generation = FlagGroup("Slices")
generation.string("workdir", None, "Folder of the DCGAN's run. Needed.")
generation.integer("count", 100, "How many slices to draw.", 1)
generation.integer("seed", 0, "Seed of the latents.", highest=2**32 - 1)
generation.integer("first", 0, "Number of the first slice, to go on where another call ended.")
generation.choice(
    "format",
    "png",
    ("png", "npz", "nifti"),
    "A grey PNG a slice, or all in one file: float32 in [-1, 1] in an .npz, or a stack in a NIfTI.",
)
generation.string(
    "output_dir",
    None,
    "Folder for them, new or empty. Without it: WORKDIR/generated/seed-SEED-from-FIRST.",
)
generation.string(
    "checkpoint", "best", "best (nearest to training slices by kernel distance), last, or a step."
)
generation.integer("batch_size", 32, "Slices drawn at a time, all devices together.", 1)
generation.integer("devices", 0, "How many of this machine's devices share them; 0 for all.")
generation.string(
    "cache_dir",
    os.path.join("~", ".cache", "brainsynth_jax"),
    "Folder for compiled functions.",
)


def main() -> None:
    """Run folder -> networks -> checkpoint -> slices -> files."""
    run = load_run(FLAGS.workdir, ("dcgan",))
    folder = Path(
        FLAGS.output_dir or run.workdir / "generated" / f"seed-{FLAGS.seed}-from-{FLAGS.first}"
    ).expanduser()
    check_output(folder)
    devices = choose_devices(FLAGS.devices)
    check_batch_size(FLAGS.batch_size, len(devices))
    command_line.use_cache(Path(FLAGS.cache_dir).expanduser())

    model = build_model(run.options, steps_per_epoch=1)
    create_state = partial(create_dcgan_state, model, jax.random.key(0))
    state = load_checkpoint(FLAGS.checkpoint, run.workdir, create_state)
    sampler = Sampler(model, run.options.sample_dropout, devices, FLAGS.batch_size)
    weights = sampler.load(state)
    sampler.draw(weights, FLAGS.seed, 1)  # compiles
    started = time.monotonic()
    with Progress("Drawing", FLAGS.count, "slice") as progress:
        images = sampler.draw(weights, FLAGS.seed, FLAGS.count, FLAGS.first, progress.advance)
    seconds = time.monotonic() - started

    about = {
        "run": str(run.workdir.absolute()),
        "checkpoint": FLAGS.checkpoint,
        "step": int(state.step),
        "weights": "raw" if state.average is None else "ema",
        "sample_dropout": run.options.sample_dropout,
        "seed": FLAGS.seed,
        "first": FLAGS.first,
        "count": FLAGS.count,
        "format": FLAGS.format,
        "use": "Synthetic images. Research use only; not for diagnosis.",
    }
    with filled_folder(folder) as unfinished:
        write_slices(unfinished, images, run.stored["data"]["spacing_mm"])
        write_sheet(unfinished / "contact_sheet.png", images[:_SHEET_SLICES])
        described = (json.dumps(about, indent=2) + "\n").encode()
        write_atomically(unfinished / "generated.json", described)
    print(
        f"{FLAGS.count} slices of step {state.step} in {duration(seconds)} "
        f"({60 * FLAGS.count / seconds:,.0f} a minute, files not counted). Look at "
        f"{folder / 'contact_sheet.png'}"
    )


def check_output(folder: Path) -> None:
    """Raises UserError where the slices would meet something that is there already."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise UserError(
            f"{folder} holds something already, and nothing is overwritten. Choose another "
            "--output_dir, --seed or --first, or move it away."
        )


def write_slices(folder: Path, images: np.ndarray, spacing_mm: list[float | None]) -> None:
    """Writes (N, S, S, 1) images in [-1, 1] as --format says."""
    if FLAGS.format == "png":
        for number, image in enumerate(images[..., 0], start=FLAGS.first):
            save_picture(folder / f"slice_{number:06d}.png", image)
    elif FLAGS.format == "npz":
        np.savez_compressed(
            folder / "slices.npz", images=images[..., 0], seed=FLAGS.seed, first=FLAGS.first
        )
    else:
        save_slices(folder / "slices.nii.gz", images[..., 0], spacing_mm)


def write_sheet(path: Path, images: np.ndarray) -> None:
    """A picture of all of them."""
    rows = [
        images[start : start + _SHEET_COLUMNS, ..., 0]
        for start in range(0, len(images), _SHEET_COLUMNS)
    ]
    blank = np.full(images.shape[1:3], -1.0, np.float32)
    columns = min(_SHEET_COLUMNS, len(images))
    rows = [[*row, *[blank] * (columns - len(row))] for row in rows]
    save_sample_grid(path, rows, [""] * columns)


if __name__ == "__main__":
    command_line.run(main)
