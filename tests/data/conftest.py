"""Folders of tiny scans and pictures, as the releases lay them out."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny import LPS, grow_picture, grow_scan, save_picture

from brainsynth_jax.data.nifti import save_volume


@pytest.fixture
def make_brats(tmp_path) -> Callable[..., Path]:
    """make(names, **changed): a BraTS folder; `changed` replaces a kind's array in each."""

    def make(names=("S1", "S2", "S3", "S4"), root=tmp_path / "brats", **changed):
        for seed, name in enumerate(names):
            flair, seg = grow_scan(seed)
            for kind, array in {"flair": flair, "seg": seg, **changed}.items():
                if array is not None:
                    (root / name).mkdir(parents=True, exist_ok=True)
                    save_volume(root / name / f"{name}_{kind}.nii.gz", array, LPS)
        return root

    return make


@pytest.fixture
def make_decathlon(tmp_path) -> Callable[..., Path]:
    """make(index): a Decathlon task of three subjects; `index` replaces entries of its index."""

    def make(**index):
        root = tmp_path / "Task01_BrainTumour"
        for folder in ("imagesTr", "labelsTr"):
            (root / folder).mkdir(parents=True)
        entries = []
        for seed in range(3):
            flair, brats_labels = grow_scan(seed)
            name = f"BRATS_{seed:03d}.nii.gz"
            channels = np.stack([flair, flair + 1, flair + 2, flair + 3], axis=-1)
            save_volume(root / "imagesTr" / name, channels, LPS)
            # BraTS 2 oedema, 1 core, 4 enhancing are 1, 2, 3 here.
            labels = np.array([0, 2, 1, 0, 3], np.uint8)[brats_labels]
            save_volume(root / "labelsTr" / name, labels, LPS)
            entries.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
        whole = {
            "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
            "labels": {
                "0": "background",
                "1": "edema",
                "2": "non-enhancing tumor",
                "3": "enhancing tumour",
            },
            "training": entries,
        }
        (root / "dataset.json").write_text(json.dumps({**whole, **index}))
        return root

    return make


@pytest.fixture
def make_image_folders(tmp_path) -> Callable[..., Path]:
    """make(names, extension): `images/` + `masks/` with a picture for each name."""

    def make(names=("ANN_1", "ANN_2", "BOB_1", "BOB_10"), extension=".png"):
        root = tmp_path / "pictures"
        for seed, name in enumerate(names):
            picture, mask = grow_picture(seed)
            save_picture(root / "images" / (name + extension), picture)
            save_picture(root / "masks" / (name + extension), mask)
        return root

    return make


@pytest.fixture
def make_lgg(tmp_path) -> Callable[..., Path]:
    """make(flat): two subjects of 11 slices, in LGG's layout, channels (10, FLAIR, 30)."""

    def make(flat=False):
        root = tmp_path / "lgg"
        for seed, name in enumerate(("TCGA_AA_1_2000", "TCGA_BB_2_2001")):
            folder = root if flat else root / name
            for k in range(1, 12):
                flair, mask = grow_picture(100 * seed + k)
                flair[0, 0] = k
                channels = np.stack([flair * 0 + 10, flair, flair * 0 + 30], axis=-1)
                save_picture(folder / f"{name}_{k}.tif", channels)
                save_picture(folder / f"{name}_{k}_mask.tif", mask)
        return root

    return make


@pytest.fixture
def make_cyclegan(tmp_path) -> Callable[..., Path]:
    """make(): CycleGAN's four folders, 3 and 2 training, 2 and 1 test pictures."""

    def make():
        root = tmp_path / "cyclegan"
        for folder, count in {"trainA": 3, "trainB": 2, "testA": 2, "testB": 1}.items():
            for seed in range(count):
                picture, mask = grow_picture(seed)
                save_picture(root / folder / f"{seed}.png", mask if "B" in folder else picture)
        return root

    return make
