"""Medical Segmentation Decathlon tasks: `dataset.json`, 4-D images, 3-D labels."""

import json
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePath
from typing import Any

from brainsynth_jax.data.masks import CORE, ENHANCING, OEDEMA, TUMOR
from brainsynth_jax.data.nifti import load_scan
from brainsynth_jax.data.scan import Source, Subject
from brainsynth_jax.errors import UserError

_LARGEST_LABEL = 254  # as 8 bits hold, and one for unknown

LOOKED_FOR = "a Medical Segmentation Decathlon task (dataset.json with imagesTr and labelsTr)"

_MODALITIES = {
    "flair": "flair",
    "t2flair": "flair",
    "t1": "t1",
    "t1w": "t1",
    "t1ce": "t1ce",
    "t1gd": "t1ce",
    "t2": "t2",
    "t2w": "t2",
}
# The first word found in a label's name decides: 'non-enhancing tumor' is core.
_LABEL_WORDS = {
    "edema": OEDEMA,
    "non-enhancing": CORE,
    "necro": CORE,
    "enhancing": ENHANCING,
    "tumor": TUMOR,
    "tumour": TUMOR,
}


def find_decathlon(root: Path, files: tuple[Path, ...], modality: str) -> Source | None:
    """Recognises a task by its `dataset.json`; None if there is none in `root`.

    The channel comes from `modality` in that file, the classes from its `labels`.

    Raises:
      UserError: `dataset.json` is damaged, lacks an entry, lists no scans, or has no such modality
        or labels that are no tumour's.
    """
    index_path = root / "dataset.json"
    if index_path not in files:
        return None
    index = _read_index(index_path)
    names = [_MODALITIES.get(_letters(name), name) for _, name in sorted(index["modality"].items())]
    if modality not in names:
        raise UserError(
            f"--modality={modality}: {index_path} offers {', '.join(names)}; choose one of these."
        )
    codes = {
        int(value): _label_code(index_path, name)
        for value, name in index["labels"].items()
        if int(value) != 0
    }
    subjects, problems = [], []
    for entry in index["training"]:
        image, labels = (Path(root, entry[kind]) for kind in ("image", "label"))
        name = image.name.split(".nii")[0]
        missing = [str(path.relative_to(root)) for path in (image, labels) if not path.is_file()]
        if missing:
            problems.append(f"{name}: no {' and no '.join(missing)}")
            continue
        load = partial(load_scan, image, labels, codes, names.index(modality), len(names))
        subjects.append(Subject(name, name, (image, labels), load))
    subjects.sort(key=lambda subject: subject.name)
    has_classes = set(codes.values()) != {TUMOR}
    return Source("decathlon", root, tuple(subjects), tuple(problems), None, has_classes)


def _read_index(path: Path) -> Mapping[str, Any]:
    try:
        index = json.loads(path.read_text())
        modality, labels, training = index["modality"], index["labels"], index["training"]
        whole = (
            modality.keys() and labels.keys() and all(e["image"] and e["label"] for e in training)
        )
        if not whole or not all(key.isdecimal() for key in (*modality, *labels)):
            raise ValueError("modality, labels or training is empty or not numbered")
        names = [*modality.values(), *labels.values()]
        paths = [PurePath(entry[kind]) for entry in training for kind in ("image", "label")]
        if not all(isinstance(name, str) for name in names):
            raise ValueError("a modality or a label is no text")
        if largest := [value for value in labels if int(value) > _LARGEST_LABEL]:
            raise ValueError(f"the label {largest[0]} is above {_LARGEST_LABEL}")
        if outside := [path for path in paths if path.is_absolute() or ".." in path.parts]:
            raise ValueError(f"{outside[0]} lies outside the folder")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path}: is not a Medical Segmentation Decathlon index ({error!r}); it needs "
            "modality, labels and training as the Decathlon's own files have them."
        ) from None
    if not training:
        raise UserError(
            f"{path}: its list 'training' is empty; it needs an entry with image and label for "
            "each scan, as in the Decathlon's own files."
        )
    return index


def _label_code(path: Path, name: str) -> int:
    for word, code in _LABEL_WORDS.items():
        if word in name.lower():
            return code
    raise UserError(
        f"{path}: the label {name!r} is no brain tumour class; names with one of the words "
        f"{', '.join(_LABEL_WORDS)} are understood."
    )


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
