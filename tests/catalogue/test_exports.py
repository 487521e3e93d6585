"""What leaves a catalogue is what lies in it, says what it is, and is only what may leave."""

import json
import sys

import nibabel
import numpy as np
import pytest
from export_images import (
    ORIGIN,
    SIZE,
    SPACING_MM,
    fill,
    make_image,
    read_table,
    write,
)
from PIL import Image

from brainsynth_jax.catalogue import exports
from brainsynth_jax.catalogue.exports.formats import FORMATS, choose_format
from brainsynth_jax.catalogue.exports.items import COLUMNS, is_labelled, load_items
from brainsynth_jax.catalogue.exports.pictures import write_pictures
from brainsynth_jax.catalogue.exports.selection import select
from brainsynth_jax.catalogue.filters import EVERYTHING, Filter
from brainsynth_jax.data.masks import OEDEMA, TUMOR, is_tumor
from brainsynth_jax.data.prepared import prepare_slices
from brainsynth_jax.data.slices import SliceOptions
from brainsynth_jax.data.sources import recognise
from brainsynth_jax.errors import UserError

SYNTHETIC = "SYNTHETIC brain MR slices: not for diagnosis"


@pytest.fixture
def catalogue(tmp_path):
    """Five images: 3 has no mask, 4 is a suspected copy, 2 was compared with nothing."""
    catalogue = fill(
        tmp_path,
        [
            make_image(0, copy_verdict="fresh", realism=1.25, tumor_pixels=30),
            make_image(1),
            make_image(2, masked=False, copy_verdict="near"),
            make_image(3, copy_verdict="suspicious"),
            make_image(4, codes=(TUMOR,), copy_verdict="fresh"),
        ],
    )
    catalogue.review(1, "R1", "good", 'says "yes",\tand\nmore')
    yield catalogue
    catalogue.close()


def pixels_of(catalogue, number):
    return catalogue.load(catalogue.get(number))


def as_shown(volume):
    """A canonical volume's slices as a radiologist sees them, independently of the project."""
    image = nibabel.as_closest_canonical(volume)
    return np.asarray(image.dataobj)[::-1, ::-1].T


def test_suspected_copies_stay_unless_they_are_asked_for(catalogue):
    selection = select(catalogue, EVERYTHING, include_suspected_copies=False)
    assert [row.id for row in selection] == [1, 2, 3, 5]
    assert (selection.images, selection.kept_suspected, selection.suspected) == (4, 1, 0)
    assert selection.not_compared == 1
    selection = select(catalogue, EVERYTHING, include_suspected_copies=True)
    assert [row.id for row in selection] == [1, 2, 3, 4, 5]
    assert (selection.images, selection.kept_suspected, selection.suspected) == (5, 0, 1)
    assert [row.id for row in selection] == [1, 2, 3, 4, 5], "counted again, not twice"
    assert selection.images == 5
    only = Filter(verdicts=["suspicious"])
    assert list(select(catalogue, only, include_suspected_copies=False)) == []


def test_slices_of_patients_always_stay(catalogue, tmp_path):
    proposals = ORIGIN._replace(model="cyclegan-ab")
    fill(tmp_path, [make_image(7, copy_verdict="suspicious")], proposals).close()
    for included in (False, True):
        selection = select(catalogue, EVERYTHING, include_suspected_copies=included)
        assert 6 not in [row.id for row in selection]
        assert selection.kept_patients == 1
    said = write(catalogue, tmp_path / "out", "png", suspected=True)
    assert "Kept out: 1 (slices of patients, of which only the mask is synthetic)." in said


def test_pngs_hold_the_pixels_and_a_table_what_is_known(catalogue, tmp_path):
    folder = tmp_path / "out"
    said = write(catalogue, folder, "png")
    assert said[0] == "4 images, 3 with a mask."
    rows = read_table(folder / "images.csv")
    assert [row["id"] for row in rows] == ["1", "2", "3", "5"]
    assert set(rows[0]) == {"image_file", "mask_file", *COLUMNS}
    for row in rows:
        pixels = pixels_of(catalogue, int(row["id"]))
        np.testing.assert_array_equal(Image.open(folder / row["image_file"]), pixels.image)
        if row["mask_file"]:
            np.testing.assert_array_equal(Image.open(folder / row["mask_file"]), pixels.mask)
        else:
            assert pixels.mask is None
    first, second = rows[:2]
    assert first["checkpoint_hash"] == "c" * 64
    assert first["content_hash"] == catalogue.get(1).content_hash
    assert first["made_at"].endswith("+00:00")
    assert json.loads(first["spacing_mm"]) == SPACING_MM
    assert (first["realism"], first["copy_verdict"], first["labelled"]) == (
        "1.25",
        "fresh",
        "False",
    )
    assert json.loads(first["reviews"]) == ["good"], "whose it is, and the note, stay"
    assert "not for diagnosis" in first["use"]
    assert (second["realism"], second["copy_verdict"], second["reviews"]) == ("", "", "[]")


def test_images_are_written_one_after_the_other(catalogue, tmp_path):
    def watched():
        for item in load_items(catalogue, select(catalogue, EVERYTHING), 0.0):
            written.append(len(list(tmp_path.glob("out/images/*.png"))))
            yield item

    written = []
    (tmp_path / "out").mkdir()
    write_pictures(tmp_path / "out", watched())
    assert written == [0, 1, 2, 3]


def test_arrays_hold_the_pixels_in_the_order_of_the_table(catalogue, tmp_path):
    write(catalogue, tmp_path / "out", "numpy")
    arrays = np.load(tmp_path / "out/images.npz")
    rows = read_table(tmp_path / "out/images.csv")
    assert arrays["ids"].tolist() == [int(row["id"]) for row in rows] == [1, 2, 3, 5]
    assert arrays["has_mask"].tolist() == [True, True, False, True]
    assert arrays["images"].dtype == arrays["masks"].dtype == np.uint8
    for place, number in enumerate(arrays["ids"]):
        pixels = pixels_of(catalogue, int(number))
        np.testing.assert_array_equal(arrays["images"][place], pixels.image)
        mask = np.zeros_like(pixels.image) if pixels.mask is None else pixels.mask
        np.testing.assert_array_equal(arrays["masks"][place], mask)


@pytest.mark.parametrize(
    ("name", "stacked", "other", "words"),
    [
        ("numpy", False, {"size": 16}, "--format=numpy: images of one size .*32 x 32 .*16 x 16"),
        ("nifti", True, {"size": 16}, "--stacked: images of one size"),
        ("nifti", True, {"modality": "t1"}, "one modality .* has flair, image 6 t1"),
        ("nifti", True, {"spacing_mm": [1, 1, 1]}, r"one spacing .*\[1, 1, 1\]"),
    ],
)
def test_images_that_do_not_fit_in_one_array_are_told(
    catalogue, tmp_path, name, stacked, other, words
):
    origin = ORIGIN._replace(
        options={"flags": {"modality": other.get("modality", "flair")}},
        spacing_mm=other.get("spacing_mm", SPACING_MM),
    )
    fill(tmp_path, [make_image(9, size=other.get("size", SIZE))], origin).close()
    with pytest.raises(UserError, match=words):
        write(catalogue, tmp_path / "out", name, stacked=stacked)
    assert not list(tmp_path.glob("out*"))


def test_nifti_lies_in_bids_folders_and_shows_the_same(catalogue, tmp_path):
    folder = tmp_path / "out"
    write(catalogue, folder, "nifti")
    described = json.loads((folder / "dataset_description.json").read_text())
    assert described["Name"].startswith("SYNTHETIC")
    assert (described["BIDSVersion"], described["DatasetType"]) == ("1.10.0", "raw")
    rows = read_table(folder / "participants.tsv", "\t")
    assert [row["participant_id"] for row in rows] == [f"sub-00000{n}" for n in (1, 2, 3, 5)]
    assert rows[1]["realism"] == "n/a"
    assert json.loads(rows[0]["reviews"]) == ["good"]
    assert set(json.loads((folder / "participants.json").read_text())) == set(COLUMNS)
    masks = folder / "derivatives/masks"
    derived = json.loads((masks / "dataset_description.json").read_text())
    assert derived["DatasetType"] == "derivative"
    assert derived["GeneratedBy"][0]["Name"] == "brainsynth_jax"
    codes = [int(row["index"]) for row in read_table(masks / "dseg.tsv", "\t")]
    assert codes == list(range(6))
    for row in rows:
        subject, pixels = row["participant_id"], pixels_of(catalogue, int(row["id"]))
        stem = f"{subject}/anat/{subject}"
        image = nibabel.load(folder / f"{stem}_FLAIR.nii.gz")
        assert image.shape == (SIZE, SIZE, 1)
        np.testing.assert_array_equal(as_shown(image)[0], pixels.image)
        assert nibabel.aff2axcodes(image.affine) == ("R", "A", "S")
        np.testing.assert_allclose(image.header.get_zooms(), [2.0, 1.5, 5.0])
        middle = image.affine @ [*(np.array(image.shape) - 1) / 2, 1]
        np.testing.assert_allclose(middle, [0, 0, 0, 1])
        sidecar = json.loads((folder / f"{stem}_FLAIR.json").read_text())
        assert sidecar["Synthetic"] is True
        assert "not for diagnosis" in sidecar["Use"]
        assert sidecar["checkpoint_hash"] == "c" * 64
        if pixels.mask is None:
            assert not (masks / subject).exists()
            continue
        mask = nibabel.load(masks / f"{stem}_dseg.nii.gz")
        np.testing.assert_array_equal(as_shown(mask)[0], pixels.mask)
        np.testing.assert_array_equal(mask.affine, image.affine)
        about = json.loads((masks / f"{stem}_dseg.json").read_text())
        (source,) = about["Sources"]
        assert (folder / source.removeprefix("bids:raw:")).is_file()
        assert (masks / derived["DatasetLinks"]["raw"]).resolve() == folder.resolve()


@pytest.mark.parametrize(
    ("modality", "image", "mask"),
    [
        ("t1", "T1w", "dseg"),
        ("t2", "T2w", "dseg"),
        ("t1ce", "ce-gadolinium_T1w", "ce-gadolinium_dseg"),
    ],
)
def test_the_modality_is_in_the_name(tmp_path, modality, image, mask):
    origin = ORIGIN._replace(
        options={"flags": {"modality": modality}}, spacing_mm=[None, None, None]
    )
    catalogue = fill(tmp_path, [make_image(0)], origin)
    write(catalogue, tmp_path / "out", "nifti")
    names = {path.name for path in tmp_path.glob("out/**/*.nii.gz")}
    assert names == {f"sub-000001_{image}.nii.gz", f"sub-000001_{mask}.nii.gz"}
    (path,) = tmp_path.glob("out/sub-*/anat/*.nii.gz")
    np.testing.assert_allclose(nibabel.load(path).header.get_zooms(), 1.0)
    write(catalogue, tmp_path / "brats", "brats")
    assert (tmp_path / f"brats/SYN-000001/SYN-000001_{modality}.nii.gz").is_file()


def test_a_stack_is_one_volume_of_all(catalogue, tmp_path):
    folder = tmp_path / "out"
    write(catalogue, folder, "nifti", stacked=True)
    image = nibabel.load(folder / "sub-synthetic/anat/sub-synthetic_FLAIR.nii.gz")
    path = "derivatives/masks/sub-synthetic/anat/sub-synthetic_dseg.nii.gz"
    mask = nibabel.load(folder / path)
    assert image.shape == mask.shape == (SIZE, SIZE, 4)
    sidecar = json.loads((folder / "sub-synthetic/anat/sub-synthetic_FLAIR.json").read_text())
    assert [each["id"] for each in sidecar["Slices"]] == [1, 2, 3, 5]
    for place, each in enumerate(sidecar["Slices"]):
        pixels = pixels_of(catalogue, each["id"])
        np.testing.assert_array_equal(as_shown(image)[place], pixels.image)
        expected = 0 if pixels.mask is None else pixels.mask
        np.testing.assert_array_equal(as_shown(mask)[place], expected + np.zeros_like(pixels.image))
    (row,) = read_table(folder / "participants.tsv", "\t")
    assert row == {"participant_id": "sub-synthetic", "images": "4"}
    for name in set(FORMATS) - {"nifti"}:
        with pytest.raises(UserError, match=f"--stacked: --format={name} has no volumes"):
            choose_format(name, stacked=True)


def test_the_projects_own_reader_takes_a_brats_folder_and_finds_the_same_tumours(
    catalogue, tmp_path
):
    folder = tmp_path / "out"
    said = write(catalogue, folder, "brats")
    assert said[0] == "3 images, 3 with a mask."
    assert "Kept out: 1 (without a mask, which this format needs)." in said
    assert any("four modalities" in sentence for sentence in said)
    source = recognise(folder, "flair")
    assert source.kind == "brats"
    assert not source.problems
    numbers = {"SYN-000001": 1, "SYN-000002": 2, "SYN-000005": 5}
    assert {subject.patient for subject in source.subjects} == set(numbers)
    for subject in source.subjects:
        pixels, scan = pixels_of(catalogue, numbers[subject.name]), subject.load()
        tumor = np.where(is_tumor(pixels.mask), pixels.mask, 0)
        np.testing.assert_array_equal(scan.image[0], pixels.image)
        np.testing.assert_array_equal(scan.labels[0], np.where(tumor == TUMOR, OEDEMA, tumor))
        np.testing.assert_allclose(scan.spacing_mm, SPACING_MM)
    labels = nibabel.load(folder / "SYN-000001/SYN-000001_seg.nii.gz")
    assert np.unique(labels.dataobj).tolist() == [0, 1, 2, 4]


def test_prepared_slices_of_a_brats_folder_have_the_tumours_pixel_by_pixel(tmp_path):
    square = ORIGIN._replace(spacing_mm=[5.0, 1.5, 1.5])
    catalogue = fill(tmp_path, [make_image(number) for number in range(3)], square)
    write(catalogue, tmp_path / "out", "brats")
    options = SliceOptions(image_size=SIZE, min_tumor_area_pixels=1, test_fraction=0.34)
    source = recognise(tmp_path / "out", "flair")
    dataset = prepare_slices(source, options, tmp_path / "cache", show_progress=False)
    records = [*dataset.train_a, *dataset.test_a]
    assert len(records) == 3
    for record in records:
        mask = pixels_of(catalogue, int(record["subject"].removeprefix("SYN-"))).mask
        np.testing.assert_array_equal(record["tissue"][..., 0], mask)


@pytest.mark.parametrize("name", FORMATS)
def test_every_folder_says_what_it_holds_and_names_no_one(catalogue, tmp_path, name):
    if name == "dicom":
        pytest.importorskip("highdicom")
    folder = tmp_path / "out"
    write(catalogue, folder, name, wanted=Filter(model="cyclegan-ba"))
    readme = (folder / "README.md").read_text()
    for words in (
        SYNTHETIC,
        f"{3 if name == 'brats' else 4} images, 3 with a mask",
        "Kept out: 1 (suspected copies",
        "Without a verdict on copies, by --skip_scores or for too few held-out subjects: 1.",
        "* model: cyclegan-ba",
        "run cyclegan-001, step 10, weights " + "c" * 64,
        "`realism`",
    ):
        assert words in readme
    for path in (path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        assert b"/home/doe" not in content, "the folder of the scans"
        assert b"a" * 64 not in content, "a subject"


def test_nothing_is_overwritten_and_nothing_half_written_stays(catalogue, tmp_path):
    folder = tmp_path / "out"
    write(catalogue, folder, "png")
    before = sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*"))
    with pytest.raises(UserError, match="holds something already, and nothing is overwritten"):
        write(catalogue, folder, "png")
    assert sorted((path, path.stat().st_mtime_ns) for path in folder.rglob("*")) == before
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="nothing is overwritten"):
        write(catalogue, tmp_path / "file", "png")

    first, second, *_ = sorted((tmp_path / "images").rglob("??????.png"))
    second.write_bytes(first.read_bytes())
    for name in ("png", "nifti", "brats"):
        with pytest.raises(UserError, match=r"Image 2 .*altered"):
            write(catalogue, tmp_path / "new", name)
    second.unlink()
    with pytest.raises(UserError, match="this image is missing"):
        write(catalogue, tmp_path / "new", "numpy")
    assert not list(tmp_path.glob("new*"))
    (tmp_path / "empty").mkdir()
    write(catalogue, tmp_path / "empty", "png", wanted=Filter(numbers=[(1, 1)]))
    assert (tmp_path / "empty/images/000001.png").is_file()


@pytest.mark.parametrize(
    ("name", "number", "words"),
    [
        ("png", 4, "Kept out: 1 .suspected copies .*--include_suspected_copies"),
        ("brats", 3, "Kept out: 1 .without a mask"),
        ("png", 99, "Kept out: none"),
    ],
)
def test_where_no_image_may_leave_the_reason_is_told(catalogue, tmp_path, name, number, words):
    with pytest.raises(UserError, match=f"No image of those asked for.*{words}"):
        write(catalogue, tmp_path / "out", name, wanted=Filter(numbers=[(number, number)]))
    assert not list(tmp_path.glob("out*"))


def test_what_was_asked_for_is_told_in_words(catalogue, tmp_path):
    wanted = Filter(numbers=[(1, 1), (2, 4)], verdicts=["fresh", None], least_realism=0.5)
    write(catalogue, tmp_path / "out", "png", wanted=wanted)
    readme = (tmp_path / "out/README.md").read_text()
    for words in ("numbers: 1 to 1, 2 to 4", "verdicts: fresh, not compared", "realism: 0.5"):
        assert words in readme


def test_suspected_copies_that_were_asked_for_are_told(catalogue, tmp_path):
    said = write(catalogue, tmp_path / "out", "png", suspected=True)
    assert any("Suspected copies" in each and "asked for: 1" in each for each in said)
    assert "Kept out: none." in said


def test_a_share_is_labelled_by_number_alone():
    for share in (0.0, 0.1, 0.5, 1.0):
        labelled = [is_labelled(number, share) for number in range(1, 1001)]
        assert abs(sum(labelled) - 1000 * share) <= 2
    for start in (1, 77, 500):  # spread evenly
        assert 8 <= sum(is_labelled(number, 0.1) for number in range(start, start + 100)) <= 12
    small = {number for number in range(1000) if is_labelled(number, 0.1)}
    assert small < {number for number in range(1000) if is_labelled(number, 0.2)}


def test_labels_are_in_the_pixels_and_told(tmp_path):
    catalogue = fill(tmp_path, [make_image(number, size=64) for number in range(10)])
    said = write(catalogue, tmp_path / "out", "png", share=0.3)
    rows = read_table(tmp_path / "out/images.csv")
    labelled = [row["labelled"] == "True" for row in rows]
    assert labelled == [is_labelled(number, 0.3) for number in range(1, 11)]
    assert f"With the word SYNTHETIC in the pixels: {sum(labelled)}." in said
    for row, has_label in zip(rows, labelled, strict=True):
        kept = pixels_of(catalogue, int(row["id"])).image
        left = np.asarray(Image.open(tmp_path / "out" / row["image_file"]))
        np.testing.assert_array_equal(left[:50], kept[:50])
        if has_label:
            strip = left[53:, 3:-3]
            assert np.mean(strip == 0) > 0.5, "a black ground"
            assert np.mean(strip > 200) > 0.1, "white letters"
        else:
            np.testing.assert_array_equal(left, kept)


@pytest.mark.parametrize("size", [64, 128, 256])
def test_labels_grow_with_the_image(tmp_path, size):
    catalogue = fill(tmp_path, [make_image(0, size=size)])
    write(catalogue, tmp_path / "out", "numpy", share=1.0)
    arrays = np.load(tmp_path / "out/images.npz")
    assert arrays["labelled"].tolist() == [True]
    rows, columns = np.nonzero(arrays["images"][0] != pixels_of(catalogue, 1).image)
    assert rows.min() > 0.8 * size
    assert columns.max() - columns.min() > 0.4 * size


def test_an_image_without_room_for_the_label_is_told(catalogue, tmp_path):
    with pytest.raises(UserError, match=r"--label_share: image 1 .*32 x 32 .*'SYNTHETIC'"):
        write(catalogue, tmp_path / "out", "png", share=1.0)
    assert not list(tmp_path.glob("out*"))


def test_where_the_dicom_library_is_missing_the_way_to_it_is_told(monkeypatch):
    monkeypatch.delitem(sys.modules, f"{exports.__name__}.dicom", raising=False)
    monkeypatch.delattr(exports, "dicom", raising=False)
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(UserError, match=r"highdicom, which .*pip install -e '\.\[dicom\]'"):
        choose_format("dicom")
