"""An encoder of the user's own, from an ONNX file: the one place that knows onnxruntime."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from brainsynth_jax.errors import UserError
from brainsynth_jax.evaluation.chunks import in_chunks
from brainsynth_jax.models.resize import area_average

# Where the file leaves it open. The size is what most published encoders were trained at.
_SIDE = 224
_IMAGES_A_CALL = 32

_CHANNELS = (1, 3)
_INPUT = "one float32 input of 1 or 3 channels and square images, (N, C, S, S) or (N, S, S, C)"
_OUTPUT = "one output (N, D), or a square map of D features in the input's order of axes"
# A tensor's key for the file that its numbers are in, as protobuf writes it.
_ELSEWHERE = b"\n\x08location\x12"


class OnnxEncoder(NamedTuple):
    """An encoder read from a file.

    Attributes:
        recipe: what it is and what it is given, for the report.
        digest: of the file's bytes.
        extract: (N, S, S, 1) float32 in [-1, 1] -> (N, D) float32.
    """

    recipe: str
    digest: bytes
    extract: Callable[[np.ndarray], np.ndarray]


class _Input(NamedTuple):
    """What the model takes: `batch` images a call or any number, `side` pixels, `channels`."""

    name: str
    batch: int | None
    side: int
    channels: int
    channels_last: bool


def load_encoder(path: str | Path) -> OnnxEncoder:
    """Reads an encoder, and tries it on an empty image.

    Images are given to it in [-1, 1], as area averages or linearly interpolated at the side that
    the file fixes, else at 224 pixels, with one channel repeated where it takes 3. A batch size
    that is fixed is kept to. Feature maps are averaged over space. Where a set of layers starts
    from another range of values, such as 0 to 255, that has to be part of the model.

    Args:
        path: an ONNX file that holds all of its weights.

    Raises:
        UserError: onnxruntime is not installed, the file cannot be read or run, or its input or
            output is another than that.
    """
    path = Path(path).expanduser()
    try:
        import onnxruntime  # large, and only of use to who has such a file
    except ImportError as error:
        raise UserError(
            f"--encoder={path} needs a library that is not installed: pip install onnxruntime"
        ) from error
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"--encoder={path} cannot be read ({error.strerror}). Give an ONNX file."
        ) from error
    if _ELSEWHERE in content:
        raise UserError(
            f"--encoder={path} keeps weights in another file, which its fingerprint would miss. "
            "Save it as one file: with torch.onnx.export by external_data=False, or with "
            "onnx.save(onnx.load(OLD), NEW)."
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is told here
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no other class in common
        raise UserError(
            f"--encoder={path} is no model that onnxruntime can run: {_first_line(error)}"
        ) from error
    given = _read_input(path, session)

    def run(images: np.ndarray) -> np.ndarray:
        try:
            (found,) = session.run(None, {given.name: _prepare(images, given)})
        except Exception as error:
            raise UserError(
                f"--encoder={path} cannot be run on images {given.side} pixels wide: "
                f"{_first_line(error)}"
            ) from error
        return _to_vectors(path, found, len(images), given.channels_last)

    def extract(images: np.ndarray) -> np.ndarray:
        return in_chunks(run, given.batch or _IMAGES_A_CALL, np.asarray(images, np.float32))

    run(np.full((given.batch or 1, given.side, given.side, 1), -1, np.float32))
    digest = hashlib.sha256(content)
    recipe = (
        f"The encoder {path.name} (SHA-256 {digest.hexdigest()[:12]}), given slices in [-1, 1] at "
        f"{given.side} x {given.side} pixels as {given.channels} channel"
        f"{'s' if given.channels > 1 else ''}"
    )
    return OnnxEncoder(recipe, digest.digest(), extract)


def _read_input(path: Path, session: Any) -> _Input:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    found = ", ".join(f"{item.type} {item.shape}" for item in inputs)
    wrong = UserError(f"--encoder={path}: {_INPUT} is needed; its input is {found or 'missing'}.")
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 4:
        raise wrong
    if len(outputs) != 1:
        names = ", ".join(item.name for item in outputs)
        raise UserError(f"--encoder={path}: {_OUTPUT} is needed; it has {len(outputs)}: {names}.")
    # A size that is open is a name or None.
    batch, *sizes = (size if isinstance(size, int) else None for size in inputs[0].shape)
    channels_last = sizes[0] not in _CHANNELS
    if channels_last:
        *sides, channels = sizes
    else:
        channels, *sides = sizes
    fixed = {side for side in sides if side is not None}
    if channels not in _CHANNELS or len(fixed) > 1:
        raise wrong
    side = fixed.pop() if fixed else _SIDE
    return _Input(inputs[0].name, batch, side, channels, channels_last)


def _prepare(images: np.ndarray, given: _Input) -> np.ndarray:
    images = area_average(images, given.side)
    if images.shape[1] < given.side:
        images = jax.image.resize(
            images, (len(images), given.side, given.side, 1), jax.image.ResizeMethod.LINEAR
        )
    images = np.repeat(np.asarray(images), given.channels, axis=-1)
    return images if given.channels_last else np.ascontiguousarray(np.moveaxis(images, -1, 1))


def _to_vectors(path: Path, found: Any, images: int, channels_last: bool) -> np.ndarray:
    shape, kind = np.shape(found), getattr(found, "dtype", np.dtype(object))
    space = (1, 2) if channels_last else (2, 3)
    is_map = len(shape) == 4 and shape[space[0]] == shape[space[1]]
    if not (len(shape) == 2 or is_map) or shape[0] != images or kind.kind != "f":
        raise UserError(
            f"--encoder={path}: {_OUTPUT} is needed; for {images} images it gave {kind} {shape}."
        )
    vectors = np.asarray(found, np.float32)
    vectors = vectors.mean(axis=space) if is_map else vectors
    if not np.isfinite(vectors).all():
        raise UserError(
            f"--encoder={path} gave features that are not finite, for slices in [-1, 1]."
        )
    return vectors


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
