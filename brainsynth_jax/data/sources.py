"""What kind of data folder is this?"""

from pathlib import Path

from brainsynth_jax.data import brats, decathlon, image_folders
from brainsynth_jax.data.listing import count_by_extension, find_files
from brainsynth_jax.data.scan import Source
from brainsynth_jax.errors import UserError

MODALITIES = ("flair", "t1", "t1ce", "t2")

_FINDERS = {
    decathlon.find_decathlon: decathlon.LOOKED_FOR,
    brats.find_brats: brats.LOOKED_FOR,
    image_folders.find_cyclegan_folders: image_folders.CYCLEGAN_LOOKED_FOR,
    image_folders.find_image_mask_folders: image_folders.IMAGE_MASK_LOOKED_FOR,
    image_folders.find_lgg: image_folders.LGG_LOOKED_FOR,
}


def recognise(data_dir: Path, modality: str) -> Source:
    """Recognises a data folder by what is in it.

    Args:
      data_dir: the folder.
      modality: one of MODALITIES.

    Returns:
      Its subjects, none of them loaded yet, and a sentence on each that can't be used.

    Raises:
      UserError: no such folder, no folder, one that can't be listed, or nothing recognised in it.
    """
    root = Path(data_dir)
    if not root.exists():
        raise UserError(f"--data_dir={root}: no such folder.")
    if not root.is_dir():
        raise UserError(f"--data_dir={root}: is a file; name the folder that it lies in.")
    files = find_files(root)
    for find in _FINDERS:
        if source := find(root, files, modality):
            return source
    raise UserError(
        f"--data_dir={root}: nothing recognised. Looked for {'; '.join(_FINDERS.values())}. "
        f"Found {count_by_extension(files)}."
    )
