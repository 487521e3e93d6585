"""Readers and whatever a file may hold: the right volume or a named error, in bounded memory.

`pytest -m long tests/data/test_fuzz.py` tries twenty times as many inputs.
"""

import gzip
import io
import json
import os
import struct
import tracemalloc
import zlib

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny import grow_picture

from brainsynth_jax.data import pictures
from brainsynth_jax.data.listing import find_files
from brainsynth_jax.data.nifti import load_scan, load_volume
from brainsynth_jax.data.sources import recognise
from brainsynth_jax.errors import UserError

SHORT, LONG = 150, 3000
MIB = 2**20

TYPES = (np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.uint64, np.int64)
FLOATS = (np.float32, np.float64)


def cases(count):
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def in_short_and_long(test):
    """The test with few cases, and as another one, marked long, with many."""
    return pytest.mark.parametrize(
        "count", [SHORT, pytest.param(LONG, marks=pytest.mark.long)], ids=["short", "long"]
    )(test)


def in_bounds(read, *arguments, bytes_allowed=None, named=None):
    """What reading gives, or None where it says why not in a sentence that names the file."""
    tracemalloc.start()
    result, message = None, None
    try:
        result = read(*arguments)
    except UserError as error:
        message = str(error)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert bytes_allowed is None or peak <= bytes_allowed, f"{peak / MIB:.0f} MiB"
    assert message is None or any(str(path) in message for path in named or arguments[:1])
    return result


@st.composite
def volumes(draw):
    """A valid NIfTI image: any number type, scaled or not, its axes turned and flipped."""
    shape = draw(st.tuples(*[st.integers(1, 6)] * 3))
    dtype = np.dtype(draw(st.sampled_from(TYPES + FLOATS)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if dtype.kind == "f":
        array = rng.normal(0, 1000, shape).astype(dtype)
    else:
        limits = np.iinfo(dtype)
        array = rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    order = draw(st.permutations(range(3)))
    affine = np.eye(4)
    affine[:3, :3] = np.diag(draw(st.tuples(*[st.floats(0.3, 5)] * 3)))[:, order]
    affine[:3, :3] *= draw(st.tuples(*[st.sampled_from((-1, 1))] * 3))
    affine[:3, 3] = draw(st.tuples(*[st.floats(-200, 200)] * 3))
    kind = draw(st.sampled_from((nibabel.Nifti1Image, nibabel.Nifti2Image)))
    image = kind(array, affine, dtype=dtype)
    slope = draw(st.sampled_from((None, 1.0, 0.5, -2.0)))
    if slope is not None:
        image.header.set_slope_inter(slope, draw(st.sampled_from((0.0, 7.0))))
    return image


@in_short_and_long
def test_a_valid_volume_is_read_as_it_is(count, tmp_path):
    """Each voxel where the affine puts it, with the value that type and scale give it."""

    @cases(count)
    @given(volumes(), st.booleans())
    def check(image, compressed):
        path = tmp_path / ("scan.nii.gz" if compressed else "scan.nii")
        data = image.to_bytes()
        path.write_bytes(gzip.compress(data) if compressed else data)
        reread = type(image).from_bytes(data)
        expected = reread.dataobj.get_unscaled().astype(np.float64)
        expected = reread.dataobj.slope * expected + reread.dataobj.inter
        volume = in_bounds(load_volume, path, bytes_allowed=4 * MIB + 40 * expected.size)
        assert volume is not None
        for index in np.ndindex(expected.shape):
            where = image.affine @ [*index, 1]
            found = np.rint(np.linalg.inv(volume.affine) @ where)[:3].astype(int)
            np.testing.assert_allclose(
                np.float64(volume.array[tuple(found)]), expected[index], rtol=1e-6
            )
        assert (np.diag(volume.affine)[:3] > 0).all(), "right, front, top"

    check()


# Where NIfTI-1 keeps what, and as which type.
FIELDS = {
    "sizeof_hdr": (0, "i"),
    "dim0": (40, "h"),
    "dim1": (42, "h"),
    "dim3": (46, "h"),
    "dim4": (48, "h"),
    "datatype": (70, "h"),
    "bitpix": (72, "h"),
    "pixdim0": (76, "f"),
    "pixdim1": (80, "f"),
    "vox_offset": (108, "f"),
    "scl_slope": (112, "f"),
    "scl_inter": (116, "f"),
    "xyzt_units": (123, "b"),
    "qform_code": (252, "h"),
    "sform_code": (254, "h"),
    "quatern_b": (256, "f"),
    "srow_x": (280, "f"),
    "srow_z2": (320, "f"),
    "magic": (344, "i"),
}
LIMITS = {"b": 2**7, "h": 2**15, "i": 2**31}


@st.composite
def spoilt_headers(draw):
    """A valid file with some of its header's fields set to anything."""
    data = bytearray(draw(volumes().filter(lambda v: v.header_class.sizeof_hdr == 348)).to_bytes())
    for name in draw(st.lists(st.sampled_from(sorted(FIELDS)), min_size=1, max_size=4)):
        offset, kind = FIELDS[name]
        if kind == "f":
            value = draw(st.floats(width=32))
        else:
            edges = st.sampled_from((0, 1, -1, 2, 3, 4, 7, 8, 16, 64, 128, 256, 512, 1024, 1536))
            value = draw(st.one_of(edges, st.integers(-LIMITS[kind], LIMITS[kind] - 1)))
            value = max(-LIMITS[kind], min(value, LIMITS[kind] - 1))
        struct.pack_into("<" + kind, data, offset, value)
    return bytes(data)


@st.composite
def spoilt_bytes(draw):
    """A compressed file, cut short or with bits turned, before or after compressing."""
    data = bytearray(draw(volumes()).to_bytes())
    outside = draw(st.booleans())
    data = bytearray(gzip.compress(bytes(data))) if outside else data
    for place in draw(st.lists(st.integers(0, len(data) * 8 - 1), max_size=8)):
        data[place // 8] ^= 1 << place % 8
    cut = draw(st.one_of(st.none(), st.integers(0, len(data))))
    data = bytes(data[:cut])
    return data if outside else gzip.compress(data)


def is_sound(volume):
    assert volume.array.ndim == 3
    assert np.isfinite(volume.array.astype(np.float64)).all()
    assert np.isfinite(volume.affine).all()
    assert all(mm > 0 for mm in volume.spacing_mm)
    return True


@in_short_and_long
@pytest.mark.parametrize("spoilt", [spoilt_headers(), spoilt_bytes()], ids=["headers", "bytes"])
def test_a_spoilt_volume_is_refused_or_sound(spoilt, count, tmp_path):
    @cases(count)
    @given(spoilt, st.integers(1, 4))
    def check(data, channels):
        path = tmp_path / ("scan.nii.gz" if data[:2] == b"\x1f\x8b" else "scan.nii")
        path.write_bytes(data)
        volume = in_bounds(load_volume, path, 0, channels, bytes_allowed=8 * MIB)
        assert volume is None or is_sound(volume)

    check()


@in_short_and_long
def test_a_spoilt_pair_of_scan_and_labels_is_refused_or_sound(count, tmp_path):
    @cases(count)
    @given(st.one_of(spoilt_headers(), spoilt_bytes()), st.booleans())
    def check(data, spoils_labels):
        good = nibabel.Nifti1Image(np.arange(27, dtype=np.uint8).reshape(3, 3, 3) % 5, np.eye(4))
        paths = []
        for name, content in (("flair", good.to_bytes()), ("seg", good.to_bytes())):
            content = data if (name == "seg") == spoils_labels else content
            path = tmp_path / (name + (".nii.gz" if content[:2] == b"\x1f\x8b" else ".nii"))
            path.write_bytes(content)
            paths.append(path)
        scan = in_bounds(load_scan, *paths, {1: 3, 2: 2, 3: 4, 4: 4}, named=paths)
        if scan is not None:
            assert scan.image.dtype == np.float32
            assert np.isfinite(scan.image).all()
            assert scan.image.shape == scan.labels.shape

    check()


def test_claims_of_terabytes_take_no_memory(tmp_path):
    header = nibabel.Nifti2Header()
    header.set_data_dtype(np.float64)
    header["dim"][:4] = 3, 2**20, 2**20, 2**20
    path = tmp_path / "huge.nii"
    path.write_bytes(header.binaryblock + bytes(100))
    with pytest.raises(UserError, match=r"claims 1,152,921,504,606,846,976 voxels, and at most"):
        load_volume(path)


def test_a_claim_that_the_file_does_not_hold_takes_no_memory(tmp_path):
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.float64)
    header.set_data_shape((600, 600, 600))
    path = tmp_path / "claims.nii"
    path.write_bytes(header.binaryblock + bytes(100))
    assert in_bounds(load_volume, path, bytes_allowed=8 * MIB) is None


def test_a_decompression_bomb_is_defused(tmp_path):
    """A gigabyte of zeros, a megabyte compressed, behind a header of a few voxels."""
    image = nibabel.Nifti1Image(np.ones((4, 4, 4), np.uint8), np.eye(4))
    path = tmp_path / "bomb.nii.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(image.to_bytes())
        for _ in range(1024):
            file.write(bytes(MIB))
    assert in_bounds(load_volume, path, bytes_allowed=16 * MIB) is None
    with pytest.raises(UserError, match="goes on after the"):
        load_volume(path)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_complex_voxels_are_refused(tmp_path, dtype):
    path = tmp_path / "complex.nii"
    nibabel.save(nibabel.Nifti1Image(np.ones((3, 3, 3), dtype), np.eye(4)), path)
    with pytest.raises(UserError, match="voxels are of type complex"):
        load_volume(path)


def test_coloured_voxels_are_refused(tmp_path):
    colours = np.zeros((3, 3, 3), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    path = tmp_path / "rgb.nii"
    nibabel.save(nibabel.Nifti1Image(colours, np.eye(4)), path)
    with pytest.raises(UserError, match="plain numbers are needed"):
        load_volume(path)


PICTURES = (
    *(("L", "PNG"), ("RGB", "PNG"), ("P", "PNG"), ("1", "PNG"), ("I;16", "PNG")),
    *(("L", "JPEG"), ("RGB", "JPEG"), ("L", "TIFF"), ("F", "TIFF"), ("RGB", "TIFF")),
)


@st.composite
def spoilt_pictures(draw):
    """A picture of any kind with bits turned or its end cut off."""
    mode, form = draw(st.sampled_from(PICTURES))
    grey, _ = grow_picture(draw(st.integers(0, 9)), (12, 10))
    image = Image.fromarray(grey.astype(np.uint16) if mode == "I;16" else grey)
    image = image if mode == "I;16" else image.convert(mode)
    content = io.BytesIO()
    image.save(content, format=form)
    data = bytearray(content.getvalue())
    for place in draw(st.lists(st.integers(0, len(data) * 8 - 1), max_size=6)):
        data[place // 8] ^= 1 << place % 8
    if form == "PNG" and draw(st.booleans()):
        data = with_right_checksums(data)
    return bytes(data[: draw(st.one_of(st.none(), st.integers(0, len(data))))]), form


def with_right_checksums(png):
    """Checksums that agree with the spoilt chunks, so that the reader gets further."""
    out, place = bytearray(png[:8]), 8
    while place + 8 <= len(png):
        (length,) = struct.unpack_from(">I", png, place)
        chunk = png[place + 4 : place + 8 + length]
        out += png[place : place + 4] + chunk + struct.pack(">I", zlib.crc32(chunk))
        place += 12 + length
    return out


@in_short_and_long
def test_a_spoilt_picture_is_refused_or_sound(count, tmp_path):
    @cases(count)
    @given(spoilt_pictures(), st.sampled_from([pictures.load_grey, pictures.load_mask]))
    def check(spoilt, load):
        data, form = spoilt
        path = tmp_path / f"picture.{form.lower()}"
        path.write_bytes(data)
        picture = in_bounds(load, path, bytes_allowed=2**30)
        assert picture is None or (picture.ndim == 2 and np.isfinite(picture).all())

    check()


def test_a_picture_that_claims_too_much_is_refused(tmp_path):
    content = io.BytesIO()
    Image.new("1", (2**15, 2**13)).save(content, format="PNG")
    path = tmp_path / "bomb.png"
    path.write_bytes(content.getvalue())
    with pytest.raises(UserError, match=r"32768 x 8192|cannot be read"):
        pictures.load_grey(path)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["modality", "labels", "training", "image", "label", "0", "x"]),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@in_short_and_long
def test_any_index_of_a_decathlon_task_is_refused_or_read(count, tmp_path):
    @cases(count)
    @given(st.one_of(json_values.map(json.dumps), st.text(max_size=30), st.just("[" * 100_000)))
    def check(text):
        (tmp_path / "dataset.json").write_text(text, encoding="utf-8", errors="surrogatepass")
        in_bounds(recognise, tmp_path, "flair")

    check()


odd_names = st.text(
    st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1, max_size=40
).filter(lambda name: name not in (".", "..") and len(name.encode()) < 200)


@in_short_and_long
def test_odd_names_links_and_loops_are_walked_once(count, tmp_path):
    @cases(count)
    @given(st.lists(odd_names, min_size=1, max_size=6, unique=True), st.data())
    def check(names, data):
        root = tmp_path / f"root{len(os.listdir(tmp_path))}"
        root.mkdir()
        folders = [root]
        for name in names:
            place = data.draw(st.sampled_from(folders)) / name
            if place.exists() or place.is_symlink():
                continue
            what = data.draw(st.sampled_from(["file", "folder", "loop", "broken", "twice"]))
            if what == "file":
                place.write_bytes(b"")
            elif what == "folder":
                place.mkdir()
                folders.append(place)
            elif what == "loop":
                place.symlink_to(data.draw(st.sampled_from(folders)), target_is_directory=True)
            elif what == "twice":
                place.symlink_to(root, target_is_directory=True)
            else:
                place.symlink_to(root / "nothing")
        found = find_files(root)
        assert len({os.path.realpath(path) for path in found}) <= len(names)
        assert len(found) <= 2 * len(names)

    check()
