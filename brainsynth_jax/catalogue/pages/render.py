"""A catalogue's pages as HTML, for a server and for a folder of files alike."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from brainsynth_jax.catalogue.catalogue import Catalogue
from brainsynth_jax.catalogue.image_files import Pixels
from brainsynth_jax.catalogue.pages.links import Links
from brainsynth_jax.catalogue.tables import REVIEWS, ImageRow
from brainsynth_jax.catalogue.words import count_words
from brainsynth_jax.data.masks import CORE, ENHANCING, OEDEMA, TUMOR
from brainsynth_jax.errors import UserError
from brainsynth_jax.templates import open_templates

# The stylesheet and the script of all pages.
ASSETS = Path(__file__).with_name("assets")

# Okabe and Ito's colours, which the colour-blind tell apart.
TUMOR_COLOURS = {
    OEDEMA: (86, 180, 233),
    CORE: (213, 94, 0),
    ENHANCING: (240, 228, 66),
    TUMOR: (230, 159, 0),
}
_CLASSES = {OEDEMA: "oedema", CORE: "core", ENHANCING: "enhancing", TUMOR: "tumour"}

MODEL_WORDS = {
    "dcgan": "DCGAN, from noise",
    "cyclegan-ba": "CycleGAN, from a mask",
    "cyclegan-ab": "a patient's slice, mask by CycleGAN",
}
_PLACE_WORDS = {
    "right": "patient's right",
    "left": "patient's left",
    "front": "front",
    "back": "back",
}
_VERDICT_WORDS = {
    "fresh": "no nearer to a training slice than slices of held-out subjects are",
    "near": "nearer to a training slice than 99 % of any held-out subject's are, by pixels or by "
    "what an encoder sees",
    "suspicious": "nearer to a training slice than 0.6 of what would be near: a suspected copy",
    None: "not compared with training slices, or too few to judge by",
}


class Shown(NamedTuple):
    """An image with what its files say.

    Attributes:
        row: of the catalogue.
        pixels: None where a file is missing or altered.
        problem: what is the matter then, in a sentence.
    """

    row: ImageRow
    pixels: Pixels | None
    problem: str | None


def look_at(catalogue: Catalogue, row: ImageRow) -> Shown:
    """Reads an image's files."""
    try:
        return Shown(row, catalogue.load(row), None)
    except UserError as error:
        return Shown(row, None, str(error))


def render(template: str, links: Links, **context: Any) -> str:
    """A page of `templates/`; whatever it shows of others is escaped."""
    known = {"links": links, "model_words": MODEL_WORDS, "reviews": REVIEWS}
    return _templates.get_template(template).render(**known | context)


def list_choices(runs: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
    """What the form above the images offers: by field, values and what they are called.

    Args:
        runs: folders of all runs that drew images.
    """
    return {
        "model": list(MODEL_WORDS.items()),
        "run": [(run, run.rsplit("/", 1)[-1]) for run in runs],
        "verdict": [(verdict or "unknown",) * 2 for verdict in _VERDICT_WORDS],
        "review": [(review, review) for review in (*REVIEWS, "none")],
        "place": list(_PLACE_WORDS.items()),
    }


def describe(shown: Shown, database: str, leaves: bool = False) -> dict[str, Any]:
    """What `image.html` shows of an image.

    Args:
        shown: the image.
        database: as --database takes it.
        leaves: the page is given away; so it names no folder, and no option, which may name some.
    """
    row = shown.row
    if leaves and shown.problem:
        shown = shown._replace(problem="Its file is missing or was altered.")
    flags = {} if leaves else row.origin.options.get("flags", {})
    run = Path(row.origin.run)
    verdict = _VERDICT_WORDS[row.copy_verdict]
    if row.origin.model == "cyclegan-ab":
        verdict = "a real slice, of which only the mask is synthetic: it is no image to give away"
    return {
        "shown": shown,
        "run": run.name if leaves else str(run),
        "verdict_words": verdict,
        "classes": _name_classes(shown.pixels),
        "place": _describe_place(row),
        "command": (f"python experiments/generate.py --database={database} --reproduce={row.id}"),
        "flags": sorted((name, value) for name, value in flags.items() if value is not None),
    }


def _name_classes(pixels: Pixels | None) -> list[tuple[str, str]]:
    """Name and colour of each class that a mask holds."""
    if pixels is None or pixels.mask is None:
        return []
    present = set(pixels.mask.flat)
    return [
        (name, "#{:02x}{:02x}{:02x}".format(*TUMOR_COLOURS[code]))
        for code, name in _CLASSES.items()
        if code in present
    ]


def _describe_place(row: ImageRow) -> str | None:
    """ "front, patient's right": row 0 is anterior, column 0 the patient's right."""
    if row.tumor_row is None:
        return None
    front = "front" if row.tumor_row < 0.5 else "back"
    side = "right" if row.tumor_column < 0.5 else "left"
    return f"{front}, patient's {side}"


def _short(text: str, length: int = 12) -> str:
    return text[:length]


def _number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


_templates = open_templates(
    __package__, folder="templates", short=_short, number=_number, plural=count_words
)
