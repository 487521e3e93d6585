"""Texts that are kept, counts in words, and orders that last."""

import hashlib
import unicodedata
from collections.abc import Iterable
from typing import Any

from brainsynth_jax.errors import UserError


def shuffled(numbers: Iterable[int], salt: str) -> list[int]:
    """In an order that is the same in every version of every library."""
    return sorted(numbers, key=lambda number: hashlib.sha256(f"{salt}:{number}".encode()).digest())


def clean_text(text: str, longest: int, what: str) -> str:
    """A text as it is kept: without spaces around it, each letter in one form only.

    Args:
        text: as it came.
        longest: characters that it may have.
        what: it is, for the message.

    Raises:
        UserError: an empty one, too long, or with characters that cannot be seen.
    """
    cleaned = unicodedata.normalize("NFC", text).strip() if isinstance(text, str) else ""
    if not 0 < len(cleaned) <= longest or not cleaned.isprintable():
        raise UserError(
            f"{what} has 1 to {longest} characters, all of them visible; {_shown(text)} is none."
        )
    return cleaned


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}..."


def count_words(number: int, unit: str) -> str:
    """ "1 image", "2,000 images"."""
    return f"{number:,} {unit}{'' if number == 1 else 's'}"
