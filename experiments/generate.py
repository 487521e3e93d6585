"""Draws new slices with a trained run and puts them into a catalogue.

  python experiments/generate.py --workdir=runs/dcgan-001 --count=100 --seed=0
  python experiments/generate.py --workdir=runs/cyclegan-001         # slices with their masks
  python experiments/generate.py --reproduce=12

A DCGAN draws slices from noise; a CycleGAN draws them from masks of training subjects whose tumour
was moved, scaled and bent (--direction=ba), or proposes masks for slices of held-out subjects
(--direction=ab). Image k of a seed is the same whatever is drawn with it. Each is scored: how
realistic it is, how near to a training slice, where its tumour lies. serve.py shows the catalogue
in a browser, export.py writes it as files.
"""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import command_line
import numpy as np
from catalogue_flags import define_catalogue_flags, open_catalogue
from command_line import FLAGS, FlagGroup, refuse_flags
from drawing import Drawing, Drawn, open_dcgan, open_pairs, open_proposals, prepare_dataset
from finished_run import load_run
from image_scores import Scorer, make_scorer
from run_options import Run

from brainsynth_jax.catalogue.catalogue import Catalogue, NewImage
from brainsynth_jax.catalogue.image_files import Pixels, content_hash, file_names, save_pixels
from brainsynth_jax.catalogue.tables import ImageRow
from brainsynth_jax.data.masks import render_mask
from brainsynth_jax.data.prepared import SliceDataset
from brainsynth_jax.errors import UserError
from brainsynth_jax.plots import save_sample_grid
from brainsynth_jax.progress import Progress
from brainsynth_jax.training.calls import cut_at_multiples
from brainsynth_jax.training.parallel import check_batch_size, choose_devices

# Scored at a time, at least: of 256 x 256 pixels they take some 300 MB.
_IMAGES_A_PART = 512
_SHEET_IMAGES, _SHEET_COLUMNS = 100, 10

define_catalogue_flags()

generation = FlagGroup("Slices")
generation.string("workdir", None, "Folder of the run that draws them. Needed.")
generation.integer("count", 100, "How many to draw.", 1)
generation.integer(
    "seed", 0, "Seed of the latents, or of the masks and their changes.", 0, 2**32 - 1
)
generation.integer("first", 0, "Number of the first, to go on where another call ended.")
generation.choice(
    "direction", None, ("ba", "ab"), "Of a CycleGAN: from masks to slices (as without it), or back."
)
generation.string(
    "checkpoint",
    None,
    "best, last, or a step. Without it: a DCGAN's best (nearest to training slices by kernel "
    "distance), a CycleGAN's last.",
)
generation.switch("skip_scores", "Measure nothing but tumours: quicker, and a DCGAN needs no data.")
generation.integer(
    "reproduce", 0, "Make the image of this number again and compare it; nothing else is done."
)
generation.string(
    "output_dir", None, "With --reproduce: a folder for the image, to which it is written as well."
)

machine = FlagGroup("Data and machine")
machine.string("data_dir", None, "Where the run's scans are now, if they have moved.")
machine.integer("batch_size", 32, "Slices that a DCGAN draws at a time, all devices together.", 1)
machine.integer("devices", 0, "How many of this machine's devices share them; 0 for all.")
machine.string(
    "cache_dir",
    os.path.join("~", ".cache", "brainsynth_jax"),
    "Folder for the phantom, prepared slices and compiled functions.",
)


def main() -> None:
    """Run folder -> networks and data -> images -> scores -> catalogue."""
    cache_dir = Path(FLAGS.cache_dir).expanduser()
    if FLAGS.reproduce:
        of_new_ones = ["count", "seed", "first", "direction", "checkpoint", "batch_size"]
        refuse_flags([*of_new_ones, "skip_scores"], "--reproduce goes by the image's row")
        catalogue = open_catalogue()
        command_line.use_cache(cache_dir)
        reproduce(catalogue, catalogue.get(FLAGS.reproduce), cache_dir)
        return
    refuse_flags(["output_dir"], "only --reproduce writes files; export.py does for all others")
    run = load_run(FLAGS.workdir, ("dcgan", "cyclegan"), FLAGS.data_dir)
    model = choose_model(run)
    catalogue = open_catalogue(must_exist=False)
    command_line.use_cache(cache_dir)
    scored = not FLAGS.skip_scores
    dataset = prepare_dataset(run, cache_dir) if scored or model != "dcgan" else None
    checkpoint = FLAGS.checkpoint or ("best" if model == "dcgan" else "last")
    # Of a seed there are no other proposals: the slices are those of the data, in their order.
    seed = 0 if model == "cyclegan-ab" else FLAGS.seed
    drawing = open_drawing(run, model, checkpoint, seed, dataset)
    check_count(drawing)
    scorer = make_scorer(run, model, dataset if scored else None, cache_dir)
    fill(catalogue, drawing, scorer, seed, run.workdir)


def choose_model(run: Run) -> str:
    """What the run is to draw, one of `catalogue.tables.MODELS`."""
    if run.stored["script"] == "cyclegan":
        return f"cyclegan-{FLAGS.direction or 'ba'}"
    if FLAGS.direction:
        raise UserError(
            f"--direction={FLAGS.direction}: the run in {run.workdir} is a DCGAN's, which draws "
            "from noise. Leave the flag out, or give a CycleGAN's run."
        )
    return "dcgan"


def open_drawing(
    run: Run,
    model: str,
    checkpoint: str,
    seed: int,
    dataset: SliceDataset | None,
    images_a_call: int | None = None,
) -> Drawing:
    """The images of a run; a DCGAN's by --devices, so many at a time or --batch_size."""
    if model == "cyclegan-ba":
        return open_pairs(run, checkpoint, seed, dataset)
    if model == "cyclegan-ab":
        return open_proposals(run, checkpoint, dataset)
    devices, images_a_call = choose_devices(FLAGS.devices), images_a_call or FLAGS.batch_size
    check_batch_size(images_a_call, len(devices))
    return open_dcgan(run, checkpoint, seed, images_a_call, devices)


def check_count(drawing: Drawing) -> None:
    """Raises UserError where there are not so many."""
    if drawing.most is not None and FLAGS.first + FLAGS.count > drawing.most:
        raise UserError(
            f"--first={FLAGS.first} --count={FLAGS.count}: the held-out subjects have "
            f"{drawing.most} slices, numbered from 0. Ask for no more, at most --first=0 "
            f"--count={drawing.most}."
        )


def fill(catalogue: Catalogue, drawing: Drawing, scorer: Scorer, seed: int, workdir: Path) -> None:
    """Draws --count images into the catalogue, and the first of them on a sheet; says so."""
    verdicts, realism, shown = Counter(), [], []

    def images(progress: Progress) -> Iterator[NewImage]:
        part = -(-_IMAGES_A_PART // drawing.images_a_call) * drawing.images_a_call
        for first, end in cut_at_multiples(FLAGS.first, FLAGS.first + FLAGS.count, part):
            drawn = draw(drawing, first, end, progress)
            if not shown:
                shown.append(drawn)
            numbered = enumerate(zip(list_pixels(drawn), scorer.score(drawn), strict=True), first)
            for number, (pixels, scores) in numbered:
                verdicts[scores.copy_verdict] += 1
                realism.append(scores.realism)
                yield NewImage(seed, number, pixels, scores)

    with Progress("Drawing", FLAGS.count, "image") as progress:
        added = sum(catalogue.add(drawing.origin, images(progress)))
    last = FLAGS.first + FLAGS.count - 1
    step = drawing.origin.step
    sheet = f"{drawing.origin.model}-step-{step}-seed-{seed}-images-{FLAGS.first}-{last}.png"
    path = workdir / "generated" / sheet
    save_sheet(path, shown[0])
    known = FLAGS.count - added
    print(
        f"{added} new images of step {step} in {catalogue.name}"
        + (f" ({known} were there already)" if known else "")
        + f". {describe_verdicts(verdicts)}{describe_realism(realism, scorer)}\nLook at {path}, "
        f"or at all of them: python experiments/serve.py --database={catalogue.name}"
    )


def draw(drawing: Drawing, first: int, end: int, progress: Progress) -> Drawn:
    """Images `first` to `end - 1`."""
    pieces = []
    for start, stop in cut_at_multiples(first, end, drawing.images_a_call):
        pieces.append(drawing.draw(start, stop - start))
        progress.advance(len(pieces[-1].images))
    masks = None if pieces[0].masks is None else np.concatenate([piece.masks for piece in pieces])
    return Drawn(np.concatenate([piece.images for piece in pieces]), masks)


def list_pixels(drawn: Drawn) -> list[Pixels]:
    """An image after the other."""
    masks = [None] * len(drawn.images) if drawn.masks is None else drawn.masks
    return [Pixels(image, mask) for image, mask in zip(drawn.images, masks, strict=True)]


def describe_verdicts(verdicts: Counter) -> str:
    """ "Copies of training slices: 97 fresh, 3 near." """
    if set(verdicts) == {None}:
        return (
            "Whether they copy training slices is not known: by --skip_scores, or because fewer "
            "than two subjects are held out to judge by."
        )
    listed = ", ".join(
        f"{count} {verdict or 'not compared'}" for verdict, count in verdicts.items()
    )
    return f"Copies of training slices: {listed}."


def describe_realism(realism: list[float | None], scorer: Scorer) -> str:
    """ " Realism 0.45 in the median, held-out slices 0.86"; nothing where it was not measured."""
    if None in realism:
        return ""
    held_out = scorer.heldout_realism
    beside = "" if held_out is None else f", of held-out slices {held_out:.2f}"
    return f" Realism {np.median(realism):.2f} in the median{beside}."


def save_sheet(path: Path, drawn: Drawn) -> None:
    """A picture of the first images; each row of them has its masks below."""
    images = drawn.images[:_SHEET_IMAGES] / np.float32(127.5) - 1
    blank = np.full(images.shape[1:], -1.0, np.float32)
    columns, rows = min(_SHEET_COLUMNS, len(images)), []
    for start in range(0, len(images), _SHEET_COLUMNS):
        row = list(images[start : start + columns])
        rows.append(row + [blank] * (columns - len(row)))
        if drawn.masks is not None:
            masks = drawn.masks[start : start + len(row)]
            row = list(render_mask(masks, "tumor_in_brain", "classes"))
            rows.append(row + [blank] * (columns - len(row)))
    save_sample_grid(path, rows, [""] * columns)


def reproduce(catalogue: Catalogue, image: ImageRow, cache_dir: Path) -> None:
    """Makes one image again, and puts it back where the catalogue's own is gone or altered.

    Raises:
        UserError: the run or its weights are gone, or the image comes out differently.
    """
    origin = image.origin
    script = origin.model.partition("-")[0]
    run = load_run(FLAGS.workdir or origin.run, (script,), FLAGS.data_dir)
    dataset = prepare_dataset(run, cache_dir) if script == "cyclegan" else None
    images_a_call = origin.options["drawing"].get("images_a_call")
    drawing = open_drawing(run, origin.model, str(origin.step), image.seed, dataset, images_a_call)
    if drawing.origin.checkpoint_hash != origin.checkpoint_hash:
        raise UserError(
            f"Image {image.id} was drawn by other weights than those of step {origin.step} in "
            f"{run.workdir}. If its run has moved, give --workdir."
        )
    (pixels,) = list_pixels(drawing.draw(image.number, 1))
    if content_hash(pixels) != image.content_hash:
        raise UserError(
            f"Image {image.id} comes out differently{compare(catalogue, image, pixels)}. It was "
            f"made by version {origin.code_version}, this is {drawing.origin.code_version}; other "
            "versions, devices and processors round differently."
        )
    if FLAGS.output_dir:
        write_copy(Path(FLAGS.output_dir).expanduser(), image.id, pixels)
    put_back = catalogue.put_back(image, pixels)
    print(
        f"Image {image.id}, made again, is the same pixel by pixel (SHA-256 {image.content_hash})."
        + (" Its file was missing or altered, and was put back." if put_back else "")
    )


def write_copy(folder: Path, number: int, pixels: Pixels) -> None:
    """Writes an image into a folder, where nothing of its name may be.

    Raises:
        UserError: there is.
    """
    if taken := [name for name in file_names(number) if (folder / name).exists()]:
        raise UserError(
            f"{folder / taken[0]} is there already, and nothing is overwritten. Choose another "
            "--output_dir."
        )
    save_pixels(folder, number, pixels)


def compare(catalogue: Catalogue, image: ImageRow, pixels: Pixels) -> str:
    """By how much a remade image differs from the one that is kept, where that is whole."""
    try:
        kept = catalogue.load(image)
    except UserError:
        return ""
    apart = np.abs(kept.image.astype(int) - pixels.image)
    words = f": {np.count_nonzero(apart)} of {apart.size} pixels by up to {apart.max()} of 255"
    if kept.mask is not None:
        words += f", {np.count_nonzero(kept.mask != pixels.mask)} of its mask"
    return words


if __name__ == "__main__":
    command_line.run(main)
