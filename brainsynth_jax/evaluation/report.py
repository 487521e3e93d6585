"""report.html: one page that a radiologist and a reader of the paper both understand.

What the pages of all runs share; `cyclegan_report` and `dcgan_report` say what is theirs.
"""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from brainsynth_jax.files import write_atomically
from brainsynth_jax.templates import open_templates

# Of evaluation.json, as evaluation_schema.json describes it; to be raised where a number's name,
# unit or meaning changes.
SCHEMA = 1

_FEW_SUBJECTS = 10


def write_page(
    path: Path,
    template: str,
    title: str,
    options: Mapping[str, Any],
    records: Sequence[Mapping[str, float]],
    curves_png: Path | None,
    sample_pngs: Sequence[tuple[str, str, Path]],
    notes: Sequence[str],
    **content: Any,
) -> None:
    """Writes one HTML page that needs nothing beside it: no other file, no network, no script.

    Args:
        path: of the page.
        template: name of a file beside this one that extends `report.html`.
        title: its heading.
        options: shown as they are; a mapping in it becomes a table of its own.
        records: the objects of metrics.jsonl, for the length and the speed of the training.
        curves_png: picture of the losses, None for none.
        sample_pngs: (title, caption, file) of each picture.
        notes: sentences that the reader has to know, such as subjects left out.
        **content: what the template asks for besides.

    Raises:
        UserError: the page can't be written.
    """
    page = render(
        template,
        title=title,
        training=_training(records),
        pictures=[(name, caption, embed(png)) for name, caption, png in sample_pngs],
        curves=embed(curves_png) if curves_png else None,
        options=_tabulate(options),
        notes=notes,
        **content,
    )
    write_atomically(path, page.encode())


def render(template: str, **content: Any) -> str:
    """The text of a template beside this file; in HTML, what is filled in is escaped."""
    templates = open_templates(__package__, number=_number, percent=_percent, short=short)
    return templates.get_template(template).render(**content)


def embed(picture: Path) -> str:
    """A picture, named by its kind (`.png`, `.gif`), as an address that holds all of it."""
    picture = Path(picture)
    kind = picture.suffix.removeprefix(".")
    return f"data:image/{kind};base64," + base64.b64encode(picture.read_bytes()).decode()


def count(number: int, noun: str) -> str:
    """'1 slice', '1,200 slices'."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def short(value: float) -> str:
    """Three significant digits: '0.0123', '1,235'."""
    text = f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"
    return text.replace("-", "\N{MINUS SIGN}")


def show_range(interval: Sequence[float] | None) -> str:
    """'0.1 to 0.2', "" for None."""
    return "" if interval is None else f"{short(interval[0])} to {short(interval[1])}"


def show_percent(share: float) -> str:
    """'1.5 %' for 0.015."""
    return f"{100 * share:.1f} %"


def warn_of_few(subjects: int) -> list[str]:
    """A sentence about intervals over so few subjects; none where there are enough."""
    if subjects >= _FEW_SUBJECTS:
        return []
    return [
        f"With {subjects} subjects the intervals are rough, and rather too narrow than too wide."
    ]


def _training(records: Sequence[Mapping[str, float]]) -> str | None:
    speeds = [record["seconds_per_step"] for record in records if "seconds_per_step" in record]
    if not speeds:
        return None
    last = max(record["step"] for record in records)
    return f"{count(last, 'step')}, {median(speeds):.2g} s each (median)"


def _tabulate(options: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """(heading, rows) of the plain options first, then of each mapping among them."""
    plain = {name: value for name, value in options.items() if not isinstance(value, Mapping)}
    nested = {name: value for name, value in options.items() if isinstance(value, Mapping)}
    groups = {"": plain} | nested if plain else nested
    return [
        (heading, [(name, _text(value)) for name, value in group.items()])
        for heading, group in groups.items()
    ]


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "not set" if value is None or value == "" else str(value)


def _number(value: float | None) -> str:
    """Three decimals; small ones as the paper prints them, 4.890e-3."""
    if value is None:
        return "-"
    if value == 0 or abs(value) >= 0.01:
        return f"{value:.3f}"
    mantissa, exponent = f"{value:.3e}".split("e")
    return f"{mantissa}e{int(exponent)}"


def _percent(value: float) -> str:
    """A place on an axis from 0 to 1, for CSS."""
    return f"{100 * value:.2f}%"
