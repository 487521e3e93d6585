import shutil

import numpy as np
import pytest
from tiny import grow_picture, save_picture

from brainsynth_jax.data.masks import TUMOR
from brainsynth_jax.data.sources import recognise
from brainsynth_jax.errors import UserError


@pytest.mark.parametrize("extension", [".png", ".tif", ".PNG"])
def test_pictures_and_masks_of_the_same_name(make_image_folders, extension):
    source = recognise(make_image_folders(extension=extension), "flair")
    assert source.kind == "image_mask_folders"
    assert [subject.name for subject in source.subjects] == ["ANN", "BOB"]
    assert not source.has_classes
    scan = source.subjects[1].load()
    assert scan.slice_numbers.tolist() == [1, 10]
    assert scan.spacing_mm is None
    np.testing.assert_array_equal(scan.image[1], grow_picture(3)[0])
    np.testing.assert_array_equal(scan.labels[1] == TUMOR, grow_picture(3)[1] > 0)


def test_subfolders_are_subjects_and_unnumbered_names_subjects_of_their_own(make_image_folders):
    names = ("ann/1", "ann/2", "bob/slice-7", "carl", "dora-3", "dora-20")
    source = recognise(make_image_folders(names), "flair")
    subjects = {subject.name: subject.load() for subject in source.subjects}
    assert {name: len(scan.image) for name, scan in subjects.items()} == {
        "ann": 2,
        "bob": 1,
        "carl": 1,
        "dora": 2,
    }
    assert subjects["dora"].slice_numbers.tolist() == [3, 20]
    assert subjects["ann"].slice_numbers.tolist() == [0, 1]


def test_masks_may_end_in_mask_and_have_another_extension(make_image_folders):
    root = make_image_folders(("ann_1",))
    (root / "masks" / "ann_1.png").unlink()
    save_picture(root / "masks" / "ann_1_mask.tif", grow_picture()[1])
    (subject,) = recognise(root, "flair").subjects
    assert subject.files[1].name == "ann_1_mask.tif"


def test_what_has_no_partner_is_a_problem_of_its_subject(make_image_folders):
    root = make_image_folders()
    (root / "masks" / "ANN_2.png").unlink()
    (root / "images" / "BOB_1.png").unlink()
    source = recognise(root, "flair")
    assert source.subjects == ()
    assert len(source.problems) == 2
    assert source.problems[0] == f"ANN: {root / 'images' / 'ANN_2.png'} has no mask"
    assert source.problems[1] == f"BOB: the mask {root / 'masks' / 'BOB_1.png'} has no picture"


def test_pictures_of_one_subject_have_one_size(make_image_folders):
    root = make_image_folders()
    save_picture(root / "masks" / "ANN_2.png", grow_picture(size=(40, 30))[1])
    with pytest.raises(UserError, match=r"ANN_2\.png: has 40x30 pixels, but .*40x32"):
        recognise(root, "flair").subjects[0].load()


@pytest.mark.parametrize(
    "twins",
    [
        ("images/ANN_1.jpg", "images/ANN_1.png"),
        ("masks/ANN_1.png", "masks/ANN_1.tif"),
        ("masks/ANN_1.png", "masks/ANN_1_mask.png"),
    ],
)
def test_two_pictures_of_one_name_are_told(make_image_folders, twins):
    root = make_image_folders()
    for name in twins:
        save_picture(root / name, grow_picture()[1])
    with pytest.raises(UserError, match="the same picture is there twice") as caught:
        recognise(root, "flair")
    assert all(str(root / name) in str(caught.value) for name in twins)


@pytest.mark.parametrize("flat", [False, True])
def test_lgg_twins_by_number_with_the_modality_as_channel(make_lgg, flat):
    root = make_lgg(flat)
    source = recognise(root, "flair")
    assert source.kind == "lgg"
    assert [subject.name for subject in source.subjects] == ["TCGA_AA_1_2000", "TCGA_BB_2_2001"]
    scan = source.subjects[0].load()
    assert scan.slice_numbers.tolist() == list(range(1, 12))
    assert scan.image[:, 0, 0].tolist() == list(range(1, 12))
    assert set(np.unique(scan.labels)) == {0, TUMOR}
    for modality, value in (("t1", 10), ("t1ce", 30)):
        assert (recognise(root, modality).subjects[0].load().image == value).all()


def test_lgg_has_no_t2(make_lgg):
    with pytest.raises(UserError, match=r"--modality=t2: the LGG set .* has t1, flair, t1ce only"):
        recognise(make_lgg(), "t2")


def test_lgg_packed_twice_is_told(make_lgg):
    root = make_lgg()
    shutil.copytree(root / "TCGA_AA_1_2000", root / "again" / "TCGA_AA_1_2000")
    with pytest.raises(UserError, match="the same picture is there twice"):
        recognise(root, "flair")


def test_a_slice_without_mask_is_a_problem(make_lgg):
    root = make_lgg(flat=True)
    (root / "TCGA_AA_1_2000_7_mask.tif").unlink()
    source = recognise(root, "flair")
    assert [subject.name for subject in source.subjects] == ["TCGA_BB_2_2001"]
    assert source.problems[0].endswith("TCGA_AA_1_2000_7.tif has no mask")


def test_cyclegan_folders_have_domains(make_cyclegan):
    source = recognise(make_cyclegan(), "flair")
    assert source.kind == "cyclegan_folders"
    assert source.subjects == ()
    assert {name: len(group) for name, group in source.domains.items()} == {
        "train_a": 3,
        "train_b": 2,
        "test_a": 2,
        "test_b": 1,
    }
    scan = source.domains["train_a"][1].load()
    assert source.domains["train_a"][1].name == "trainA/1.png"
    assert scan.labels is None
    np.testing.assert_array_equal(scan.image[0], grow_picture(1)[0])


def test_lone_pictures_have_eight_bits(make_cyclegan):
    root = make_cyclegan()
    save_picture(root / "trainA" / "0.png", grow_picture()[0].astype(np.uint16) * 200)
    with pytest.raises(UserError, match=r"grey levels are 0 to \d+; 0 to 255 are allowed"):
        recognise(root, "flair").domains["train_a"][0].load()
