"""How time and memory grow with the images' size, their number and the networks' width."""

from collections.abc import Iterator

from brainsynth_jax.benchmark.workload import Workload

# What is changed, one at a time, from a base that is small enough for the largest of each.
_SIDES = (64, 128, 256, 512)
_BATCH_SIZES = (1, 2, 4, 8, 16, 32)
_WIDTHS = (8, 16, 32, 64)
_BASE = {"image_size": 128, "batch_size": 2, "width": 16}
_UNET_SIDES = (256, 512)  # what it can halve eight times


def list_growth(name: str, precision: str = "float32") -> Iterator[tuple[str, Workload]]:
    """What is changed, "image_size", "batch_size" or "width", and the workload.

    Args:
        name: of a training step.
        precision: one of `blocks.PRECISIONS`.
    """
    unet = name == "cyclegan-unet"
    base = Workload(name, precision, **(_BASE | ({"image_size": 256} if unet else {})))
    for side in _UNET_SIDES if unet else _SIDES:
        yield "image_size", base._replace(image_size=side)
    for batch_size in _BATCH_SIZES:
        yield "batch_size", base._replace(batch_size=batch_size)
    for width in _WIDTHS:
        yield "width", base._replace(width=width)
