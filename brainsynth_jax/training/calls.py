"""Images drawn a few at a time."""

from collections.abc import Iterator


def aligned_calls(first: int, count: int, images_a_call: int) -> Iterator[tuple[int, slice]]:
    """The calls that give images `first` to `first + count - 1`.

    A call begins at a multiple of its length, whatever is wanted of it: in the same place of the
    same call an image has the same bits.

    Yields:
        The number of the call's first image, and which of the call's are wanted.
    """
    for start in range(first - first % images_a_call, first + count, images_a_call):
        yield start, slice(max(first - start, 0), min(first + count - start, images_a_call))
