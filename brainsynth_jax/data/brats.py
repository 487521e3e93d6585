"""BraTS release folders, 2018 to 2024: one NIfTI file a modality, subject folders at any depth."""

import re
from collections import defaultdict
from functools import partial
from pathlib import Path

from brainsynth_jax.data.masks import CORE, ENHANCING, OEDEMA
from brainsynth_jax.data.nifti import load_scan
from brainsynth_jax.data.scan import Source, Subject

LOOKED_FOR = "BraTS volumes (NAME_flair.nii.gz + NAME_seg.nii.gz, or NAME-t2f + NAME-seg)"

# Up to 2022 enhancing tumour is 4, since 2023 it is 3.
LABEL_CODES = {1: CORE, 2: OEDEMA, 3: ENHANCING, 4: ENHANCING}

_SEG = "seg"
_KINDS = {
    "flair": "flair",
    "t2f": "flair",
    "t1": "t1",
    "t1n": "t1",
    "t1ce": "t1ce",
    "t1gd": "t1ce",
    "t1c": "t1ce",
    "t2": "t2",
    "t2w": "t2",
    "seg": _SEG,
}
_FILE_NAME = re.compile(rf"(.+)[_-]({'|'.join(_KINDS)})\.nii(\.gz)?", re.IGNORECASE)

# BraTS-GLI-00005-101 is a later scan of the patient of BraTS-GLI-00005-100.
_TIME_POINT = re.compile(r"(BraTS-\w+-\d+)-\d{3}", re.IGNORECASE)


def find_brats(root: Path, files: tuple[Path, ...], modality: str) -> Source | None:
    """Recognises a BraTS release in the `files` below `root`; None if it isn't one.

    A subject is what shares a name before the modality, wherever its files lie. Scans of one
    patient at several times (BraTS 2023 on) are subjects of their own, with one `patient`.
    """
    found = defaultdict(lambda: defaultdict(list))
    for path in files:
        if match := _FILE_NAME.fullmatch(path.name):
            found[match[1]][_KINDS[match[2].lower()]].append(path)
    if not found:
        return None
    subjects, problems = [], []
    for name, paths in found.items():
        if problem := _problem(name, paths, modality):
            problems.append(problem)
            continue
        (image,), (labels,) = paths[modality], paths[_SEG]
        patient = match[1] if (match := _TIME_POINT.fullmatch(name)) else name
        load = partial(load_scan, image, labels, LABEL_CODES)
        subjects.append(Subject(name, patient, (image, labels), load))
    subjects.sort(key=lambda subject: subject.name)
    return Source("brats", root, tuple(subjects), tuple(problems), None, has_classes=True)


def _problem(name: str, paths: dict[str, list[Path]], modality: str) -> str | None:
    present = ", ".join(sorted(paths))
    if not paths.get(modality):
        return f"{name}: no {modality} volume, only {present}"
    if not paths.get(_SEG):
        return f"{name}: no mask ({name}_seg.nii.gz or {name}-seg.nii.gz), only {present}"
    for kind in (modality, _SEG):
        if len(paths[kind]) > 1:
            return f"{name}: {kind} is there twice, {paths[kind][0]} and {paths[kind][1]}"
    return None
