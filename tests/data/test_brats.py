import numpy as np
import pytest
from tiny import LPS, grow_scan

from brainsynth_jax.data.masks import CORE, ENHANCING, OEDEMA
from brainsynth_jax.data.nifti import save_volume
from brainsynth_jax.data.sources import recognise


def save_subject(folder, name, separator, kinds, ending=".nii.gz"):
    folder.mkdir(parents=True, exist_ok=True)
    flair, seg = grow_scan()
    for kind in kinds:
        save_volume(
            folder / f"{name}{separator}{kind}{ending}", seg if kind == "seg" else flair, LPS
        )


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("separator", "kinds"),
    [
        ("_", {"flair": "flair", "t1": "t1", "t1ce": "t1ce", "t2": "t2"}),
        ("-", {"flair": "t2f", "t1": "t1n", "t1ce": "t1c", "t2": "t2w"}),
    ],
)
def test_every_modality_of_old_and_new_names(tmp_path, separator, kinds, ending):
    for depth, name in (("HGG", "B_1"), ("LGG/deeper", "B_2")):
        save_subject(
            tmp_path / depth / name, name, separator, [*kinds.values(), "seg"], ending=ending
        )
    for modality, kind in kinds.items():
        source = recognise(tmp_path, modality)
        assert source.kind == "brats"
        assert [subject.name for subject in source.subjects] == ["B_1", "B_2"]
        assert source.subjects[0].files[0].name == f"B_1{separator}{kind}{ending}"
        assert source.has_classes
        assert not source.problems


def test_scans_of_one_patient_share_the_patient(tmp_path):
    for name in ("BraTS-GLI-00005-100", "BraTS-GLI-00005-101", "BraTS-GLI-00006-000"):
        save_subject(tmp_path / name, name, "-", ["t2f", "seg"])
    patients = [subject.patient for subject in recognise(tmp_path, "flair").subjects]
    assert patients == ["BraTS-GLI-00005", "BraTS-GLI-00005", "BraTS-GLI-00006"]


def test_labels_of_old_and_new_releases_mean_the_same(tmp_path):
    flair, seg = grow_scan()
    for name, enhancing in (("old", 4), ("new", 3)):
        save_volume(tmp_path / f"{name}_flair.nii", flair, LPS)
        save_volume(tmp_path / f"{name}_seg.nii", np.where(seg == 4, enhancing, seg), LPS)
    new, old = (subject.load() for subject in recognise(tmp_path, "flair").subjects)
    np.testing.assert_array_equal(old.labels, new.labels)
    assert set(np.unique(old.labels)) == {0, OEDEMA, CORE, ENHANCING}


def test_problems_name_subject_and_lack(make_brats):
    root = make_brats(["A", "B", "C"])
    (root / "A" / "A_seg.nii.gz").unlink()
    (root / "B" / "B_flair.nii.gz").unlink()
    (root / "copy").mkdir()
    (root / "copy" / "C_seg.nii").write_bytes(b"")
    source = recognise(root, "flair")
    assert source.subjects == ()
    no_mask, no_flair, twice = sorted(source.problems)
    assert no_mask == "A: no mask (A_seg.nii.gz or A-seg.nii.gz), only flair"
    assert no_flair == "B: no flair volume, only seg"
    assert twice.startswith("C: seg is there twice, ")


def test_hidden_twins_are_ignored_and_links_followed(make_brats, tmp_path):
    root = make_brats(["A", "B"])
    (root / "A" / "._A_flair.nii.gz").write_bytes(b"\0")
    (root / ".hidden").mkdir()
    (root / ".hidden" / "Z_flair.nii.gz").write_bytes(b"\0")
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "data").symlink_to(root)
    (root / "A" / "round").symlink_to(root)
    source = recognise(linked, "flair")
    assert [subject.name for subject in source.subjects] == ["A", "B"]
    assert not source.problems
