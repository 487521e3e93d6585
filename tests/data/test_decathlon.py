import json

import numpy as np
import pytest
from tiny import grow_scan

from brainsynth_jax.data.masks import CORE, ENHANCING, OEDEMA, TUMOR
from brainsynth_jax.data.sources import recognise
from brainsynth_jax.errors import UserError


@pytest.mark.parametrize(("modality", "channel"), [("flair", 0), ("t1", 1), ("t1ce", 2), ("t2", 3)])
def test_the_channel_comes_from_the_index(make_decathlon, modality, channel):
    source = recognise(make_decathlon(), modality)
    assert source.kind == "decathlon"
    assert [subject.name for subject in source.subjects] == ["BRATS_000", "BRATS_001", "BRATS_002"]
    scan = source.subjects[0].load()
    expected = grow_scan(0)[0] + channel
    np.testing.assert_array_equal(scan.image, expected.T)


def test_labels_mean_what_the_index_says(make_decathlon):
    labels = recognise(make_decathlon(), "flair").subjects[0].load().labels
    seg = grow_scan(0)[1]
    for brats_value, code in ((1, CORE), (2, OEDEMA), (4, ENHANCING)):
        assert (labels == code).sum() == (seg == brats_value).sum() > 0


def test_masks_of_one_class_have_no_classes(make_decathlon):
    root = make_decathlon(labels={"0": "background", "1": "tumour", "2": "tumor", "3": "Tumour"})
    source = recognise(root, "flair")
    assert not source.has_classes
    assert set(np.unique(source.subjects[0].load().labels)) == {0, TUMOR}


def test_a_missing_file_is_a_problem_of_its_subject(make_decathlon):
    root = make_decathlon()
    (root / "labelsTr" / "BRATS_001.nii.gz").unlink()
    source = recognise(root, "flair")
    assert len(source.subjects) == 2
    assert source.problems == ("BRATS_001: no labelsTr/BRATS_001.nii.gz",)


def test_a_missing_modality_is_named(make_decathlon):
    root = make_decathlon(modality={"0": "FLAIR", "1": "T1w"})
    with pytest.raises(UserError, match=r"--modality=t2: .* offers flair, t1;"):
        recognise(root, "t2")


def test_labels_of_another_organ_are_refused(make_decathlon):
    root = make_decathlon(labels={"0": "background", "1": "liver"})
    with pytest.raises(UserError, match="label 'liver' is no brain tumour class"):
        recognise(root, "flair")


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", json.dumps({"modality": ["flair"], "labels": {}, "training": []})]
)
def test_a_damaged_index_is_named(make_decathlon, text):
    root = make_decathlon()
    (root / "dataset.json").write_text(text)
    with pytest.raises(UserError, match=r"dataset\.json: is not a Medical Segmentation Decathlon"):
        recognise(root, "flair")


def test_an_index_without_scans_is_named(make_decathlon):
    with pytest.raises(UserError, match=r"dataset\.json: its list 'training' is empty; it needs"):
        recognise(make_decathlon(training=[]), "flair")


def test_fewer_channels_than_the_index_says_are_refused(make_decathlon):
    root = make_decathlon(modality={str(k): name for k, name in enumerate(("FLAIR", "T1w"))})
    with pytest.raises(UserError, match="four dimensions, 2 channels are needed"):
        recognise(root, "flair").subjects[0].load()
