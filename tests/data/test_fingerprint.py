import os

import pytest
from tiny import grow_scan

from brainsynth_jax.data.prepared import prepare_slices
from brainsynth_jax.data.slices import SliceOptions
from brainsynth_jax.data.sources import recognise

OPTIONS = SliceOptions(image_size=24, min_tumor_area_pixels=5, test_fraction=0.25)


def fingerprint(root, cache_dir, **options):
    options = OPTIONS._replace(**options)
    return prepare_slices(recognise(root, "flair"), options, cache_dir, False).fingerprint


@pytest.mark.parametrize(
    "change",
    [
        {"image_size": 16},
        {"intensity": "percentiles"},
        {"slices": (0, 8), "min_tumor_area_pixels": 0},
    ],
)
def test_other_slices_have_another_fingerprint(make_brats, tmp_path, change):
    root, cache_dir = make_brats(), tmp_path / "cache"
    assert fingerprint(root, cache_dir, **change) != fingerprint(root, cache_dir)


def test_the_fingerprint_follows_the_voxels_and_not_the_files(make_brats, tmp_path):
    def written(folder, time, **changed):
        root = make_brats(root=tmp_path / folder)
        if changed:
            make_brats(["S1"], root=root, **changed)
        for path in root.rglob("*.nii.gz"):
            os.utime(path, (time, time))
        return fingerprint(root, tmp_path / f"cache_{folder}")

    first = written("a", 1_000_000_000)
    assert written("copy", 1_600_000_000) == first
    brighter, relabelled = grow_scan(0)
    brighter[10, 12, 4] += 300
    assert written("brighter", 1_000_000_000, flair=brighter) != first
    assert relabelled[11, 12, 4] == 4
    relabelled[11, 12, 4] = 2
    assert written("relabelled", 1_000_000_000, seg=relabelled) != first
