"""Writes images of a catalogue as files for other programs.

  python experiments/export.py --output_dir=exported --verdict=fresh
  python experiments/export.py --format=dicom --output_dir=for_pacs --images=3,10-19

Images that may be copies of training slices stay in the catalogue unless they are asked for. The
folder says of itself what it holds; nothing is ever overwritten.
"""

from pathlib import Path

import command_line
from catalogue_flags import (
    define_catalogue_flags,
    define_filter_flags,
    open_catalogue,
    read_filter,
)
from command_line import FLAGS, FlagGroup

from brainsynth_jax.catalogue.exports.folder import export
from brainsynth_jax.catalogue.exports.formats import FORMATS, choose_format
from brainsynth_jax.catalogue.exports.selection import select
from brainsynth_jax.errors import UserError
from brainsynth_jax.files import check_new_folder
from brainsynth_jax.progress import Progress

define_catalogue_flags()
define_filter_flags()

files = FlagGroup("Files")
files.choice(
    "format",
    "png",
    FORMATS,
    "PNGs; arrays in one .npz; NIfTI in BIDS's folders; NIfTI in BraTS's folders, of images with "
    "masks; DICOM (needs pip install -e '.[dicom]').",
)
files.string("output_dir", None, "Folder for them, new or empty. Needed.")
files.switch("stacked", "With --format=nifti: all images as the slices of one volume.")
files.number(
    "label_share", 0.0, "Share of the images that have the word SYNTHETIC in them.", highest=1.0
)
files.switch("include_suspected_copies", "Those whose verdict is suspicious leave as well.")


def main() -> None:
    """Catalogue -> images that may leave -> files."""
    if FLAGS.output_dir is None:
        raise UserError("--output_dir is needed: a folder for the images, new or empty.")
    folder = Path(FLAGS.output_dir).expanduser()
    check_new_folder(folder, "--output_dir")
    form = choose_format(FLAGS.format, FLAGS.stacked)
    wanted = read_filter()
    catalogue = open_catalogue()
    selection = select(catalogue, wanted, FLAGS.include_suspected_copies, form.needs_mask)
    with Progress("Exporting", catalogue.count(wanted), "image") as progress:
        said = export(catalogue, selection, form, folder, FLAGS.label_share, progress.advance)
    print(f"{folder}: {' '.join(said)}")


if __name__ == "__main__":
    command_line.run(main)
