"""2-D image folders: `images/` + `masks/`, the LGG set's twins, CycleGAN's four folders.

A patient's slices have to stay together when train and test are divided, and a picture only has
its name to tell. So the subject is

* in `images/` + `masks/`: the subfolder that a picture lies in (`images/ANN/7.png`); without
  one, its name up to the last `_number` or `-number` (`ANN_7.png`, `ANN-7.png`; a name
  without such a number is a subject of its own);
* in the LGG set: the name up to the last `_number` (`TCGA_CS_4943_20000902_7.tif`).
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from brainsynth_jax.data.masks import NONE, TUMOR
from brainsynth_jax.data.pictures import EXTENSIONS, load_channel, load_grey, load_mask
from brainsynth_jax.data.scan import Scan, Source, Subject
from brainsynth_jax.errors import UserError

IMAGE_MASK_LOOKED_FOR = "pictures in images/ and masks/ with the same names"
LGG_LOOKED_FOR = "pictures NAME_k.tif + NAME_k_mask.tif"
CYCLEGAN_LOOKED_FOR = "pictures in trainA/, trainB/, testA/ and testB/"

DOMAIN_FOLDERS = {
    "train_a": "trainA",
    "train_b": "trainB",
    "test_a": "testA",
    "test_b": "testB",
}

# The LGG set stacks pre-contrast T1, FLAIR and post-contrast T1 as red, green and blue.
LGG_CHANNELS = {"t1": 0, "flair": 1, "t1ce": 2}

_MASK_ENDING = "_mask"
_NUMBERED = re.compile(r"(.+)[_-](\d+)")


class _Slice(NamedTuple):
    image: Path
    mask: Path


def find_image_mask_folders(root: Path, files: tuple[Path, ...], modality: str) -> Source | None:
    """Recognises `images/` + `masks/`; None if one is missing or without pictures.

    Masks have their picture's name, or that and `_mask`; the extension may differ. The pictures
    are of whatever `modality` they are.

    Raises:
      UserError: two pictures or two masks have the same name.
    """
    in_images, in_masks = _pictures(files, root / "images"), _pictures(files, root / "masks")
    if not in_images or not in_masks:
        return None
    images = _by_key(root, in_images, partial(_key, folder=root / "images"))
    masks = _by_key(root, in_masks, partial(_key, folder=root / "masks"))
    subject_of = {key: _subject_name(key) for key in images.keys() | masks.keys()}
    return _paired_source("image_mask_folders", root, images, masks, subject_of, load_grey)


def find_lgg(root: Path, files: tuple[Path, ...], modality: str) -> Source | None:
    """Recognises the LGG set, one folder a subject or flat; None if no picture has a mask twin.

    Raises:
      UserError: the modality is none of the set's three, or a picture is there twice.
    """
    with_ending, without = [], []
    for path in _pictures(files, root):
        (with_ending if path.stem.endswith(_MASK_ENDING) else without).append(path)
    images, masks = _by_key(root, without, _bare_name), _by_key(root, with_ending, _bare_name)
    if not images.keys() & masks.keys():
        return None
    if modality not in LGG_CHANNELS:
        raise UserError(
            f"--modality={modality}: the LGG set in {root} has {', '.join(LGG_CHANNELS)} only."
        )
    subject_of = {key: _numbered(key)[0] for key in images.keys() | masks.keys()}
    load_image = partial(load_channel, channel=LGG_CHANNELS[modality])
    return _paired_source("lgg", root, images, masks, subject_of, load_image)


def find_cyclegan_folders(root: Path, files: tuple[Path, ...], modality: str) -> Source | None:
    """Recognises CycleGAN's own layout; None if one of its four folders has no pictures.

    A and B are in no known pairs, and every picture is a subject of its own.
    """
    domains = {}
    for domain, folder in DOMAIN_FOLDERS.items():
        paths = _pictures(files, root / folder)
        domains[domain] = tuple(
            Subject(name, name, (path,), partial(_load_alone, path))
            for path in paths
            for name in [path.relative_to(root).as_posix()]
        )
    if not all(domains.values()):
        return None
    return Source("cyclegan_folders", root, (), (), domains, has_classes=False)


def _paired_source(
    kind: str,
    root: Path,
    images: dict[Path, Path],
    masks: dict[Path, Path],
    subject_of: dict[Path, str],
    load_image: Callable[[Path], np.ndarray],
) -> Source:
    slices, problems = defaultdict(list), {}
    for key, name in sorted(subject_of.items(), key=lambda item: _numbered(item[0])):
        if key not in masks:
            problems.setdefault(name, f"{name}: {images[key]} has no mask")
        elif key not in images:
            problems.setdefault(name, f"{name}: the mask {masks[key]} has no picture")
        else:
            slices[name].append((key, _Slice(images[key], masks[key])))
    subjects = []
    for name in sorted(slices.keys() - problems.keys()):
        keys, pairs = zip(*slices[name], strict=True)
        load = partial(_load_stack, pairs, _slice_numbers(keys), load_image)
        subjects.append(Subject(name, name, tuple(path for pair in pairs for path in pair), load))
    return Source(kind, root, tuple(subjects), tuple(problems.values()), None, has_classes=False)


def _load_stack(
    slices: tuple[_Slice, ...],
    slice_numbers: tuple[int, ...],
    load_image: Callable[[Path], np.ndarray],
) -> Scan:
    images, labels = [], []
    for image_path, mask_path in slices:
        image, mask = load_image(image_path), load_mask(mask_path)
        for path, shape in ((image_path, image.shape), (mask_path, mask.shape)):
            if shape != (expected := images[0].shape if images else image.shape):
                raise UserError(
                    f"{path}: has {shape[0]}x{shape[1]} pixels, but {slices[0].image} of the same "
                    f"subject {expected[0]}x{expected[1]}; they have to be the same."
                )
        images.append(image)
        labels.append(np.where(mask, TUMOR, NONE).astype(np.uint8))
    return Scan(np.stack(images), np.stack(labels), None, np.array(slice_numbers, np.int32))


def _load_alone(path: Path) -> Scan:
    picture = load_grey(path)
    if picture.min() < 0 or picture.max() > 255:
        raise UserError(
            f"{path}: grey levels are {picture.min():g} to {picture.max():g}; 0 to 255 are "
            "allowed, save it with 8 bits."
        )
    return Scan(picture[None], None, None, np.zeros(1, np.int32))


def _pictures(files: Iterable[Path], folder: Path) -> list[Path]:
    return [p for p in files if p.suffix.lower() in EXTENSIONS and p.is_relative_to(folder)]


def _by_key(root: Path, paths: Iterable[Path], key_of: Callable[[Path], Path]) -> dict[Path, Path]:
    found = {}
    for path in paths:
        if (twin := found.setdefault(key_of(path), path)) != path:
            raise UserError(
                f"--data_dir={root}: the same picture is there twice, {twin} and {path}; move one "
                "of them elsewhere."
            )
    return found


def _key(path: Path, folder: Path) -> Path:
    return path.relative_to(folder).with_name(_bare_name(path).name)


def _bare_name(path: Path) -> Path:
    return Path(path.stem.removesuffix(_MASK_ENDING))


def _subject_name(key: Path) -> str:
    return _numbered(key)[0] if key.parent == Path(".") else key.parent.as_posix()


def _numbered(key: Path) -> tuple[str, int]:
    """('ANN', 7) for ANN_7 and ANN-7; ('ANN', -1) for ANN, in which no number is set apart."""
    match = _NUMBERED.fullmatch(key.as_posix())
    return (match[1], int(match[2])) if match else (key.as_posix(), -1)


def _slice_numbers(keys: tuple[Path, ...]) -> tuple[int, ...]:
    """The numbers in the names where they tell the slices apart, else 0, 1, 2, ..."""
    numbers = tuple(_numbered(key)[1] for key in keys)
    return (
        numbers if -1 not in numbers and len(set(numbers)) == len(keys) else tuple(range(len(keys)))
    )
