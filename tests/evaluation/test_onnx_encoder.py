"""Tiny models, built here, whose features are known."""

import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from brainsynth_jax.errors import UserError
from brainsynth_jax.evaluation.features import make_space
from brainsynth_jax.evaluation.onnx_encoder import load_encoder


def images(count=5, side=32, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, side, side, 1)).astype(np.float32)


@pytest.fixture
def save(tmp_path):
    """save(shape, *nodes): a model from `x` to `y`, as those nodes make it, in a file."""

    def save(shape, *nodes, weights=(), outputs=("y",), kind=TensorProto.FLOAT, **how):
        nodes = nodes or (helper.make_node("Identity", ["x"], ["y"]),)
        graph = helper.make_graph(
            nodes,
            "encoder",
            [helper.make_tensor_value_info("x", kind, shape)],
            [helper.make_tensor_value_info(name, kind, None) for name in outputs],
            [onnx.numpy_helper.from_array(array, name) for name, array in weights],
        )
        opset = [helper.make_opsetid("", 17)]
        path = tmp_path / "encoder.onnx"
        onnx.save(helper.make_model(graph, ir_version=8, opset_imports=opset), path, **how)
        return path

    return save


FIVES = [("w", np.ones((5, 5), np.float32))]
FLATTEN = helper.make_node("Flatten", ["x"], ["y"])


@pytest.mark.parametrize(
    ("shape", "channels"),
    [
        (["N", 1, 32, 32], 1),
        (["N", 3, "H", 32], 3),
        (["N", 32, 32, 1], 1),
        ([None, 32, 32, 3], 3),
        ([2, 3, 32, 32], 3),
    ],
)
def test_pixels_arrive_as_they_are_in_any_layout(save, shape, channels):
    found = load_encoder(save(shape, FLATTEN)).extract(images())
    last = shape[-1] == channels
    expected = np.repeat(images(), channels, axis=-1).transpose(
        0, *((1, 2, 3) if last else (3, 1, 2))
    )
    np.testing.assert_array_equal(found, expected.reshape(5, -1))


@pytest.mark.parametrize("shape", [["N", 3, 32, 32], ["N", 32, 32, 3]])
def test_feature_maps_are_averaged_over_space(save, shape):
    found = load_encoder(save(shape)).extract(images())
    assert found.shape == (5, 3)
    means = images().mean(axis=(1, 2, 3))
    np.testing.assert_allclose(found, np.repeat(means[:, None], 3, axis=1), atol=1e-6)


def test_larger_images_become_area_averages_and_smaller_ones_are_interpolated(save):
    encoder = load_encoder(save(["N", 1, 16, 16], FLATTEN))
    blocks = images().reshape(5, 16, 2, 16, 2).mean(axis=(2, 4)).reshape(5, -1)
    np.testing.assert_allclose(encoder.extract(images()), blocks, atol=1e-6)
    ramp = np.float32(np.tile(np.arange(8) / 8, (1, 8, 1)))[..., None]
    row = encoder.extract(ramp).reshape(16, 16)[5]
    np.testing.assert_allclose(row, np.interp(np.arange(16) / 2 - 0.25, range(8), np.arange(8) / 8))


def test_an_open_size_is_224_pixels(save):
    encoder = load_encoder(save(["N", 1, "H", "W"], FLATTEN))
    assert encoder.extract(images(1)).shape == (1, 224**2)
    assert "224 x 224 pixels as 1 channel," in f"{encoder.recipe},"


def test_weights_are_used_and_part_of_the_fingerprint(save):
    rng = np.random.default_rng(0)
    matrix = np.float32(rng.normal(size=(256, 4)))
    nodes = (
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
    )
    train, fresh = images(20, 16), images(6, 16, seed=1)
    spaces = [
        make_space(train, 0, onnx_file=save(["N", 1, 16, 16], *nodes, weights=[("w", weights)]))
        for weights in (matrix, matrix, -matrix)
    ]
    raw = train.reshape(20, -1) @ matrix
    expected = (fresh.reshape(6, -1) @ matrix - raw.mean(axis=0)) / raw.std(axis=0)
    np.testing.assert_allclose(spaces[0].extract(fresh), expected, atol=1e-4)
    assert (spaces[0].name, spaces[0].dimensions) == ("onnx", 4)
    assert "The encoder encoder.onnx (SHA-256 " in spaces[0].recipe
    assert spaces[0].recipe.endswith("as 1 channel, standardised on 20 training slices.")
    assert spaces[0].fingerprint == spaces[1].fingerprint != spaces[2].fingerprint


@pytest.mark.parametrize(
    ("shape", "kind", "words"),
    [
        (["N", 2, 32, 32], TensorProto.FLOAT, "its input is tensor(float) ['N', 2, 32, 32]"),
        (["N", "C", 32, 32], TensorProto.FLOAT, "'C', 32, 32]"),
        (["N", 3, 32, 64], TensorProto.FLOAT, "square images"),
        (["N", 3 * 32 * 32], TensorProto.FLOAT, "(N, C, S, S) or (N, S, S, C)"),
        (["N", 3, 32, 32], TensorProto.DOUBLE, "its input is tensor(double)"),
    ],
)
def test_another_input_is_refused(save, shape, kind, words):
    path = save(shape, kind=kind)
    with pytest.raises(UserError) as refused:
        load_encoder(path)
    assert str(path) in str(refused.value)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (helper.make_node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=0), "float32 (1, 32, 32)"),
        (helper.make_node("Transpose", ["x"], ["y"], perm=[0, 2, 3, 1]), "float32 (1, 32, 32, 3)"),
        (helper.make_node("Transpose", ["x"], ["y"], perm=[1, 0, 2, 3]), "float32 (3, 1, 32, 32)"),
        (helper.make_node("Log", ["x"], ["y"]), "not finite, for slices in [-1, 1]"),
    ],
    ids=lambda value: getattr(value, "op_type", ""),
)
def test_another_output_is_refused(save, node, words):
    path = save(["N", 3, 32, 32], node)
    with pytest.raises(UserError, match=r"encoder\.onnx") as refused:
        load_encoder(path)
    assert words in str(refused.value)


def test_a_model_that_fails_on_its_own_size_is_refused(save, capfd):
    path = save(["N", 3, "H", "W"], helper.make_node("MatMul", ["x", "w"], ["y"]), weights=FIVES)
    with pytest.raises(UserError, match="cannot be run on images 224 pixels wide"):
        load_encoder(path)
    assert not capfd.readouterr().err


def test_two_outputs_are_refused(save):
    nodes = [helper.make_node("Flatten", ["x"], [name]) for name in ("y", "z")]
    with pytest.raises(UserError, match="it has 2: y, z"):
        load_encoder(save(["N", 3, 32, 32], *nodes, outputs=("y", "z")))


def test_weights_beside_the_file_are_refused(save):
    nodes = (
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
    )
    weights = [("w", np.ones((256, 4), np.float32))]
    beside = {"save_as_external_data": True, "location": "weights", "size_threshold": 0}
    with pytest.raises(UserError, match="keeps weights in another file"):
        load_encoder(save(["N", 1, 16, 16], *nodes, weights=weights, **beside))


def test_what_is_no_model_is_refused(tmp_path):
    path = tmp_path / "encoder.onnx"
    with pytest.raises(UserError, match="No such file"):
        load_encoder(path)
    for content in (b"", b"something else"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="no model that onnxruntime can run"):
            load_encoder(path)


def test_a_missing_library_is_named_with_its_command(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match="pip install onnxruntime"):
        load_encoder(tmp_path / "encoder.onnx")
