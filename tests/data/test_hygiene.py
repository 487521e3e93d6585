import io
import json

import numpy as np
import pytest
from heads import SIDE, draw_head, make_part
from PIL import Image
from scipy.ndimage import gaussian_filter
from tiny import save_picture

from brainsynth_jax.data import hygiene
from brainsynth_jax.data.hygiene import (
    check_dataset,
    check_duplicates,
    check_equality,
    check_intensities,
    check_masks,
    check_patients,
    find_certain_harm,
    name_patient,
)
from brainsynth_jax.data.nifti import save_volume
from brainsynth_jax.data.prepared import prepare_slices
from brainsynth_jax.data.slice_measures import compare_patients, measure_part
from brainsynth_jax.data.slices import SliceOptions
from brainsynth_jax.data.sources import recognise

OPTIONS = SliceOptions(image_size=SIDE, min_tumor_area_pixels=0, test_fraction=0.5)
NOBODY = measure_part("none", [], "picture")


def heads(names, first_seed=0, **drawn):
    """A head for each name."""
    return {name: [draw_head(first_seed + n, **drawn)] for n, name in enumerate(names)}


def patients(*names, part="train"):
    return make_part(part, {name: [draw_head()] for name in names})


@pytest.mark.parametrize(
    ("picture", "patient"),
    [
        ("trainA/ann_7.png", "ann"),
        ("trainB/ann_7_mask.tif", "ann"),
        ("testA/BraTS2021_01476-060.png", "BraTS2021_01476"),
        ("trainA/ann/7.png", "ann"),
        ("trainA/site/ann/scan_7.png", "site/ann"),
        ("trainA/7.png", None),
        ("trainA/P7.png", None),
    ],
)
def test_a_pictures_name_tells_its_patient_or_nothing(picture, patient):
    assert name_patient(picture) == patient


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ANN", "ann"),
        ("ANN", "ANN_copy"),
        ("ANN (2)", "ANN"),
        ("BraTS2021_01476", "BraTS2021_01476-b"),
        ("TCGA_HT_7602_19951103", "TCGA_HT_7602_19970101"),
        ("sub-01_ses-1", "sub-01_ses-2"),
    ],
)
def test_one_patient_under_two_names_in_train_and_test_is_found(one, other):
    pair = patients(one, "BOB"), patients("CID", other, part="test")
    (finding,) = check_patients(pair, None, told=True).findings
    assert "Patients in train and in test, by their names: 1" in finding.what
    assert finding.where == f"{one} = {other}"
    assert "out of the data folder" in finding.cure
    twins = patients(one, other, "BOB"), patients("CID", part="test")
    (finding,) = check_patients(twins, None, told=True).findings
    assert "all on one side: 1" in finding.what
    assert finding.where == " = ".join(sorted([one, other]))


def test_names_that_differ_in_more_than_a_suffix_are_different_patients():
    train = patients("BraTS2021_0147", "S1", "case_1", "ANN", "scan_20000902")
    test = patients("BraTS2021_01476", "S10", "case_2", "ANNA", "scan_20000903", part="test")
    assert check_patients((train, test), None, told=True).findings == ()


def test_a_patient_in_training_and_test_folders_is_found_in_whichever_they_are():
    names = {"trainA/": "ANN", "testA/": "BOB", "trainB/": "CID", "testB/": "DAN"}
    for train, test in (
        ("trainA/", "testA/"),
        ("trainB/", "testB/"),
        ("trainA/", "testB/"),
        ("trainB/", "testA/"),
    ):
        parts = {part: patients(name, part=part) for part, name in names.items()}
        parts[test] = patients(names[test], names[train], part=test)
        a, b = (parts["trainA/"], parts["testA/"]), (parts["trainB/"], parts["testB/"])
        (finding,) = check_patients(a, b, told=True).findings
        assert finding.what.startswith(f"Patients in {train} and in {test}")
        assert finding.where == names[train]
        assert "trainA/ and trainB/, or all to testA/ and testB/" in finding.cure
    (untold,) = check_patients(a, b, told=False).untold
    assert "do not tell whose they are" in untold


def copies():
    levels = draw_head(7)
    noise = np.random.default_rng(0).normal(0, 13, levels.shape)
    content = io.BytesIO()
    Image.fromarray(levels).save(content, format="JPEG", quality=20)
    return {
        "exact": levels,
        "mirrored": levels[:, ::-1],
        "noisy": np.clip(levels + noise, 0, 255).astype(np.uint8),
        "saved as JPEG": np.asarray(Image.open(content)),
        "brighter": (levels * 1.2 + 10 * (levels > 0)).clip(0, 255).astype(np.uint8),
        "halved": np.asarray(Image.fromarray(levels).resize((32, 32)).resize((64, 64))),
    }


@pytest.mark.parametrize("copy", copies().values(), ids=copies().keys())
def test_a_copy_under_another_name_is_found(copy):
    train = make_part("train", heads("ABCDEFGHIJ"))
    test = make_part("test", heads("KLM", 20) | {"N": [draw_head(30), copy]})
    (finding,) = check_duplicates((train, test), None, told=True).findings
    assert "near-duplicates of slices in train: 1 of 5" in finding.what
    assert finding.where == "N_1 = H_0"
    twice = make_part("train", heads("ABCDEFGHIJ") | {"N": [copy]})
    (finding,) = check_duplicates((twice, NOBODY), None, told=True).findings
    assert "different names in train: 1 pairs" in finding.what
    assert finding.where == "H_0 = N_0"


def test_different_heads_and_neighbours_of_one_patient_are_no_copies():
    def neighbours(seed):
        return [gaussian_filter(draw_head(seed), 0.2 * n) for n in range(3)]

    train = make_part("train", {name: neighbours(n) for n, name in enumerate("ABCDEFGH")})
    test = make_part("test", {name: neighbours(20 + n) for n, name in enumerate("IJK")})
    assert check_duplicates((train, test), None, told=True).findings == ()


def test_without_names_copies_are_looked_for_across_folders_only():
    twice = dict(zip("PQ", 2 * [[draw_head(1)]], strict=True))
    train, test = make_part("trainA/", twice), make_part("testA/", heads("RS", 20))
    check = check_duplicates((train, test), None, told=False)
    assert check.findings == ()
    assert "Copies within trainA/ or testA/" in check.untold[0]
    repeated = make_part("testA/", {"T": [draw_head(1)]})
    (finding,) = check_duplicates((train, repeated), None, told=False).findings
    assert "1 of 1" in finding.what


def test_copied_masks_are_found_and_empty_ones_are_all_alike():
    blobs = [255 * (draw_head(n, size=(0.2, 0.3)) > 125).astype(np.uint8) for n in range(4)]
    empty = np.zeros((SIDE, SIDE), np.uint8)
    train = make_part("trainB/", {"A": [blobs[0]], "B": [blobs[1]], "C": [empty]}, "mask")
    a = make_part("trainA/", heads("AB")), make_part("testA/", heads("CD", 20))
    for copied, found in ((blobs[2], 0), (blobs[1], 1)):
        test = make_part("testB/", {"E": [copied], "F": [empty]}, "mask")
        findings = check_duplicates(a, (train, test), told=False).findings
        assert len(findings) == found
    assert findings[0].where == "E_0 = B_0"


def jittered(names, first_seed, top=0.5, size=1.0):
    """Heads that differ as patients do."""
    drawn = {}
    for n, name in enumerate(names):
        rng = np.random.default_rng(first_seed + n)
        centre = np.array([top, 0.5]) + rng.normal(0, 0.01, 2)
        lengths = size * (np.array([0.6, 0.45]) + rng.normal(0, 0.02, 2))
        drawn[name] = [draw_head(first_seed + 100 * k + n, centre, lengths) for k in range(3)]
    return drawn


A_NAMES, B_NAMES = "ABCDEFGHIJ", "KLMNOPQRST"


def test_heads_that_lie_alike_are_left_in_peace():
    a, b = make_part("a", jittered(A_NAMES, 0)), make_part("b", jittered(B_NAMES, 50))
    assert check_equality(a, b).findings == ()


@pytest.mark.parametrize(
    ("moved", "told", "silent"),
    [
        ({"top": 0.58}, ["centre from the top"], ["height", "left", "filled"]),
        ({"size": 0.75}, ["height", "width", "filled share"], ["centre"]),
    ],
)
def test_heads_that_lie_elsewhere_or_are_of_another_size_are_found(moved, told, silent):
    a = make_part("trainA/", jittered(A_NAMES, 0))
    b = make_part("trainB/", jittered(B_NAMES, 50, **moved), "mask")
    (finding,) = check_equality(a, b).findings
    assert all(words in finding.what for words in ["trainA/ and trainB/", "Cliff's delta", *told])
    assert not any(words in finding.what for words in silent)
    assert finding.where == "10 patients of A and 10 patients of B"
    assert "move" in finding.effect
    assert "by one rule" in finding.cure


def test_the_numbers_told_are_those_compared():
    a = make_part("trainA/", jittered(A_NAMES, 0))
    b = make_part("trainB/", jittered(B_NAMES, 50, top=0.58))
    compared = compare_patients(a.head[:, 0], a.patients, b.head[:, 0], b.patients)
    assert compared.delta == -1
    (finding,) = check_equality(a, b).findings
    assert f"0.50 and 0.58 (Cliff's delta -1.00, p {compared.p:.1g})" in finding.what


@pytest.mark.parametrize(
    ("shift", "spread", "patients", "found"),
    [(0.03, 0.001, 10, 1), (0.015, 0.001, 10, 0), (0.03, 0.06, 200, 0)],
    ids=["clear", "sure but unseen", "sure but less than patients differ"],
)
def test_only_a_difference_that_is_sure_and_matters_is_told(shift, spread, patients, found):
    names = [f"P{n}" for n in range(patients)]
    part = make_part("a", {name: [np.zeros((SIDE, SIDE), np.uint8)] for name in names})
    rng = np.random.default_rng(0)
    a, b = (
        part._replace(head=offset + np.array([0.5, 0.5, 0.6, 0.5, 0.3]) + noise)
        for offset, noise in zip((0, shift), rng.normal(0, spread, (2, patients, 5)), strict=True)
    )
    assert compare_patients(a.head[:, 0], a.patients, b.head[:, 0], b.patients).p < 0.002
    assert len(check_equality(a, b).findings) == found


def test_few_patients_and_masks_without_heads_are_no_evidence():
    a = make_part("trainA/", jittered(A_NAMES, 0))
    few = make_part("trainB/", jittered("KLM", 50, top=0.6))
    check = check_equality(a, few)
    assert check.findings == ()
    assert "so few patients" in check.untold[0]
    blob = 255 * (draw_head(size=(0.2, 0.2), centre=(0.7, 0.3)) > 0).astype(np.uint8)
    check = check_equality(a, make_part("trainB/", {name: [blob] for name in B_NAMES}, "mask"))
    assert check.findings == ()
    assert "the masks in trainB/ show no heads" in check.untold[0]
    assert "100% show one" in check.untold[1]


def test_unequal_shares_of_tumor_are_found_where_both_are_known():
    a = make_part("a", {name: 3 * [draw_head(n)] for n, name in enumerate(A_NAMES)}, "scan")
    for empty_of_three, found in ((0, 0), (1, 1)):
        shares = np.tile([0.01] * (3 - empty_of_three) + [0] * empty_of_three, 10)
        b = a._replace(patients=np.char.add("b", a.patients), tumor=shares)
        findings = check_equality(a, b).findings
        assert len(findings) == found
    (finding,) = findings
    assert "1.00 and 0.67" in finding.what
    assert "invent" in finding.effect


def test_slices_that_are_both_a_and_b_cannot_differ():
    check = check_equality(make_part("train", heads("AB")), None)
    assert (check.findings, len(check.untold)) == ((), 1)


def test_constant_and_clipped_slices_are_found():
    saturated = draw_head(5)
    saturated[saturated > 150] = 255
    flat = np.full((SIDE, SIDE), 30, np.uint8)
    names = heads("ABCDEFGHI") | {"J": [draw_head(20), saturated], "K": [flat, flat, draw_head(21)]}
    constant, clipped = check_intensities((make_part("train", names), NOBODY)).findings
    assert "one grey level all over: 2 of 14" in constant.what
    assert constant.where == "K_0 (and 1 of this patient)"
    share = np.mean(saturated[saturated > 0] == 255)
    assert f"1 of 14, up to {share:.0%}" in clipped.what
    assert clipped.where == "J_1"


@pytest.mark.parametrize(
    "odd", [{"level": 220.0}, {"level": 50.0}, {"contrast": 1.0}, {"contrast": 5.0, "level": 200.0}]
)
def test_a_patient_who_looks_unlike_the_others_is_found(odd):
    usual = heads("ABCDEFGHIJ", contrast=15.0)
    train = make_part("train", usual | {"ODD": [draw_head(20, **({"contrast": 15.0} | odd))]})
    test = make_part("test", heads("KLM", 30, contrast=15.0))
    (finding,) = check_intensities((train, test)).findings
    assert "unlike the others" in finding.what
    assert "1 of 14" in finding.what
    assert finding.where.startswith("ODD (")


def test_patients_who_hardly_differ_are_not_held_against_it():
    same = {name: [draw_head(1)] for name in "ABCDEFGHIJ"}
    slightly = {"K": [draw_head(1, level=133.0)]}
    assert check_intensities((make_part("train", same | slightly), NOBODY)).findings == ()
    few = make_part("train", heads("ABCDEF") | {"ODD": [draw_head(9, level=230.0)]})
    check = check_intensities((few, NOBODY))
    assert check.findings == ()
    assert "fewer than 8" in check.untold[0]


def test_masks_outside_the_brain_empty_and_tiny_ones_are_found():
    part = make_part("train", heads("ABCDEF"), "scan")
    shares = np.array([0.02, 0.02, 0.02, 0, 0.0003, 0.02])
    part = part._replace(tumor=shares, outside=np.array([0, 0.15, 0.5, np.nan, 0, 1]))
    outside, empty, tiny = check_masks((part, NOBODY)).findings
    assert "2 of 6, up to 100%" in outside.what
    assert outside.where == "C slice 0, F slice 0"
    assert empty.what == "Empty masks: 1 of 6"
    assert empty.where == "D slice 0"
    assert "1 of 6" in tiny.what
    assert tiny.where == "E slice 0"
    sound = part._replace(tumor=shares * 0 + 0.02, outside=shares * 0)
    assert check_masks((sound, NOBODY)) == ("Masks: outside the brain, empty, tiny", (), ())


def test_masks_without_slices_cannot_be_told_to_lie_outside():
    blob = 255 * (draw_head(size=(0.3, 0.3)) > 0).astype(np.uint8)
    b = make_part("trainB/", {"A": [blob], "B": [blob * 0]}, "mask")
    check = check_masks((b, NOBODY))
    assert [finding.where for finding in check.findings] == ["B_0"]
    assert "come without slices" in check.untold[0]


def test_only_the_first_are_named():
    train = make_part("train", heads("ABCDEF"))
    test = make_part("test", heads(["a", "b", "c", "d", "e"], 20))
    (finding,) = check_patients((train, test), None, told=True).findings
    assert finding.where == "A = a, B = b, C = c and 2 more"


@pytest.fixture
def make_volumes(tmp_path):
    """make(names, copied): a BraTS folder of different heads; `copied` is a name under another."""

    def make(names=("S1", "S2", "S3", "S4"), copied=None, shift=0):
        root = tmp_path / "brats"
        for seed, name in enumerate([*names, *(copied or {})]):
            source = names.index(copied[name]) if name in (copied or {}) else seed
            slices = [draw_head(10 * source + z).T for z in range(4)]
            seg = np.zeros((SIDE, SIDE, 4), np.uint8)
            seg[shift : shift + 10, 27:37] = 2
            (root / name).mkdir(parents=True)
            for kind, volume in (("flair", np.stack(slices, -1).astype(np.int16)), ("seg", seg)):
                save_volume(root / name / f"{name}_{kind}.nii.gz", volume, np.eye(4))
        return root

    return make


def prepare(root, tmp_path, **options):
    source = recognise(root, "flair")
    return prepare_slices(source, OPTIONS._replace(**options), tmp_path / "cache", False)


def test_a_sound_folder_gives_no_finding(make_volumes, tmp_path):
    dataset = prepare(make_volumes(shift=27), tmp_path)
    checks = check_dataset(dataset)
    assert [check.findings for check in checks] == [()] * 5
    assert find_certain_harm(dataset) == []
    json.dumps(checks)


def test_a_copied_patient_and_misplaced_masks_are_warned_of(make_volumes, tmp_path):
    """Held out are the last in name order, the copy among them."""
    root = make_volumes(copied={"T9": "S2"}, shift=1)
    dataset = prepare(root, tmp_path, test_patients=1)
    copied, outside = find_certain_harm(dataset)
    assert "near-duplicates of slices in train: 4 of 4" in copied.what
    assert copied.where.startswith("T9 slice 0 = S2 slice 0, ")
    assert "outside the brain: 20 of 20" in outside.what
    assert find_certain_harm(dataset, masks=False) == [copied]
    found = [finding for check in check_dataset(dataset) for finding in check.findings]
    assert {copied, outside} <= set(found)


def test_of_many_slices_some_of_each_subject_are_read_and_copies_still_found(
    make_volumes, tmp_path, monkeypatch
):
    root = make_volumes(copied={"T9": "S2"}, shift=27)
    dataset = prepare(root, tmp_path, test_patients=1)
    monkeypatch.setattr(hygiene, "MOST_SLICES", 10)
    (finding,) = find_certain_harm(dataset)
    assert finding.where == "T9 slice 0 = S2 slice 0, T9 slice 2 = S2 slice 2"


def test_nobody_held_out_is_nothing_to_find(make_volumes, tmp_path):
    dataset = prepare(make_volumes(shift=27), tmp_path, test_patients=0)
    assert find_certain_harm(dataset) == []
    assert [check.findings for check in check_dataset(dataset)] == [()] * 5


def save_folders(root, names):
    """CycleGAN's folders: folder -> names of pictures; a name ends in the head's number."""
    for folder, stems in names.items():
        for stem in stems:
            number = int(stem.rpartition("_")[2])
            levels = draw_head(number)
            if folder.endswith("B"):
                tumor = np.roll(draw_head(size=(0.3, 0.2)) > 0, 3 * number - 12, axis=0)
                levels = np.where(tumor, 255, 128 * (levels > 0)).astype(np.uint8)
            save_picture(root / folder / f"{stem}.png", levels)


def test_folders_are_judged_by_names_where_they_tell(tmp_path):
    names = {
        "trainA": ["ann_1", "ann_2", "bob_3"],
        "trainB": ["cid_4"],
        "testA": ["dan_5"],
        "testB": ["ann_6"],
    }
    save_folders(tmp_path / "pictures", names)
    dataset = prepare(tmp_path / "pictures", tmp_path)
    (finding,) = find_certain_harm(dataset)
    assert finding.what.startswith("Patients in trainA/ and in testB/")
    assert find_certain_harm(dataset, masks=False) == []
    assert check_dataset(dataset)[0].findings == (finding,)


def test_folders_of_numbered_pictures_tell_no_patient(tmp_path):
    names = {
        "trainA": ["img_1", "img_2"],
        "trainB": ["img_3"],
        "testA": ["img_2", "img_4"],
        "testB": ["img_3"],
    }
    save_folders(tmp_path / "pictures", names)
    patients, duplicates, equality, _, masks = check_dataset(
        prepare(tmp_path / "pictures", tmp_path)
    )
    assert patients.findings == ()
    assert patients.untold
    assert [finding.where for finding in duplicates.findings] == [
        "testA/img_2.png = trainA/img_2.png",
        "testB/img_3.png = trainB/img_3.png",
    ]
    assert equality.untold
    assert masks.untold
