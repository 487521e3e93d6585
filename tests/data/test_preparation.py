"""How processes that prepare the same slices share the work."""

import contextlib
import resource
import threading

import numpy as np
import pytest

from brainsynth_jax.data import preparation
from brainsynth_jax.data.prepared import prepare_slices
from brainsynth_jax.data.slices import SliceOptions
from brainsynth_jax.data.sources import recognise
from brainsynth_jax.errors import UserError

OPTIONS = SliceOptions(image_size=24, min_tumor_area_pixels=5, test_fraction=0.25)


def prepare(root, cache_dir):
    return prepare_slices(recognise(root, OPTIONS.modality), OPTIONS, cache_dir, False)


def prepare_twice_at_once(root, cache_dir):
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(prepare(root, cache_dir))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_two_at_once_prepare_once(make_brats, tmp_path, monkeypatch):
    root = make_brats()
    loaded, load = [], preparation._load_subject

    def count(domain, subject, options):
        loaded.append(subject.name)
        return load(domain, subject, options)

    monkeypatch.setattr(preparation, "_load_subject", count)
    results = prepare_twice_at_once(root, tmp_path / "cache")
    assert sorted(loaded) == ["S1", "S2", "S3", "S4"]
    assert len({dataset.fingerprint for dataset in results}) == 1


def test_processes_share_the_parts_and_leave_them_to_each_other(make_brats, tmp_path, monkeypatch):
    """One is killed after its second part; two others make the rest, and each part is made once."""
    monkeypatch.setattr(preparation, "_FEWEST_IN_A_PART", 2)
    root = make_brats([f"S{k:02d}" for k in range(9)])
    expected = prepare(root, tmp_path / "alone")
    loaded, load = [], preparation._load_subject

    def count(domain, subject, options):
        if len(loaded) == 4:
            loaded.append("")
            raise KeyboardInterrupt
        loaded.append(subject.name)
        return load(domain, subject, options)

    monkeypatch.setattr(preparation, "_load_subject", count)
    with pytest.raises(KeyboardInterrupt):
        prepare(root, tmp_path / "cache")
    (parts,) = (tmp_path / "cache" / "slices").glob("*.parts")
    kept = {path.name for path in parts.iterdir() if path.is_dir()}
    assert kept == {"000", "001"}
    loaded.clear()
    loaded += ["", "", "", "", ""]
    results = prepare_twice_at_once(root, tmp_path / "cache")
    assert sorted(filter(None, loaded)) == ["S04", "S05", "S06", "S07", "S08"]
    assert {dataset.fingerprint for dataset in results} == {expected.fingerprint}
    assert [r["slice_number"] for r in results[0].train_a] == [
        r["slice_number"] for r in expected.train_a
    ]
    assert not parts.exists()


def test_helpers_prepare_the_same(make_brats, tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "_FEWEST_IN_A_PART", 2)
    root = make_brats([f"S{k:02d}" for k in range(9)])
    alone = prepare(root, tmp_path / "alone")
    monkeypatch.setattr(preparation, "_PROCESSES", 3)
    helped = prepare(root, tmp_path / "helped")
    assert helped.fingerprint == alone.fingerprint
    for one, other in zip(helped.train_a, alone.train_a, strict=True):
        np.testing.assert_array_equal(one["image"], other["image"])


@contextlib.contextmanager
def full_disk(file_bytes):
    """No file of this process and of its children grows beyond it, as on a disk without room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_without_room_ends_all_in_a_sentence(make_brats, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(preparation, "_FEWEST_IN_A_PART", 2)
    monkeypatch.setattr(preparation, "_PROCESSES", 3)
    root = make_brats([f"S{k:02d}" for k in range(9)])
    expected = prepare(root, tmp_path / "alone")
    with full_disk(1000), pytest.raises(UserError, match=r"--cache_dir: .*File too large.*room"):
        prepare(root, tmp_path / "cache")
    assert "Traceback" not in capfd.readouterr().err
    assert prepare(root, tmp_path / "cache").fingerprint == expected.fingerprint
