"""Images drawn a few at a time."""

from collections.abc import Iterator


def aligned_calls(first: int, count: int, images_a_call: int) -> Iterator[tuple[int, slice]]:
    """The calls that give images `first` to `first + count - 1`.

    A call begins at a multiple of its length, whatever is wanted of it: in the same place of the
    same call an image has the same bits.

    Yields:
        The number of the call's first image, and which of the call's are wanted.
    """
    for start, end in cut_at_multiples(first, first + count, images_a_call):
        call = start - start % images_a_call
        yield call, slice(start - call, end - call)


def cut_at_multiples(first: int, end: int, length: int) -> Iterator[tuple[int, int]]:
    """Stretches of `first` to `end - 1`, first and end of each, cut at all multiples of a length.

    What is drawn stretch by stretch then takes no more calls than at once, if the length is a
    multiple of theirs.
    """
    while first < end:
        cut = min(first - first % length + length, end)
        yield first, cut
        first = cut
