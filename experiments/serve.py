"""Shows a catalogue of synthetic images in a browser.

  python experiments/serve.py                       # then open the address that it prints
  python experiments/serve.py --static=FOLDER       # pages that need no server, to be given away

To browse and filter, look closely, review, export, and see how each image was made. It answers this
machine only, unless --host says more, and only who has the address with its token.
"""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from threading import Lock

import command_line
import numpy as np
from catalogue_flags import (
    define_catalogue_flags,
    define_filter_flags,
    define_run_flags,
    open_catalogue,
    read_filter,
)
from command_line import FLAGS, FlagGroup, refuse_flags
from drawing import prepare_dataset
from finished_run import load_run
from web_server import define_server_flags, import_pages, serve

from brainsynth_jax.catalogue.catalogue import Catalogue
from brainsynth_jax.catalogue.exports.selection import tell_kept, tell_left
from brainsynth_jax.catalogue.image_files import Pixels
from brainsynth_jax.catalogue.pages.static_copy import write_static_copy
from brainsynth_jax.catalogue.tables import ImageRow
from brainsynth_jax.catalogue.words import count_words
from brainsynth_jax.data.pictures import grey_levels
from brainsynth_jax.data.pipeline import load_images
from brainsynth_jax.errors import UserError
from brainsynth_jax.evaluation.neighbours import MOVES, align, coarsen, nearest_distances
from brainsynth_jax.files import check_new_folder

define_catalogue_flags()
define_server_flags()

real = FlagGroup("Real slices")
real.switch(
    "show_real",
    "Who asks for it sees the training slice that is most like an image. It shows a patient.",
)
define_run_flags("The run, for --show_real")

static = FlagGroup("Pages without a server")
static.string("static", None, "Folder, new or empty, to write them into, instead of serving.")
static.switch("include_suspected_copies", "Write images that may be copies, too.")
filter_flags = define_filter_flags()


def main() -> None:
    """Catalogue -> pages, for a browser or into a folder."""
    if FLAGS.static:
        refuse_flags(["show_real", "host", "port", "token"], "--static starts no server")
        write_pages(open_catalogue(), Path(FLAGS.static).expanduser())
        return
    refuse_flags(
        [*filter_flags, "include_suspected_copies"],
        "chooses images for --static only; who looks at them chooses on the page",
    )
    import_pages()
    catalogue = open_catalogue()
    from brainsynth_jax.catalogue.pages.app import create_app

    find_nearest = make_find_nearest() if FLAGS.show_real else None
    print(f"{count_words(catalogue.count(), 'image')} in {catalogue.name}")
    serve(create_app(catalogue, find_nearest))


def write_pages(catalogue: Catalogue, folder: Path) -> None:
    """Pages that lie in a folder."""
    check_new_folder(folder, "--static")
    selection = write_static_copy(catalogue, read_filter(), folder, FLAGS.include_suspected_copies)
    said = [f"{count_words(selection.images, 'image')}."]
    print(" ".join(said + tell_left(selection) + tell_kept(selection)))
    print(f"Open {folder / 'index.html'}")


def make_find_nearest() -> Callable[[ImageRow, Pixels], np.ndarray]:
    """Returns what finds the training slice that is most like an image, for the pages."""
    cache_dir = Path(FLAGS.cache_dir).expanduser()
    command_line.use_cache(cache_dir)
    one_at_a_time = Lock()

    @lru_cache(maxsize=2)
    def load_training(folder: str) -> tuple[np.ndarray, np.ndarray]:
        run = load_run(FLAGS.workdir or folder, ("dcgan", "cyclegan"), FLAGS.data_dir)
        images = load_images(prepare_dataset(run, cache_dir).train_a)[0]
        return images, coarsen(images)

    def find_nearest(row: ImageRow, pixels: Pixels) -> np.ndarray:
        with one_at_a_time:
            training, coarse = load_training(row.origin.run)
        image = pixels.image[None, ..., None] / np.float32(127.5) - 1
        if image.shape[1:] != training.shape[1:]:
            raise UserError(f"The slices of {row.origin.run} are of another size than the image.")
        nearest = nearest_distances(coarsen(image), coarse)
        found = training[nearest.indices]
        return grey_levels(align(found, MOVES[nearest.moves[0]])[0, ..., 0])

    return find_nearest


if __name__ == "__main__":
    command_line.run(main)
