"""What is wrong with prepared slices, found before anything is trained on them.

`check_dataset` makes every check, `find_certain_harm` those whose findings spoil any run. Patients
are the unit of every judgement. In `trainA/ trainB/` folders only the pictures' names can tell
whose they are: by a subfolder, or by PATIENT_7.png as in `images/` + `masks/`. Where they do not,
each picture counts as a patient, and what then cannot be told is said.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from scipy.stats import median_abs_deviation

from brainsynth_jax.data.image_folders import DOMAIN_FOLDERS
from brainsynth_jax.data.prepared import Records, SliceDataset
from brainsynth_jax.data.slice_measures import (
    HEAD,
    SIGNIFICANCE,
    Comparison,
    Part,
    can_differ,
    compare_patients,
    join_parts,
    measure_part,
    nearest_of_others,
)

# Two slices are near-duplicates if their coarse pictures, mirrored or not, correlate so much. Of
# different subjects of 15 of BraTS 2021 the most alike have 0.989 among all slices and 0.977 among
# those with tumour. Copies with noise of a tenth of the range, saved as JPEG of quality 10, halved
# in resolution or moved by a pixel have 0.997 and more. So do most slices 1 mm apart, so that
# slices of one patient are not compared.
DUPLICATE_CORRELATION = 0.995

# A difference between A and B is told where it is beyond chance, where it is large enough to matter
# (5 pixels of 256, a slice in 10), and where Cliff's delta is so large. The last keeps apart what
# whole patients do: the heads of 7 of 15 BraTS subjects and of the others, each picture taken for
# a patient, differ as much in 1 of 100 divisions.
LARGE_DELTA = 0.6
LEAST_SHIFT = 0.02
LEAST_TUMOR_DIFFERENCE = 0.1

# Pictures of B that are filled at least so much as those of A show heads; a bare tumour is smaller.
_HEAD_RATIO = 0.3

# Beyond so many robust standard deviations a patient is far from the others: of 15 BraTS subjects
# and of 20 phantoms the furthest is at 4, and in 1 of 100 sets of 8 normal numbers one is at 8. Of
# fewer than 8 patients the deviation is guesswork. It is taken for no less than the least, lest
# patients who hardly differ be held against it.
FAR_DEVIATIONS = 8.0
LEAST_PATIENTS = 8
_LEAST_DEVIATIONS = (4.0, 0.1)  # of the median, grey levels; of the spread, natural logarithm

# Of a head in BraTS or LGG up to 9 % of a slice's pixels are at the brightest or darkest level.
CLIPPED_SHARE = 0.1

# In no slice of BraTS does 1 % of the tumour give no signal.
OUTSIDE_SHARE = 0.2

TINY_TUMOR = 50 / 256**2

# So many are read and compared in two seconds.
MOST_SLICES = 2000

_NAMED = 3
_NUMBERED = re.compile(r"(.+)[_-]\d+")
_VISIT = re.compile(r"(?<=\d)[_-](ses-\w+|(19|20)\d{6})$")
_SEPARATOR = re.compile(r"[\s_.(-]+")


class Finding(NamedTuple):
    """Something wrong with the data.

    Attributes:
      what: was found, with its numbers.
      where: the first few patients or slices.
      effect: on the training or on its evaluation.
      cure: what to do.
    """

    what: str
    where: str
    effect: str
    cure: str


class Check(NamedTuple):
    """What was looked at, what was found, and what these data do not tell."""

    title: str
    findings: tuple[Finding, ...]
    untold: tuple[str, ...] = ()


Pair = tuple[Part, Part]  # for training, for testing


def check_dataset(dataset: SliceDataset) -> tuple[Check, ...]:
    """Makes every check of a dataset of `prepared.prepare_slices`; each slice is read once."""
    a, b, told = _measure_dataset(dataset)
    return (
        check_patients(a, b, told),
        check_duplicates(a, b, told),
        check_equality(a[0], b and b[0]),
        check_intensities(a),
        check_masks(b or a),
    )


def find_certain_harm(dataset: SliceDataset, masks: bool = True) -> list[Finding]:
    """What spoils any run: a patient or a slice in train and test, masks outside the brain.

    Args:
      dataset: of `prepared.prepare_slices`; of more than MOST_SLICES slices, each subject's first
        and every k-th after it are read, which are the same of a subject and of its copy.
      masks: whether they are used; False leaves out what is wrong with them alone.
    """
    step = -(-(len(dataset.train_a) + len(dataset.test_a)) // MOST_SLICES)
    a, b, told = _measure_dataset(dataset, masks, step)
    findings = find_shared_patients(a, b) if told else []
    for pair in filter(None, (a, b)):
        findings += find_shared_slices(*pair)
    return findings + (find_outside(a) if masks else [])


def name_patient(picture: str) -> str | None:
    """Whom a picture of `trainA/ trainB/` folders shows, as far as its name tells.

    'trainA/ann/7.png' and 'trainB/ann_7_mask.png' show 'ann'; of 'testA/7.png' it is not told.
    """
    path = PurePosixPath(*PurePosixPath(picture).parts[1:])
    if path.parent.name:
        return path.parent.as_posix()
    match = _NUMBERED.fullmatch(path.stem.removesuffix("_mask"))
    return match and match[1]


def check_patients(a: Pair, b: Pair | None, told: bool) -> Check:
    """Is a patient in train and test, under one name or two?

    Args:
      a: slices for training and for testing.
      b: the same of masks, None where they are those of the slices.
      told: whether names tell the patients.
    """
    title = "Patients in train and test"
    if told:
        return Check(title, (*find_shared_patients(a, b), *(_find_twins(*a) if b is None else ())))
    hint = "PATIENT_7.png would, or a subfolder for each patient."
    return Check(title, (), (f"The pictures' names do not tell whose they are; {hint}",))


def find_shared_patients(a: Pair, b: Pair | None) -> list[Finding]:
    """Patients on both sides, by names that are equal or differ in case or in a suffix only.

    A suffix is what a dot, a space, a bracket, - or _ sets apart from another patient's name
    (ANN and ANN_copy), or a session or date of study after a number (TCGA_HT_7602_19951103).

    Args:
      a: slices for training and for testing.
      b: the same of masks, None where they are those of the slices.
    """
    if b is None:
        cure = (
            "Move one of the two out of the data folder; pictures in images/ and masks/ can be "
            "given one name instead, PATIENT_7.png."
        )
        pairs = [a]
    else:
        cure = "Move all pictures of a patient to trainA/ and trainB/, or all to testA/ and testB/."
        pairs = [a, b, (a[0], b[1]), (b[0], a[1])]
    findings = []
    for train, test in pairs:
        shared = [
            " = ".join(dict.fromkeys(names + others))
            for names, others in _group_names(train, test)
            if names and others
        ]
        if shared:
            findings.append(
                Finding(
                    f"Patients in {train.name} and in {test.name}, by their names: {len(shared)}",
                    _list(shared),
                    "The test shows patients who were trained on: it says nothing of new ones, and "
                    "copies of patients pass for good slices.",
                    cure,
                )
            )
    return findings


def check_duplicates(a: Pair, b: Pair | None, told: bool) -> Check:
    """Are slices of different patients more alike than different heads are?

    Args: as of `check_patients`.
    """
    title = "Near-duplicate slices"
    findings = [finding for pair in (a, b) if pair for finding in find_shared_slices(*pair)]
    if told:
        return Check(title, (*findings, *(f for part in a for f in find_repeated_slices(part))))
    untold = (
        f"Copies within {a[0].name} or {a[1].name}: without patients' names they cannot be told "
        "from neighbouring slices of one patient."
    )
    return Check(title, tuple(findings), (untold,))


def find_shared_slices(train: Part, test: Part) -> list[Finding]:
    """Test slices that are near-duplicates of a training slice under another patient's name."""
    nearest, correlations = nearest_of_others(test, train)
    same = np.flatnonzero(correlations >= DUPLICATE_CORRELATION)
    if not same.size:
        return []
    return [
        Finding(
            f"Slices in {test.name} that are near-duplicates of slices in {train.name}: "
            f"{same.size} of {len(test.slices)}, correlation at "
            f"least {correlations[same].min():.3f}",
            _list(f"{test.slices[i]} = {train.slices[nearest[i]]}" for i in same),
            "The test repeats what was trained on: its scores are too good, and copies pass for "
            "new slices.",
            "Delete one of each two; where they show one patient, keep all of this patient in "
            "train or all in test.",
        )
    ]


def find_repeated_slices(part: Part) -> list[Finding]:
    """Slices within one part that are near-duplicates under different patients' names."""
    nearest, correlations = nearest_of_others(part, part)
    same = np.flatnonzero(correlations >= DUPLICATE_CORRELATION)
    if not same.size:
        return []
    pairs = sorted({(min(i, j), max(i, j)) for i, j in zip(same, nearest[same], strict=True)})
    return [
        Finding(
            f"Near-duplicates under different names in {part.name}: {len(pairs)} pairs of slices, "
            f"correlation at least {correlations[same].min():.3f}",
            _list(f"{part.slices[i]} = {part.slices[j]}" for i, j in pairs),
            "They count twice: networks learn them by heart, and a test takes them for more "
            "evidence than they are. Another division parts them into train and test.",
            "Delete one of each two from the data folder.",
        )
    ]


def check_equality(a: Part, b: Part | None) -> Check:
    """Do A and B show heads in equal places and sizes, and tumour equally often?

    Args:
      a: slices for training.
      b: masks for training, None where they are those of the slices.
    """
    title = "Heads and tumours of A against B"
    if b is None:
        return Check(title, (), ("They are the same slices here, so nothing can differ.",))
    if not can_differ(a.patients, b.patients):
        few = f"Any difference: that of so few {_unit(a)}s may always be chance."
        return Check(title, (), (few,))
    findings, untold = [], []
    if _shows_heads(a, b):
        findings += _find_moved_heads(a, b)
    else:
        untold.append(f"Whether heads lie alike: the masks in {b.name} show no heads.")
    if np.isnan(a.tumor).all():
        untold.append(
            f"Whether tumour is shown equally often: the slices in {a.name} come without masks. "
            f"Of the masks in {b.name}, {np.mean(b.tumor > 0):.0%} show one; about as many slices "
            "should."
        )
    findings += _find_unequal_tumors(a, b)
    return Check(title, tuple(findings), tuple(untold))


def check_intensities(pair: Pair) -> Check:
    """Are slices constant or clipped, and is a patient's look far from that of all others?

    Args:
      pair: slices for training and for testing.
    """
    both = join_parts(pair)
    title = "Intensities: constant, clipped, unlike the others"
    findings, untold = [], []
    if both.constant.any():
        findings.append(
            Finding(
                f"Slices of one grey level all over: {_share(both.constant)}",
                _list_slices(both, both.constant),
                "They show nothing, and generators learn to draw nothing.",
                "Choose others by --slices or --min_tumor_area_pixels; delete such pictures.",
            )
        )
    clipped = both.clipped > CLIPPED_SHARE
    if clipped.any():
        findings.append(
            Finding(
                f"Slices with more than {CLIPPED_SHARE:.0%} of the head at the brightest or at the "
                f"darkest level: {_share(clipped)}, up to {both.clipped[clipped].max():.0%}",
                _list_slices(both, clipped),
                "What differed there is lost, and generators learn flat patches.",
                "Try the other --intensity; save pictures anew, with levels left at both ends.",
            )
        )
    if len(set(both.patients[~np.isnan(both.median)])) >= LEAST_PATIENTS:
        findings += _find_far_patients(both)
    else:
        untold.append(
            f"Whether a {_unit(both)} looks unlike the others: fewer than {LEAST_PATIENTS} do not "
            "tell."
        )
    return Check(title, tuple(findings), tuple(untold))


def check_masks(pair: Pair) -> Check:
    """Do masks lie in the brain, and do they show a tumour that can be seen?

    Args:
      pair: masks for training and for testing, with their slices where there are such.
    """
    both = join_parts(pair)
    findings = find_outside(pair)
    empty, tiny = both.tumor == 0, (both.tumor > 0) & (both.tumor < TINY_TUMOR)
    if empty.any():
        findings.append(
            Finding(
                f"Empty masks: {_share(empty)}",
                _list_slices(both, empty),
                "Drawing no tumour becomes a right answer, on which generators fall back; and what "
                "they draw for an empty mask may show a tumour all the same.",
                "Leave out --slices, so that --min_tumor_area_pixels chooses; in trainB/ keep the "
                "same share of empty masks as trainA/ has slices without tumour.",
            )
        )
    if tiny.any():
        findings.append(
            Finding(
                f"Tumours of less than {TINY_TUMOR:.2%} of the picture: {_share(tiny)}",
                _list_slices(both, tiny),
                "So few pixels are lost in the networks' first layers, and one more or less "
                "decides their Dice.",
                "Leave out --slices, with --min_tumor_area_pixels=50 or more at 256 pixels; delete "
                "such masks from trainB/ and testB/.",
            )
        )
    untold = ()
    if (both.tumor > 0).any() and np.isnan(both.outside).all():
        untold = (f"Whether masks lie in the brain: those in {both.name} come without slices.",)
    return Check("Masks: outside the brain, empty, tiny", tuple(findings), untold)


def find_outside(pair: Pair) -> list[Finding]:
    """Slices whose tumour lies outside the brain, where the scan gives no signal."""
    both = join_parts(pair)
    outside = both.outside > OUTSIDE_SHARE
    if not outside.any():
        return []
    return [
        Finding(
            f"Slices with more than {OUTSIDE_SHARE:.0%} of the tumour outside the brain: "
            f"{_share(outside)}, up to {both.outside[outside].max():.0%}",
            _list_slices(both, outside),
            "Mask and slice do not belong together: tumours are learnt where there are none, and "
            "Dice compares with a wrong truth.",
            "Look at these masks: of another scan, mirrored, shifted, of another orientation? Mend "
            "them, or move the patients out of the data folder.",
        )
    ]


def _measure_dataset(
    dataset: SliceDataset, masks: bool = True, step: int = 1
) -> tuple[Pair, Pair | None, bool]:
    """A; B where its pictures are others than A's, and wanted; whether names tell the patients."""
    domains = ["train_a", "test_a"]
    if masks and not dataset.paired:
        domains += ["train_b", "test_b"]
    records = {domain: _thin(getattr(dataset, domain), step) for domain in domains}
    if dataset.paired:
        parts = (measure_part(name, records[f"{name}_a"], "scan") for name in ("train", "test"))
        return tuple(parts), None, True
    pictures = {domain: records[domain].subjects.tolist() for domain in domains}
    names = {domain: list(map(name_patient, pictures[domain])) for domain in domains}
    # One name in front of all numbers, img_1 and img_2 say, is no patient's.
    told = any(len(set(names[domain]) - {None}) > 1 for domain in domains)
    parts = [
        measure_part(
            DOMAIN_FOLDERS[domain] + "/",
            records[domain],
            "mask" if domain.endswith("_b") else "picture",
            [
                name if told and name else picture
                for name, picture in zip(names[domain], pictures[domain], strict=True)
            ],
        )
        for domain in domains
    ]
    return tuple(parts[:2]), tuple(parts[2:]) or None, told


def _thin(records: Records, step: int) -> Records:
    """Of each subject the first and every `step`-th after it."""
    _, first, subject = np.unique(records.subjects, return_index=True, return_inverse=True)
    places = np.arange(len(records)) - first[subject]
    return records.take(np.flatnonzero(places % step == 0))


def _find_twins(train: Part, test: Part) -> list[Finding]:
    """Patients under several names that all fell on one side."""
    twins = [
        " = ".join(names + others)
        for names, others in _group_names(train, test)
        if not (names and others) and len(names + others) > 1
    ]
    if not twins:
        return []
    return [
        Finding(
            f"Patients under several names, all on one side: {len(twins)}",
            _list(twins),
            "None in this division; another --seed or --test_fraction, or another script's way to "
            "divide, may put a patient in train and test.",
            "Move all but one of the names out of the data folder.",
        )
    ]


def _group_names(train: Part, test: Part) -> list[tuple[list[str], list[str]]]:
    """For each patient the names in train and those in test."""
    sides = [sorted(set(part.patients.tolist())) for part in (train, test)]
    keys = {name: _VISIT.sub("", name.casefold()) for side in sides for name in side}
    known = set(keys.values())
    patients = defaultdict(lambda: ([], []))
    for place, side in enumerate(sides):
        for name in side:
            key = keys[name]
            beginnings = (key[: gap.start()] for gap in _SEPARATOR.finditer(key))
            patient = next((beginning for beginning in beginnings if beginning in known), key)
            patients[patient][place].append(name)
    return list(patients.values())


def _shows_heads(a: Part, b: Part) -> bool:
    filled = [part.head[~np.isnan(part.head[:, -1]), -1] for part in (a, b)]
    return all(map(len, filled)) and np.median(filled[1]) >= _HEAD_RATIO * np.median(filled[0])


def _find_moved_heads(a: Part, b: Part) -> list[Finding]:
    compared = {
        name: compare_patients(a.head[:, column], a.patients, b.head[:, column], b.patients)
        for column, name in enumerate(HEAD)
    }
    moved = [
        f"{name} {_describe(of)}"
        for name, of in compared.items()
        if of and _differs(of, LEAST_SHIFT)
    ]
    if not moved:
        return []
    return [
        Finding(
            f"Heads lie differently in {a.name} and {b.name}: {'; '.join(moved)}",
            _list_sides(a, b),
            "The discriminators tell A from B by where the head lies, so the generators learn to "
            "move, scale or cut heads instead of leaving them in place.",
            "Cut the pictures of A and B by one rule, centred and scaled alike.",
        )
    ]


def _find_unequal_tumors(a: Part, b: Part) -> list[Finding]:
    """What makes a CycleGAN add and remove tumours: Cohen et al., 2018, arXiv 1805.08841."""
    shows = [np.where(np.isnan(part.tumor), np.nan, part.tumor > 0) for part in (a, b)]
    compared = compare_patients(shows[0], a.patients, shows[1], b.patients)
    if not compared or not _differs(compared, LEAST_TUMOR_DIFFERENCE):
        return []
    return [
        Finding(
            f"Tumour is not shown equally often in {a.name} and {b.name}: share of slices "
            f"{_describe(compared)}",
            _list_sides(a, b),
            "The generators make up for the difference: they invent tumours where the other side "
            "has more, and remove them where it has fewer.",
            "Choose slices of A and masks of B by one rule, so that equal shares show tumour.",
        )
    ]


def _differs(compared: Comparison, least: float) -> bool:
    return (
        compared.p <= SIGNIFICANCE
        and abs(compared.delta) >= LARGE_DELTA
        and abs(compared.mean - compared.other_mean) >= least
    )


def _describe(compared: Comparison) -> str:
    return (
        f"{compared.mean:.2f} and {compared.other_mean:.2f} (Cliff's delta {compared.delta:+.2f}, "
        f"p {compared.p:.1g})"
    )


def _find_far_patients(part: Part) -> list[Finding]:
    names = np.unique(part.patients[~np.isnan(part.median)])
    columns = part.median, part.spread
    looks = np.array(
        [[np.nanmedian(x[part.patients == name]) for x in columns] for name in names.tolist()]
    )
    scaled = np.stack([looks[:, 0], np.log(np.maximum(looks[:, 1], 1))], axis=1)
    deviations = np.maximum(median_abs_deviation(scaled, scale="normal"), _LEAST_DEVIATIONS)
    distances = np.abs(scaled - np.median(scaled, axis=0)) / deviations
    far = np.flatnonzero(distances.max(axis=1) > FAR_DEVIATIONS)
    if not far.size:
        return []
    median, spread = np.median(looks, axis=0)
    return [
        Finding(
            f"{_unit(part).capitalize()}s that look unlike the others, whose grey levels have a "
            f"median of {median:.0f} and a spread of {spread:.0f}: {far.size} of {len(names)}",
            _list(f"{names[i]} ({looks[i, 0]:.0f} and {looks[i, 1]:.0f})" for i in far),
            "The networks spend themselves on a look that few slices have.",
            "Look at them: another sequence, other units, an artefact? Mend them, or move them out "
            "of the data folder.",
        )
    ]


def _unit(part: Part) -> str:
    return "picture" if np.array_equal(part.patients, part.slices) else "patient"


def _list_sides(a: Part, b: Part) -> str:
    numbers = [f"{len(set(part.patients.tolist()))} {_unit(part)}s" for part in (a, b)]
    return f"{numbers[0]} of A and {numbers[1]} of B"


def _share(chosen: np.ndarray) -> str:
    return f"{chosen.sum()} of {chosen.size}"


def _list(names: Iterable[str]) -> str:
    """The first few, and how many more."""
    names = list(names)
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _list_slices(part: Part, chosen: np.ndarray) -> str:
    """Of each patient the first of the chosen slices, and how many more there are."""
    counts, first = Counter(part.patients[chosen].tolist()), {}
    for patient, name in zip(part.patients[chosen].tolist(), part.slices[chosen], strict=True):
        first.setdefault(patient, name)
    return _list(
        f"{name} (and {counts[patient] - 1} of this patient)" if counts[patient] > 1 else name
        for patient, name in first.items()
    )
