"""2-D pictures (PNG, JPEG, TIFF) as arrays: the one place that opens and writes them."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from brainsynth_jax.errors import UserError
from brainsynth_jax.files import write_atomically

EXTENSIONS = (".png", ".jpg", ".jpeg", ".tif", ".tiff")

# Of one picture, 8,192 x 8,192, which take a gigabyte at most; a small file may claim many more.
LARGEST_PIXELS = 2**26
Image.MAX_IMAGE_PIXELS = LARGEST_PIXELS  # above it Pillow only warns

# JPEG stores grey in three channels that differ by rounding.
_GREY_TOLERANCE = 2

# JPEG rings around a mask's edge; so many pixels have to lie this near to black or white.
_MASK_PIXELS = 0.99
_MASK_NEAR = 0.1

# Words in a picture are a tenth of its width high, and no smaller than can be read.
_WORDS_OF_WIDTH, _LEAST_WORDS = 10, 10


def load_grey(path: Path) -> np.ndarray:
    """A grey picture, (H, W) float32 in the file's own units.

    Raises:
      UserError: unreadable, several pages, in colour, or NaN or infinite pixels.
    """
    picture = _load(path)
    if picture.ndim == 3:
        apart = (picture.max(axis=-1) - picture.min(axis=-1)).max()
        if apart > _GREY_TOLERANCE:
            raise UserError(
                f"{path}: is in colour (its channels differ by up to {apart:g}); a grey picture is "
                "needed, convert it."
            )
        picture = picture[..., 0]
    return _finite(path, picture)


def load_channel(path: Path, channel: int) -> np.ndarray:
    """One channel of a picture of three, (H, W) float32; a grey picture is taken as it is.

    Raises:
      UserError: unreadable, several pages, or NaN or infinite pixels.
    """
    picture = _load(path)
    return _finite(path, picture if picture.ndim == 2 else picture[..., channel])


def load_mask(path: Path) -> np.ndarray:
    """A picture of two grey levels, (H, W) bool, True where bright; all False if it is all 0.

    A JPEG's ringing around the edges is tolerated.

    Raises:
      UserError: as `load_grey`, or more than two grey levels.
    """
    picture = load_grey(path)
    bright = picture.max()
    near = np.abs(picture / bright - np.round(picture / bright)) if bright else picture
    if picture.min() < 0 or np.mean(near <= _MASK_NEAR) < _MASK_PIXELS:
        levels = np.unique(picture)
        shown = ", ".join(f"{level:g}" for level in levels[:6])
        raise UserError(
            f"{path}: is not a mask, it has {levels.size} grey levels ({shown}"
            f"{', ...' if levels.size > 6 else ''}); two are allowed, 0 for no tumour and a "
            "brighter one for tumour."
        )
    return picture > bright / 2


def grey_levels(values: np.ndarray) -> np.ndarray:
    """Of numbers in [-1, 1], clipped, the uint8 of a grey picture, black to white."""
    return np.round((np.clip(values, -1, 1) + 1) * 127.5).astype(np.uint8)


def save_levels(
    path: Path, levels: np.ndarray, compressed: bool = True, comment: str | None = None
) -> None:
    """Writes (H, W) uint8 as a grey PNG; the folder is made where it is missing.

    Args:
      path: with the ending .png.
      levels: black to white.
      compressed: else pictures of one shape have one size in bytes, which tells nothing of them.
      comment: words that go with the picture, unseen.
    """
    write_atomically(path, encode_levels(levels, compressed, comment))


def encode_levels(levels: np.ndarray, compressed: bool = True, comment: str | None = None) -> bytes:
    """The PNG that `save_levels` writes."""
    words = PngInfo()
    if comment:
        words.add_text("Comment", comment)
    level = -1 if compressed else 0
    return _encode(Image.fromarray(levels), compress_level=level, pnginfo=words)


def encode_overlay(codes: np.ndarray, colours: Mapping[int, tuple[int, int, int]]) -> bytes:
    """A PNG to be laid over a picture: the colour of each code, transparent where it has none.

    Args:
      codes: (H, W) uint8.
      colours: red, green and blue of some codes, 0 to 255 each.
    """
    lookup = np.zeros((256, 4), np.uint8)
    for code, colour in colours.items():
        lookup[code] = (*colour, 255)
    return _encode(Image.fromarray(lookup[codes]))


def _encode(picture: Image.Image, **settings: Any) -> bytes:
    content = io.BytesIO()
    picture.save(content, format="PNG", **settings)
    return content.getvalue()


def write_words(levels: np.ndarray, words: str) -> np.ndarray:
    """A picture with words in it, white on black, in the middle of its lower edge.

    Args:
      levels: (H, W) uint8.
      words: one line.

    Raises:
      UserError: the words are wider or higher than the picture.
    """
    font = ImageFont.load_default(max(_LEAST_WORDS, levels.shape[1] // _WORDS_OF_WIDTH))
    left, top, right, bottom = font.getbbox(words)
    width, height = int(right - left) + 2, int(bottom - top) + 2
    if width > levels.shape[1] or height > levels.shape[0]:
        raise UserError(
            f"a picture of {levels.shape[1]} x {levels.shape[0]} pixels has no room for "
            f"{words!r}, which needs {width} x {height}."
        )
    label = Image.new("L", (width, height))
    ImageDraw.Draw(label).text((1 - left, 1 - top), words, fill=255, font=font)
    picture = Image.fromarray(levels)
    picture.paste(label, ((picture.width - width) // 2, picture.height - height))
    return np.array(picture)


def _load(path: Path) -> np.ndarray:
    """(H, W), or (H, W, 3) if the file has colours, palette included; transparency is dropped."""
    try:
        # From memory: of a file Pillow would ask for as many bytes as a damaged one claims.
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            if image.width * image.height > LARGEST_PIXELS:
                raise UserError(
                    f"{path}: claims {image.width} x {image.height} pixels, and at most "
                    f"{LARGEST_PIXELS:,} are read; if it is a picture, make it smaller."
                )
            if getattr(image, "n_frames", 1) > 1:
                raise UserError(f"{path}: holds {image.n_frames} pages; a single one is needed.")
            if image.mode == "LA":
                return np.asarray(image)[..., 0]
            if image.mode == "1":
                return np.asarray(image).astype(np.uint8) * 255
            if image.mode in ("L", "F") or image.mode.startswith("I"):
                return np.asarray(image)
            return np.asarray(image.convert("RGB"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file.") from None
    except PermissionError:
        raise UserError(f"{path}: may not be read; change its permissions.") from None
    except (UserError, MemoryError):
        raise
    except Exception as error:  # whatever a damaged file makes Pillow raise
        raise UserError(
            f"{path}: cannot be read as a picture ({error}); it is truncated, corrupt or of "
            "another kind, copy or convert it again."
        ) from None


def _finite(path: Path, picture: np.ndarray) -> np.ndarray:
    if not np.isfinite(picture).all():
        raise UserError(f"{path}: has NaN or infinite pixels; finite numbers are needed.")
    return picture.astype(np.float32)
