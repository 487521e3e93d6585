import numpy as np
import pytest
from tiny import grow_scan, save_picture

from brainsynth_jax.data import intensity, preparation, prepared
from brainsynth_jax.data.prepared import prepare_empty_slices, prepare_slices
from brainsynth_jax.data.slices import SliceOptions, prepare_scan
from brainsynth_jax.data.sources import recognise
from brainsynth_jax.errors import UserError

OPTIONS = SliceOptions(image_size=24, min_tumor_area_pixels=5, test_fraction=0.25)


def prepare(root, cache_dir, **options):
    options = OPTIONS._replace(**options)
    return prepare_slices(recognise(root, options.modality), options, cache_dir, False)


def finished(cache_dir):
    return {path.name for path in (cache_dir / "slices").iterdir() if _is_finished(path)}


def _is_finished(path):
    return path.is_dir() and path.suffix != ".parts"


@pytest.fixture
def forbid_loading(monkeypatch):
    def switch_on():
        def load(*_):
            raise AssertionError("a source was loaded")

        monkeypatch.setattr(preparation, "_load_subject", load)

    return switch_on


def test_records_come_back_as_they_were_prepared(make_brats, tmp_path):
    root = make_brats()
    dataset = prepare(root, tmp_path / "cache")
    assert dataset.paired
    assert dataset.has_classes
    assert dataset.skipped == ()
    assert dataset.train_b is dataset.train_a
    assert dataset.test_b is dataset.test_a
    assert len(dataset.train_subjects) == 3
    assert sorted(dataset.train_subjects + dataset.test_subjects) == ["S1", "S2", "S3", "S4"]
    stored = [*dataset.train_a, *dataset.test_a]
    subjects = {subject.name: subject for subject in recognise(root, "flair").subjects}
    expected = [
        record
        for name in dataset.train_subjects + dataset.test_subjects
        for record in prepare_scan(name, subjects[name].load(), OPTIONS)
    ]
    assert len(stored) == len(expected) == 12
    for one, other in zip(stored, expected, strict=True):
        assert one.keys() == other.keys()
        assert one.pop("subject") == other.pop("subject")
        for key in one:
            np.testing.assert_allclose(one[key], other[key], rtol=1e-6)


def test_a_record_tells_its_subject_unread(make_brats, tmp_path):
    records = prepare(make_brats(), tmp_path / "cache").train_a
    assert records.subjects.tolist() == [record["subject"] for record in records]
    assert records[-1]["slice_number"] == records[len(records) - 1]["slice_number"]
    with pytest.raises(IndexError):
        records[len(records)]


def test_what_is_prepared_is_opened_again_without_the_sources(make_brats, tmp_path, forbid_loading):
    root = make_brats()
    first = prepare(root, tmp_path / "cache")
    forbid_loading()
    again = prepare(root, tmp_path / "cache")
    assert again.fingerprint == first.fingerprint
    assert again.train_subjects == first.train_subjects
    other_seed = prepare(root, tmp_path / "cache", seed=1)
    other_share = prepare(root, tmp_path / "cache", test_fraction=0.5)
    assert len({first.fingerprint, other_seed.fingerprint, other_share.fingerprint}) == 3
    assert len(other_share.test_subjects) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"image_size": 16},
        {"intensity": "percentiles"},
        {"min_tumor_area_pixels": 6},
        {"slices": (0, 8)},
        {"skip_bad_subjects": True},
    ],
)
def test_a_changed_option_meets_no_old_cache(make_brats, tmp_path, change):
    root = make_brats()
    prepare(root, tmp_path / "cache")
    prepare(root, tmp_path / "cache", **change)
    assert len(finished(tmp_path / "cache")) == 2


@pytest.mark.parametrize("constant", ["MEDIAN_SPAN_STD", "LOW_PERCENT", "HIGH_PERCENT"])
def test_a_changed_constant_meets_no_old_cache(make_brats, tmp_path, monkeypatch, constant):
    root = make_brats(["S1", "S2"])
    prepare(root, tmp_path / "cache")
    monkeypatch.setattr(intensity, constant, getattr(intensity, constant) * 0.9)
    prepare(root, tmp_path / "cache")
    assert len(finished(tmp_path / "cache")) == 2


def test_a_changed_source_meets_no_old_cache(make_brats, tmp_path):
    root = make_brats()
    first = prepare(root, tmp_path / "cache")
    make_brats(["S1"], flair=grow_scan(9)[0] * 2)
    second = prepare(root, tmp_path / "cache")
    assert second.fingerprint != first.fingerprint
    medians = [
        {r["subject"]: r["brain_median"] for r in [*d.train_a, *d.test_a]} for d in (first, second)
    ]
    assert medians[1]["S1"] == pytest.approx(2 * medians[0]["S1"], rel=0.05)
    assert medians[1]["S2"] == medians[0]["S2"]


def test_a_moved_source_keeps_its_cache(make_brats, tmp_path, forbid_loading):
    root = make_brats()
    first = prepare(root, tmp_path / "cache")
    forbid_loading()
    assert prepare(root.rename(tmp_path / "moved"), tmp_path / "cache").fingerprint == (
        first.fingerprint
    )


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, MemoryError])
def test_an_interruption_leaves_nothing_half_made(make_brats, tmp_path, monkeypatch, interruption):
    root = make_brats()

    def interrupt(domain, subject, options):
        if subject.name == "S3":
            raise interruption
        return prepare_scan(subject.name, subject.load(), options)

    with monkeypatch.context() as patched:
        patched.setattr(preparation, "_load_subject", interrupt)
        with pytest.raises(interruption):
            prepare(root, tmp_path / "cache")
    assert finished(tmp_path / "cache") == set()
    assert len(prepare(root, tmp_path / "cache").train_a) == 9


def test_what_a_killed_preparation_left_is_cleared(make_brats, tmp_path):
    root = make_brats()
    source = recognise(root, "flair")
    key = prepared._cache_key(source, OPTIONS)
    leftover = tmp_path / "cache" / "slices" / f"{key}.incomplete" / "records.writing"
    leftover.mkdir(parents=True)
    (leftover / "half").write_bytes(b"x")
    prepare(root, tmp_path / "cache")
    assert finished(tmp_path / "cache") == {key}


def test_nothing_is_left_elsewhere(make_brats, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    prepare(make_brats(), tmp_path / "cache")
    assert not list(elsewhere.iterdir())


def test_scans_of_one_patient_stay_on_one_side(make_brats, tmp_path):
    names = [f"BraTS-GLI-{k:05d}-{t:03d}" for k in range(4) for t in (100, 101)]
    root = make_brats(names)
    for seed in range(5):
        dataset = prepare(root, tmp_path / "cache", seed=seed)
        assert len(dataset.test_subjects) == 2
        assert len({name[:-4] for name in dataset.test_subjects}) == 1


def test_all_that_is_bad_is_listed_at_once(make_brats, tmp_path):
    root = make_brats([f"S{k:02d}" for k in range(15)])
    (root / "S03" / "S03_seg.nii.gz").unlink()
    (root / "S07" / "S07_flair.nii.gz").write_bytes(b"broken")
    with pytest.raises(UserError) as caught:
        prepare(root, tmp_path / "cache")
    message = str(caught.value)
    assert "2 of 15 subjects can't be used:" in message
    assert "S03: no mask" in message
    assert "S07: " in message
    assert "cannot be read as NIfTI" in message
    assert "--skip_bad_subjects" in message
    assert finished(tmp_path / "cache") == set()
    dataset = prepare(root, tmp_path / "cache", skip_bad_subjects=True)
    assert len(dataset.train_subjects + dataset.test_subjects) == 13
    assert [sentence[:4] for sentence in dataset.skipped] == ["S03:", "S07:"]
    assert prepare(root, tmp_path / "cache", skip_bad_subjects=True).skipped == dataset.skipped


def test_a_long_list_is_cut(make_brats, tmp_path):
    root = make_brats([f"S{k:02d}" for k in range(13)], seg=None)
    with pytest.raises(UserError, match=r"13 of 13 subjects(.|\n)*S09(.|\n)*and 3 more"):
        prepare(root, tmp_path / "cache")
    with pytest.raises(UserError, match="none of its 13 subjects can be used; the first"):
        prepare(root, tmp_path / "cache", skip_bad_subjects=True)


def test_too_few_patients_are_refused(make_brats, tmp_path):
    with pytest.raises(UserError, match=r"1 usable patient \(S1\)"):
        prepare(make_brats(["S1"]), tmp_path / "cache")


def test_a_subject_without_tumour_is_left_out_and_told(make_brats, tmp_path):
    root = make_brats()
    make_brats(["S2"], seg=np.zeros_like(grow_scan()[1]))
    dataset = prepare(root, tmp_path / "cache")
    assert len(dataset.train_subjects + dataset.test_subjects) == 3
    assert dataset.skipped == ("S2: no slice with 5 or more pixels of tumour",)


def test_no_slice_with_so_much_tumour(make_brats, tmp_path):
    with pytest.raises(UserError, match="--min_tumor_area_pixels=500: no slice of the 4 usable"):
        prepare(make_brats(), tmp_path / "cache", min_tumor_area_pixels=500)


@pytest.mark.parametrize("slices", [(5, 3), (-1, 4)])
def test_a_range_that_is_none_is_refused(make_brats, tmp_path, slices):
    with pytest.raises(UserError, match=f"--slices={slices[0]}:{slices[1]}: needs a first"):
        prepare(make_brats(), tmp_path / "cache", slices=slices)


def test_a_range_outside_every_scan_is_told(make_brats, tmp_path):
    with pytest.raises(UserError, match="--slices=60:107 lies outside the scan"):
        prepare(make_brats(), tmp_path / "cache", slices=(60, 107))


def test_a_cache_that_is_a_file_is_told(make_brats, tmp_path):
    (tmp_path / "cache").write_text("")
    with pytest.raises(UserError, match=r"--cache_dir: .*cache.* cannot be written"):
        prepare(make_brats(), tmp_path / "cache")


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RuntimeError("No space left on device")]
)
def test_a_full_disk_is_told_and_leaves_nothing(make_brats, tmp_path, monkeypatch, error):
    def fill_up(self):
        raise error

    monkeypatch.setattr(
        "brainsynth_jax.data.tfds_builder.PreparedSlices.download_and_prepare", fill_up
    )
    with pytest.raises(UserError, match=r"--cache_dir: .*cache.* cannot be written .No space left"):
        prepare(make_brats(), tmp_path / "cache")
    assert finished(tmp_path / "cache") == set()


@pytest.mark.parametrize("damage", ["deleted", "truncated", "sizes", "info"])
def test_a_damaged_cache_is_told_on_opening(make_brats, tmp_path, damage):
    root = make_brats()
    prepare(root, tmp_path / "cache")
    (folder,) = (path for path in (tmp_path / "cache" / "slices").iterdir() if path.is_dir())
    (records,) = folder.rglob("*array_record*")
    if damage == "deleted":
        records.unlink()
    elif damage == "truncated":
        records.write_bytes(records.read_bytes()[:-1])
    elif damage == "sizes":
        (folder / "sizes.json").write_text("{")
    else:
        (folder / "records" / "dataset_info.json").unlink()
    with pytest.raises(UserError, match=f"{folder.name}: .* damaged .* delete this folder"):
        prepare(root, tmp_path / "cache")


def test_a_cache_that_names_a_class_of_its_own_runs_no_code(make_brats, tmp_path):
    root = make_brats()
    prepare(root, tmp_path / "cache")
    (path,) = (tmp_path / "cache").rglob("features.json")
    text = path.read_text()
    own = "tensorflow_datasets.core.features.text_feature.Text"
    assert own in text
    path.write_text(text.replace(own, "os".ljust(len(own))))
    with pytest.raises(UserError, match=r"damaged \(features.json names os"):
        prepare(root, tmp_path / "cache")


def test_changed_bytes_are_told_on_reading(make_brats, tmp_path):
    root = make_brats()
    prepare(root, tmp_path / "cache")
    (path,) = (tmp_path / "cache").rglob("*array_record*")
    data = bytearray(path.read_bytes())
    data[200:300] = bytes(100)
    path.write_bytes(data)
    dataset = prepare(root, tmp_path / "cache")
    with pytest.raises(UserError, match=r"damaged .* delete this folder"):
        list(dataset.train_a) + list(dataset.test_a)


def test_cyclegan_folders_have_no_pairs(make_cyclegan, tmp_path):
    root = make_cyclegan()
    dataset = prepare(root, tmp_path / "cache")
    assert not dataset.paired
    sizes = [
        len(part) for part in (dataset.train_a, dataset.train_b, dataset.test_a, dataset.test_b)
    ]
    assert sizes == [3, 2, 2, 1]
    assert dataset.test_subjects == ("testA/0.png", "testA/1.png", "testB/0.png")
    assert not dataset.train_a[0]["tissue"].any()
    assert set(np.unique(dataset.train_b[0]["image"])) == {0, 255}
    assert dataset.train_a[0]["image"].max() > 100


def test_a_domain_without_usable_pictures_is_told(make_cyclegan, tmp_path):
    root = make_cyclegan()
    colours = np.zeros((8, 8, 3), np.uint8)
    colours[..., 0] = 200
    save_picture(root / "testB" / "0.png", colours)
    with pytest.raises(UserError, match=r"testB/0\.png: .* is in colour"):
        prepare(root, tmp_path / "cache")
    with pytest.raises(UserError, match="no usable picture for test_b"):
        prepare(root, tmp_path / "cache", skip_bad_subjects=True)


def test_lgg_and_decathlon_and_image_folders_take_the_same_way(
    make_lgg, make_decathlon, make_image_folders, tmp_path
):
    for root, subjects in ((make_lgg(), 2), (make_decathlon(), 3), (make_image_folders(), 2)):
        dataset = prepare(root, tmp_path / "cache")
        assert len(dataset.train_subjects + dataset.test_subjects) == subjects
        assert (dataset.train_a[0]["tissue"] >= 2).sum() >= 5


def test_progress_in_a_pipe_is_plain_lines(make_brats, tmp_path, capfd):
    prepare_slices(recognise(make_brats(), "flair"), OPTIONS, tmp_path / "cache", True)
    out, err = capfd.readouterr()
    assert err == ""
    assert out.startswith("preparing slices: subject 4/4, ")
    assert out.count("\n") == 1


def test_the_last_patients_can_be_held_out_whatever_the_seed(make_brats, tmp_path):
    root = make_brats()
    parts = [prepare(root, tmp_path / "cache", test_patients=2, seed=seed) for seed in (0, 1)]
    for part in parts:
        assert part.train_subjects == ("S1", "S2")
        assert part.test_subjects == ("S3", "S4")
    assert parts[0].fingerprint == parts[1].fingerprint
    nobody = prepare(root, tmp_path / "cache", test_patients=0)
    assert nobody.test_subjects == ()
    assert len(nobody.test_a) == 0
    assert len(nobody.train_a) == len(parts[0].train_a) + len(parts[0].test_a)
    assert (
        nobody.fingerprint != parts[0].fingerprint != prepare(root, tmp_path / "cache").fingerprint
    )
    assert len(finished(tmp_path / "cache")) == 1, "one preparation serves every division"


def test_slices_without_tumour_leave_the_dataset_as_it_was(make_brats, tmp_path, forbid_loading):
    source = recognise(make_brats(), "flair")
    before = prepare_slices(source, OPTIONS, tmp_path / "cache", False)
    names = before.test_subjects
    empty = prepare_empty_slices(source, names, OPTIONS, 8, tmp_path / "cache", False)
    assert {record["subject"] for record in empty} == set(names)
    assert all((record["tissue"] < 2).all() for record in empty)
    assert [record["slice_number"] for record in empty] == [2, 6]
    forbid_loading()
    again = prepare_empty_slices(source, names, OPTIONS, 8, tmp_path / "cache", False)
    assert again.subjects.tolist() == empty.subjects.tolist()
    after = prepare_slices(source, OPTIONS, tmp_path / "cache", False)
    assert after.fingerprint == before.fingerprint


def test_where_all_slices_show_tumour_there_are_none_without(make_brats, tmp_path):
    source = recognise(make_brats(), "flair")
    options = OPTIONS._replace(slices=(4, 4))
    assert prepare_empty_slices(source, ["S1"], options, 8, tmp_path / "cache", False) is None
    assert finished(tmp_path / "cache") == set()


def test_slices_with_tumour_keep_the_cache_that_they_had(make_brats, monkeypatch):
    source = recognise(make_brats(["S1", "S2"]), "flair")
    monkeypatch.setattr(prepared, "_digest", lambda described: described)
    shaping = prepared._cache_key(source, OPTIONS)[4]
    assert "empty_slices" not in shaping
    of_empty = prepared._cache_key(source, OPTIONS._replace(empty_slices=8))[4]
    assert of_empty == shaping | {"empty_slices": 8}
