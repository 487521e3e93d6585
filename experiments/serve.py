"""Shows a catalogue of synthetic images in a browser.

  python experiments/serve.py                       # then open the address that it prints
  python experiments/serve.py --static=FOLDER       # pages that need no server, to be given away

To browse and filter, look closely, review, export, and see how each image was made. It answers this
machine only; with another --host, who opens it needs the token that is printed.
"""

import os
from functools import lru_cache
from pathlib import Path

import command_line
import numpy as np
from catalogue_flags import define_catalogue_flags, define_filter_flags, open_catalogue, read_filter
from command_line import FLAGS, FlagGroup
from drawing import prepare_dataset
from finished_run import load_run
from web_server import define_server_flags, import_pages, serve

from brainsynth_jax.catalogue.catalogue import Catalogue
from brainsynth_jax.catalogue.exports.selection import tell_kept
from brainsynth_jax.catalogue.image_files import Pixels
from brainsynth_jax.catalogue.pages.static_copy import write_static_copy
from brainsynth_jax.catalogue.tables import ImageRow
from brainsynth_jax.data.pictures import grey_levels
from brainsynth_jax.data.pipeline import load_images
from brainsynth_jax.errors import UserError
from brainsynth_jax.evaluation.neighbours import MOVES, align, nearest_distances
from brainsynth_jax.files import check_new_folder

define_catalogue_flags()
define_server_flags()

real = FlagGroup("Real slices")
real.switch(
    "show_real",
    "Who asks for it sees the training slice that is most like an image. It shows a patient.",
)
real.string("data_dir", None, "Where the runs' scans are now, if they have moved.")
real.string(
    "cache_dir",
    os.path.join("~", ".cache", "brainsynth_jax"),
    "Folder for the phantom and prepared slices.",
)

static = FlagGroup("Pages without a server")
static.string("static", None, "Folder, new or empty, to write them into, instead of serving.")
static.switch("include_suspected_copies", "Write images that may be copies, too.")

define_filter_flags()


def main() -> None:
    """Catalogue -> pages, for a browser or into a folder."""
    if FLAGS.static:
        write_pages(open_catalogue(), Path(FLAGS.static).expanduser())
        return
    import_pages()
    catalogue = open_catalogue()
    from brainsynth_jax.catalogue.pages.app import create_app

    cache_dir = Path(FLAGS.cache_dir).expanduser()
    find_nearest = make_find_nearest(cache_dir) if FLAGS.show_real else None
    print(f"{catalogue.count():,} images in {catalogue.url}")
    serve(create_app(catalogue, FLAGS.database, find_nearest))


def write_pages(catalogue: Catalogue, folder: Path) -> None:
    """Pages that lie in a folder."""
    check_new_folder(folder, "--static")
    selection = write_static_copy(
        catalogue, read_filter(), folder, FLAGS.database, FLAGS.include_suspected_copies
    )
    print(f"{selection.images:,} images. {' '.join(tell_kept(selection))}")
    print(f"Open {folder / 'index.html'}")


def make_find_nearest(cache_dir: Path):
    """Returns what finds the training slice that is most like an image, for the pages."""
    command_line.use_cache(cache_dir)

    @lru_cache(maxsize=2)
    def load_training(folder: str) -> np.ndarray:
        run = load_run(folder, ("dcgan", "cyclegan"), FLAGS.data_dir)
        return load_images(prepare_dataset(run, cache_dir).train_a)[0]

    def find_nearest(row: ImageRow, pixels: Pixels) -> np.ndarray:
        training = load_training(row.origin.run)
        image = pixels.image[None, ..., None] / np.float32(127.5) - 1
        if image.shape[1:] != training.shape[1:]:
            raise UserError(f"The slices of {row.origin.run} are of another size than the image.")
        nearest = nearest_distances(image, training)
        found = training[nearest.indices]
        return grey_levels(align(found, MOVES[nearest.moves[0]])[0, ..., 0])

    return find_nearest


if __name__ == "__main__":
    command_line.run(main)
