"""The phantom, mostly at 4 mm, where a patient takes less than half a second."""

import threading

import nibabel
import numpy as np
import pytest
from scipy import ndimage

from brainsynth_jax.data import phantom
from brainsynth_jax.data.nifti import load_volume
from brainsynth_jax.data.phantom_anatomy import draw_warp, survey_head
from brainsynth_jax.data.phantom_glioma import _magnify, _pool, _wave_arrival
from brainsynth_jax.data.random_fields import smooth_noise
from brainsynth_jax.errors import UserError

SPACING_MM = 4.0
SUBJECTS = 12


@pytest.fixture(scope="module")
def maps():
    return phantom.load_tissue_maps()


@pytest.fixture(scope="module")
def patients(maps):
    return [phantom.grow_subject(maps, 0, k, SPACING_MM) for k in range(SUBJECTS)]


@pytest.fixture
def quick(maps, monkeypatch):
    monkeypatch.setattr(phantom, "load_tissue_maps", lambda: maps)


def write(cache_dir, **options):
    defaults = {"subjects": 2, "spacing_mm": SPACING_MM, "show_progress": False}
    return phantom.write_phantom(cache_dir, **(defaults | options))


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def brain_z(patient):
    flair = patient.flair.astype(np.float32)
    brain = flair > 0
    return np.where(brain, (flair - np.median(flair[brain])) / flair[brain].std(), 0)


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


# ---------------------------------------------------------------- what a patient is


def test_full_size_has_the_geometry_and_size_of_brats(maps):
    patient = phantom.grow_subject(maps, 0, 0)
    assert patient.flair.shape == patient.labels.shape == (240, 240, 155)
    assert (patient.flair.dtype, patient.labels.dtype) == (np.int16, np.uint8)
    brain = patient.flair > 0
    assert 1.0e6 < brain.sum() < 1.9e6
    assert (patient.flair[~brain] == 0).all()
    assert not brain[:20].any()
    assert not brain[-20:].any()
    assert 20e3 < (patient.labels > 0).sum() < 260e3


def test_axes_point_left_back_and_up(maps):
    # In the lowest quarter the cerebellum fills the back, and only temporal poles the front.
    brain = phantom.grow_subject(maps, 0, 0, 2.0).flair > 0
    low = brain[:, :, : brain.shape[2] // 4].sum((0, 2))
    assert low[low.size // 2 :].sum() > 1.5 * low[: low.size // 2].sum()


def test_labels_lie_in_the_brain_and_use_the_codes_of_brats(patients):
    for patient in patients:
        assert set(np.unique(patient.labels)) <= {0, 1, 2, 4}
        assert (patient.labels == phantom.OEDEMA).any()
        assert (patient.flair[patient.labels > 0] > 0).all()
    found = {code for patient in patients for code in np.unique(patient.labels)}
    assert found == {0, 1, 2, 4}


def test_a_patient_is_a_pure_function_of_seed_and_index(maps, patients):
    again = phantom.grow_subject(maps, 0, 3, SPACING_MM)
    np.testing.assert_array_equal(again.flair, patients[3].flair)
    np.testing.assert_array_equal(again.labels, patients[3].labels)
    other = phantom.grow_subject(maps, 1, 3, SPACING_MM)
    assert (other.flair != patients[3].flair).mean() > 0.1


def test_a_patient_is_the_same_person_at_any_voxel_size(maps, patients):
    fine = phantom.grow_subject(maps, 0, 5, 2.0)
    coarse = patients[5]
    assert dice(fine.flair[::2, ::2, ::2] > 0, coarse.flair > 0) > 0.95
    assert dice(fine.labels[::2, ::2, ::2] > 0, coarse.labels > 0) > 0.5
    litres = [(p.flair > 0).sum() * mm**3 / 1e6 for p, mm in ((fine, 2), (coarse, 4))]
    assert litres[0] == pytest.approx(litres[1], rel=0.05)


def test_patients_vary(patients):
    tumours = [patient.labels > 0 for patient in patients]
    volumes = np.array([t.sum() for t in tumours]) * SPACING_MM**3 / 1000
    assert volumes.max() > 2 * volumes.min()
    centres = np.array([np.argwhere(t).mean(0) for t in tumours]) * SPACING_MM
    gaps = np.linalg.norm(centres[:, None] - centres, axis=-1)
    assert np.median(gaps) > 30
    left = (centres[:, 0] > 119).mean()
    assert 0 < left < 1
    brains = np.array([(p.flair > 0).sum() for p in patients])
    assert brains.std() / brains.mean() > 0.03
    units = np.array([np.median(p.flair[p.flair > 0]) for p in patients])
    assert units.max() > 1.5 * units.min()
    contrast = [np.subtract(*np.percentile(brain_z(p)[p.flair > 0], [90, 50])) for p in patients]
    assert np.ptp(contrast) > 0.2


# ---------------------------------------------------------------- what makes it hard


def test_one_threshold_finds_the_tumour_but_does_not_solve_it(patients):
    # The best smoothed FLAIR threshold reaches a Dice of 0.62 on 15 subjects of BraTS 2021.
    pairs = [(ndimage.gaussian_filter(brain_z(p), (0.5, 0.5, 0)), p) for p in patients]
    scores = [
        np.mean([dice((z > t) & (p.flair > 0), p.labels > 0) for z, p in pairs])
        for t in np.arange(0.2, 3, 0.1)
    ]
    assert 0.4 < max(scores) < 0.78


def test_bright_things_lie_outside_the_tumour(patients):
    def bright_elsewhere(patient):
        near_tumour = ndimage.binary_dilation(patient.labels > 0, iterations=2)
        oedema = patient.flair[patient.labels == phantom.OEDEMA]
        return ((patient.flair > np.percentile(oedema, 25)) & ~near_tumour).sum()

    cm3 = np.array([bright_elsewhere(p) for p in patients]) * SPACING_MM**3 / 1000
    assert (cm3 > 1).mean() > 0.5
    assert cm3.max() > 20


def test_some_cores_are_dark_and_some_are_bright(patients):
    cores = [
        np.median(brain_z(p)[p.labels == phantom.CORE])
        for p in patients
        if (p.labels == phantom.CORE).sum() >= 10
    ]
    assert min(cores) < 0
    assert max(cores) > 0.8


def test_the_wave_runs_in_white_matter_and_stops_at_fluid():
    diffusion = np.full((9, 41, 9), 0.008)
    diffusion[4, :, 4] = 0.16
    diffusion[:, 30] = 0
    arrival = _wave_arrival(diffusion, (4, 10, 4), 800)
    assert arrival[4, 10, 4] == 0
    assert arrival[4, 22, 4] < arrival[4, 10, 8] * 3
    assert arrival[4, 14, 4] < arrival[4, 10, 8]
    assert (arrival[:, 30:] == 1.5).all()
    assert arrival[arrival < 1.5].max() == 1


def test_pool_and_magnify_agree_at_odd_sizes():
    ramp = np.add.outer(np.add.outer(np.arange(11.0), np.arange(8.0)), np.arange(7.0))
    pooled = _pool(ramp, 3)
    assert pooled.shape == (3, 2, 2)
    assert pooled[0, 0, 0] == 3.0
    back = _magnify(pooled, 3, ramp.shape)
    assert back.shape == ramp.shape
    np.testing.assert_allclose(back[1:8, 1:5, 1:5], ramp[1:8, 1:5, 1:5], atol=1e-5)


def test_smooth_noise_has_unit_variance_and_does_not_depend_on_the_grid():
    def field(step):
        axes = tuple(np.arange(0, n, step, dtype=np.float32) for n in (240, 240, 155))
        return smooth_noise(np.random.default_rng(0), axes, 8.0)

    coarse, fine = field(4.0), field(2.0)
    assert coarse.std() == pytest.approx(1, abs=0.05)
    np.testing.assert_allclose(fine[::2, ::2, ::2], coarse, atol=1e-5)


def test_gliomas_begin_in_the_cerebrum_off_the_midline(maps):
    survey = survey_head(maps, draw_warp(np.random.default_rng(0)))
    assert len(survey.sites_mm) > 300
    assert (np.abs(survey.sites_mm[:, 0] - 119) > 5).all()
    assert ((survey.sites_mm > survey.low_mm) & (survey.sites_mm < survey.high_mm)).all()


# ---------------------------------------------------------------- the release on disk


def test_release_has_the_layout_and_headers_of_brats(quick, tmp_path):
    folder = write(tmp_path, spacing_mm=2.0, subjects=1)
    assert {str(p) for p in contents(folder)} == {
        "sizes.json",
        "Phantom_001/Phantom_001_flair.nii.gz",
        "Phantom_001/Phantom_001_seg.nii.gz",
    }
    flair = nibabel.load(folder / "Phantom_001" / "Phantom_001_flair.nii.gz")
    seg = nibabel.load(folder / "Phantom_001" / "Phantom_001_seg.nii.gz")
    assert flair.shape == seg.shape == (120, 120, 78)
    assert (flair.get_data_dtype(), seg.get_data_dtype()) == (np.int16, np.uint8)
    assert nibabel.aff2axcodes(flair.affine) == ("L", "P", "S")
    np.testing.assert_array_equal(flair.affine, seg.affine)
    np.testing.assert_array_equal(flair.affine[:3, 3], [0, 239, 0])
    volume = load_volume(folder / "Phantom_001" / "Phantom_001_flair.nii.gz")
    assert volume.spacing_mm == (2.0, 2.0, 2.0)


def test_a_subject_is_the_same_whatever_the_number_of_subjects(quick, tmp_path):
    one = contents(write(tmp_path, subjects=1))
    three = contents(write(tmp_path, subjects=3))
    assert len(three) == 7
    for path, data in one.items():
        if path.name != "sizes.json":
            assert three[path] == data


def test_a_finished_phantom_is_returned_at_once(quick, tmp_path, monkeypatch):
    folder = write(tmp_path)
    before = contents(folder)
    monkeypatch.setattr(phantom, "grow_subject", lambda *_: pytest.fail("grown again"))
    assert write(tmp_path) == folder
    assert contents(folder) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_run_leaves_nothing(quick, tmp_path, monkeypatch, error):
    grow, calls = phantom.grow_subject, threading.Semaphore(2)

    def fails_at_third(*args):
        if not calls.acquire(blocking=False):
            raise error
        return grow(*args)

    monkeypatch.setattr(phantom, "grow_subject", fails_at_third)
    with pytest.raises(error):
        write(tmp_path, subjects=6)
    assert not any(tmp_path.rglob("Phantom_*"))


def test_each_phantom_has_its_own_folder(quick, tmp_path):
    folders = {write(tmp_path), write(tmp_path, seed=5), write(tmp_path, subjects=1)}
    assert len(folders) == 3
    assert all(folder.is_dir() for folder in folders)


def test_a_full_disk_is_one_clear_sentence(quick, tmp_path, monkeypatch):
    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(phantom, "save_volume", no_space)
    with pytest.raises(UserError, match=r"--cache_dir: .*phantom.*No space left"):
        write(tmp_path)
    assert not any(tmp_path.rglob("Phantom_*"))
