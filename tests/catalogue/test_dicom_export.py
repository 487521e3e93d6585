"""DICOM files are what the standard wants, tell nothing of anybody, and an archive takes them."""

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import nibabel
import numpy as np
import pytest
from export_images import ORIGIN, SIZE, SPACING_MM, fill, make_image, read_table, write

from brainsynth_jax.data.masks import BRAIN, CORE, ENHANCING, OEDEMA, TUMOR, is_tumor

highdicom = pytest.importorskip("highdicom", reason="highdicom is not installed")
pydicom = pytest.importorskip("pydicom", reason="pydicom is not installed")

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
CODES = {
    "Oedema": (OEDEMA, "79654002"),
    "Necrotic and non-enhancing tumour core": (CORE, "6574001"),
    "Enhancing tumour": (ENHANCING, "372087000"),
    "Tumour of unknown class": (TUMOR, "108369006"),
}


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    """1 has three classes of tumour, 2 no mask, 3 a mask without tumour, 4 one unknown class."""
    folder = tmp_path_factory.mktemp("catalogue")
    images = [
        make_image(0, size=64),
        make_image(1, masked=False, size=64),
        make_image(2, codes=(BRAIN,), size=64),
        make_image(3, codes=(TUMOR,), size=64),
    ]
    catalogue = fill(folder, images)
    yield catalogue
    catalogue.close()


@pytest.fixture(scope="module")
def exported(catalogue, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "out"
    write(catalogue, folder, "dicom")
    return folder


def read(folder, number, name="image"):
    return pydicom.dcmread(folder / f"SYN-{number:06d}" / f"{name}.dcm")


def validate(path):
    """What David Clunie's validator says, a line each."""
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("dciodvfy is not installed (Debian: dicom3tools)")
    finished = subprocess.run([program, path], capture_output=True, text=True)
    return (finished.stdout + finished.stderr).splitlines()


def masked(pixels):
    return np.where(is_tumor(pixels.mask), pixels.mask, 0)


def as_mask(segmentation):
    """The mask that a segmentation holds, by highdicom's reader."""
    (source,) = segmentation.get_source_image_uids()
    segments = segmentation.get_pixels_by_source_instance([source[2]])[0]
    labels = [s.SegmentLabel for s in segmentation.SegmentSequence]
    mask = np.zeros(segments.shape[:2], np.uint8)
    for place, label in enumerate(labels):
        mask[segments[..., place] > 0] = CODES[label][0]
    return mask


def test_images_have_the_catalogues_pixels_and_what_they_are(catalogue, exported):
    rows = read_table(exported / "images.csv")
    assert [row["patient_id"] for row in rows] == [
        f"SYN-{row['content_hash'][:16]}" for row in rows
    ]
    for number, row in enumerate(rows, start=1):
        image = read(exported, number)
        np.testing.assert_array_equal(
            image.pixel_array, catalogue.load(catalogue.get(number)).image
        )
        assert (image.SOPInstanceUID, image.StudyInstanceUID) == (
            row["image_uid"],
            row["study_uid"],
        )
        assert list(image.ImageType) == ["DERIVED", "SECONDARY", "OTHER"]
        assert image.ContentQualification == "RESEARCH"
        assert image.SeriesDescription == "SYNTHETIC FLAIR"
        assert image.BurnedInAnnotation == "NO"
        for words in ("Synthetic", "CycleGAN", "0.1.0+16dcb76", "c" * 64, f"image {number - 1})"):
            assert words in image.DerivationDescription


def test_the_patient_does_not_exist(exported):
    for path in exported.rglob("*.dcm"):
        dataset, number = pydicom.dcmread(path), path.parent.name.removeprefix("SYN-")
        assert dataset.PatientName == f"SYNTHETIC^{number}"
        assert dataset.PatientID.startswith("SYN-")
        assert dataset.TimezoneOffsetFromUTC == "+0000"
        assert dataset.ContentTime == dataset.StudyTime
        assert "SYNTHETIC" in dataset.SeriesDescription
        assert dataset.PatientIdentityRemoved == "YES"
        for name in ("PatientBirthDate", "PatientSex", "AccessionNumber", "ReferringPhysicianName"):
            assert not dataset[name].value
        tags = dir(dataset)
        assert not [t for t in tags if t.startswith(("Institution", "Operator", "PatientAge"))]


def test_masks_are_segmentations_with_a_segment_for_each_class(catalogue, exported):
    classes = {1: [OEDEMA, CORE, ENHANCING], 4: [TUMOR]}
    assert {path.parent.name for path in exported.rglob("segmentation.dcm")} == {
        f"SYN-{number:06d}" for number in classes
    }
    for number, codes in classes.items():
        image = read(exported, number)
        path = exported / f"SYN-{number:06d}" / "segmentation.dcm"
        segmentation = highdicom.seg.segread(path)
        mask = masked(catalogue.load(catalogue.get(number)))
        np.testing.assert_array_equal(as_mask(segmentation), mask)
        assert segmentation.SegmentationType == "BINARY"
        assert segmentation.StudyInstanceUID == image.StudyInstanceUID
        assert segmentation.FrameOfReferenceUID == image.FrameOfReferenceUID
        assert segmentation.SeriesInstanceUID != image.SeriesInstanceUID
        assert len(segmentation.SegmentSequence) == len(codes)
        for segment, code in zip(segmentation.SegmentSequence, codes, strict=True):
            expected_code, concept = CODES[segment.SegmentLabel]
            assert expected_code == code
            (kind,) = segment.SegmentedPropertyTypeCodeSequence
            assert (kind.CodeValue, kind.CodingSchemeDesignator) == (concept, "SCT")
            assert segment.SegmentAlgorithmType == "AUTOMATIC"
            (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
            assert algorithm.AlgorithmName == "brainsynth_jax cyclegan-ba"
            assert algorithm.AlgorithmVersion == "0.1.0+16dcb76"


def test_a_segmentation_read_without_its_library_has_the_same_pixels(catalogue, exported):
    """Frame by frame, by pydicom alone."""
    segmentation = read(exported, 1, "segmentation")
    mask = masked(catalogue.load(catalogue.get(1)))
    for frame, groups in zip(
        segmentation.pixel_array, segmentation.PerFrameFunctionalGroupsSequence, strict=True
    ):
        number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        label = segmentation.SegmentSequence[number - 1].SegmentLabel
        np.testing.assert_array_equal(frame, mask == CODES[label][0])


def test_pixels_lie_where_nifti_has_them(catalogue, exported, tmp_path):
    """Row 0 is anterior, column 0 the patient's right; DICOM's x and y point the other way."""
    write(catalogue, tmp_path / "out", "nifti")
    volume = nibabel.load(tmp_path / "out/sub-000001/anat/sub-000001_FLAIR.nii.gz")
    voxels = np.asarray(volume.dataobj)
    image = read(exported, 1)
    along_row, along_column = np.reshape(image.ImageOrientationPatient, (2, 3)).astype(float)
    np.testing.assert_allclose(image.PixelSpacing, SPACING_MM[1:])
    assert image.SliceThickness == SPACING_MM[0]
    for row, column in [(0, 0), (5, 60), (63, 10), (30, 33)]:
        place = (
            np.array(image.ImagePositionPatient, float)
            + along_row * image.PixelSpacing[1] * column
            + along_column * image.PixelSpacing[0] * row
        )
        if (row, column) == (0, 0):
            assert place[0] < 0, "the patient's right"
            assert place[1] < 0, "anterior"
        ras = [-place[0], -place[1], place[2], 1]
        x, y, z = np.round(np.linalg.inv(volume.affine) @ ras)[:3].astype(int)
        assert voxels[x, y, z] == image.pixel_array[row, column]


def test_identifiers_are_new_in_each_export(catalogue, exported, tmp_path):
    write(catalogue, tmp_path / "out", "dicom")
    names = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")
    seen = []
    for folder in (exported, tmp_path / "out"):
        seen += [read(folder, number)[name].value for number in range(1, 5) for name in names]
        for number in (1, 4):
            segmentation = read(folder, number, "segmentation")
            seen += [segmentation[name].value for name in names[:2]]
    assert len(set(seen)) == len(seen)
    assert all(uid.startswith("1.2.826.0.1.3680043.8.498.") for uid in seen)


def test_a_label_is_told_in_the_header(catalogue, tmp_path):
    write(catalogue, tmp_path / "out", "dicom", share=1.0)
    image = read(tmp_path / "out", 1)
    assert image.BurnedInAnnotation == "YES"
    assert (image.pixel_array != catalogue.load(catalogue.get(1)).image).any()
    assert {row["labelled"] for row in read_table(tmp_path / "out/images.csv")} == {"True"}


def test_an_independent_validator_finds_no_fault(exported, tmp_path):
    paths = sorted(exported.rglob("*.dcm"))
    assert len(paths) == 6
    for path in paths:
        lines = validate(path)
        assert lines in (["MRImage"], ["Segmentation"]), path
    broken = read(exported, 1)
    del broken.PixelSpacing
    broken.save_as(tmp_path / "broken.dcm")
    assert any(line.startswith("Error") for line in validate(tmp_path / "broken.dcm"))


@pytest.mark.parametrize(
    ("modality", "spacing_mm", "version"),
    [
        ("t1ce", [None, None, None], "0.1.0"),
        ("t2", [1 / 3, 0.123456789012345, 0.9999999999999], "0.1.0+" + "x" * 80),
    ],
)
def test_odd_numbers_and_long_texts_are_valid_too(tmp_path, modality, spacing_mm, version):
    origin = ORIGIN._replace(
        options={"flags": {"modality": modality}}, spacing_mm=spacing_mm, code_version=version
    )
    catalogue = fill(tmp_path, [make_image(0, size=SIZE)], origin)
    write(catalogue, tmp_path / "out", "dicom")
    expected = [1.0 if mm is None else mm for mm in spacing_mm]
    np.testing.assert_allclose(read(tmp_path / "out", 1).PixelSpacing, expected[1:])
    for path in (tmp_path / "out").rglob("*.dcm"):
        assert len(validate(path)) == 1, path


def test_dcmdump_reads_them(exported):
    if shutil.which("dcmdump") is None:
        pytest.skip("dcmdump is not installed (Debian: dcmtk)")
    for path in exported.rglob("*.dcm"):
        finished = subprocess.run(["dcmdump", path], capture_output=True, text=True)
        assert finished.returncode == 0
        assert finished.stderr == ""
        assert f"[SYNTHETIC^{path.parent.name.removeprefix('SYN-')}]" in finished.stdout


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def ask(url, path):
    with urllib.request.urlopen(url + path, timeout=10) as answer:
        return answer.read()


@pytest.fixture
def archive(tmp_path):
    """An Orthanc of its own: its port for DICOM and its URL."""
    debian = Path("/usr/sbin/Orthanc")  # a folder that a user's PATH lacks
    program = shutil.which("Orthanc") or (str(debian) if debian.is_file() else None)
    if program is None:
        pytest.skip("Orthanc is not installed (Debian: orthanc)")
    http, dicom = free_port(), free_port()
    settings = {
        "StorageDirectory": str(tmp_path / "storage"),
        "IndexDirectory": str(tmp_path / "storage"),
        "HttpPort": http,
        "DicomPort": dicom,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [],
    }
    (tmp_path / "orthanc.json").write_text(json.dumps(settings))
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [program, tmp_path / "orthanc.json"], cwd=tmp_path, stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{http}"
    try:
        for _ in range(300):
            try:
                ask(url, "/system")
                break
            except OSError:
                assert process.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.1)
        yield dicom, url
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def test_an_archive_takes_them_and_gives_them_back(catalogue, exported, archive, tmp_path):
    pynetdicom = pytest.importorskip("pynetdicom", reason="pynetdicom is not installed")
    port, url = archive
    sender = pynetdicom.AE()
    datasets = [pydicom.dcmread(path) for path in sorted(exported.rglob("*.dcm"))]
    for kind in {dataset.SOPClassUID for dataset in datasets}:
        sender.add_requested_context(kind, pydicom.uid.ExplicitVRLittleEndian)
    association = sender.associate("127.0.0.1", port)
    assert association.is_established
    try:
        for dataset in datasets:
            assert association.send_c_store(dataset).Status == 0
    finally:
        association.release()

    sent = {dataset.SOPInstanceUID: dataset for dataset in datasets}
    stored = json.loads(ask(url, "/instances"))
    assert len(stored) == len(sent) == 6
    assert len(json.loads(ask(url, "/patients"))) == 4
    for place, identifier in enumerate(stored):
        path = tmp_path / f"{place}.dcm"
        path.write_bytes(ask(url, f"/instances/{identifier}/file"))
        back = pydicom.dcmread(path)
        before = sent.pop(back.SOPInstanceUID)
        assert back.SOPClassUID == before.SOPClassUID
        np.testing.assert_array_equal(back.pixel_array, before.pixel_array)
        pixels = catalogue.load(catalogue.get(int(str(back.PatientName).split("^")[1])))
        if back.SOPClassUID == SEGMENTATION:
            np.testing.assert_array_equal(as_mask(highdicom.seg.segread(path)), masked(pixels))
        else:
            np.testing.assert_array_equal(back.pixel_array, pixels.image)
    assert not sent
