"""analysis.html: one page that says what a reader study found, and no more than that."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from brainsynth_jax import evaluation
from brainsynth_jax.catalogue.reader_study.analysis import GUESSING, LEAST_ANSWERS
from brainsynth_jax.files import write_atomically, write_json
from brainsynth_jax.plots import save_intervals, save_roc
from brainsynth_jax.templates import open_templates

ANALYSIS_FILE, REPORT_FILE = "analysis.json", "analysis.html"

_LEVEL = 0.05  # of the test of one reader
_TOGETHER = "all together"
# The letters of matplotlib's own font go so far: Latin, Greek and Cyrillic ones.
_LAST_DRAWN = "\N{CYRILLIC SMALL LETTER EL WITH DESCENDER}"
_LONGEST_DRAWN = 18
# Few slices make a bootstrap too sure.
_FEW_SLICES = 20


def write_study_report(folder: Path, analysis: Mapping[str, Any]) -> None:
    """Writes analysis.json, and a page that needs nothing beside it.

    Args:
        folder: made where it is missing.
        analysis: of `analysis.analyse_study`.

    Raises:
        UserError: the disk refuses.
    """
    folder = Path(folder)
    write_json(folder / ANALYSIS_FILE, analysis)
    # What all pages share lies with those of trained models.
    templates = open_templates(
        __package__, evaluation.__name__, share=_percent, p=_p_value, decimal=_decimal
    )
    page = templates.get_template("study_report.html").render(
        title=f"Reader study: {analysis['title']}",
        training=None,
        curves=None,
        answers=describe_findings(analysis),
        notes=_describe_limits(analysis),
        pictures=_draw(analysis),
        options=[("Study", _tabulate(analysis)), ("Methods", _METHODS)],
        analysis=analysis,
        rows=_rows(analysis),
    )
    write_atomically(folder / REPORT_FILE, page.encode())


def describe_findings(analysis: Mapping[str, Any]) -> list[str]:
    """Plain sentences, the verdict first; they say no more than the intervals carry.

    Args:
        analysis: of `analysis.analyse_study`.
    """
    pooled, readers = analysis["pooled"], analysis["readers"]
    many = len(readers) > 1
    who, they = ("Readers", "they") if many else ("The reader", "this reader")
    accuracy = pooled["accuracy"]
    sentences = [
        f"{who} told real from synthetic in {_with_interval(accuracy)} of cases; guessing gives "
        "50 %.",
        _judge(accuracy["interval_95"], pooled["guessing"], they, many),
    ]
    called = [
        f"{_with_interval(pooled[name])} of the {kind} slices"
        for name, kind in (("sensitivity", "synthetic"), ("specificity", "real"))
        if pooled[name]["of"]
    ]
    sentences.append(f"{who} recognised {' and '.join(called)} as such.")
    area = pooled["auc"]
    if area["area"] is not None:
        sentences.append(
            f"With how sure they were, the area under the ROC curve is {_decimal(area['area'])}"
            f"{_in_brackets(area['interval_95'], _decimal)}: 0.5 is guessing, 1 is never wrong."
        )
    if many:
        sentences += [_count_skilled(readers), *_describe_agreement(analysis["agreement"])]
    return sentences


def _judge(interval: Sequence[float] | None, p_value: float, they: str, many: bool) -> str:
    """Whether it is guessing: decided only where the interval and the exact test agree."""
    if interval is None:
        return f"Fewer than {LEAST_ANSWERS} answers decide nothing, so no interval is given."
    low, high = interval
    see, take = ("see", "take") if many else ("sees", "takes")
    if low > GUESSING and p_value < _LEVEL:
        return (
            "That is better than guessing: something tells these slices apart, and "
            f"{they} {see} it."
        )
    if high < GUESSING and p_value < _LEVEL:
        return (
            f"That is worse than guessing: {they} {see} a difference, but {take} the one kind for "
            "the other."
        )
    return (
        "Whether that is guessing is not decided: these answers go with no skill at all, and as "
        f"well with an accuracy of {_percent(high)} %. They do not show that real and synthetic "
        "slices can't be told apart."
    )


def _count_skilled(readers: Mapping[str, Mapping[str, Any]]) -> str:
    found = [
        reader
        for reader in readers.values()
        if reader["accuracy"]["interval_95"] and reader["guessing"] < _LEVEL
    ]
    better = sum(reader["accuracy"]["share"] > GUESSING for reader in found)
    worse = len(found) - better
    also = f", and {worse} worse" if worse else ""
    return (
        f"One by one, {better or 'none'} of {len(readers)} readers did better than guessing{also} "
        "(exact binomial test, 5 %). Of readers who only guess, one in forty does so by luck."
    )


def _describe_agreement(agreement: Mapping[str, Any]) -> list[str]:
    fleiss = agreement["fleiss"]
    if fleiss["kappa"] is None:
        return []
    return [
        f"On {_slices(fleiss['slices'])} that all readers answered, their agreement by Fleiss' "
        f"kappa is {_decimal(fleiss['kappa'])}: 1 is always alike, 0 is as alike as by chance."
    ]


def _describe_limits(analysis: Mapping[str, Any]) -> list[str]:
    """Sentences that the reader of the page has to know."""
    readers, pooled = analysis["readers"], analysis["pooled"]
    notes = [
        f"{name} answered {reader['answers']} of {_slices(analysis['slices'])} and is analysed by "
        "these."
        for name, reader in readers.items()
        if not reader["complete"]
    ]
    if analysis["real_subjects"] < analysis["slices"] // 2:
        notes.append(
            f"The real slices are of {analysis['real_subjects']} subjects. Slices of one subject "
            "are alike, which no interval here takes into account: with few subjects they are too "
            "narrow, and who remembers a head knows it again."
        )
    if len(readers) == 1:
        return [*notes, "This is one reader. Another one may see more, or less."]
    notes.append(
        "Answers of several readers to one slice are not independent. The intervals of all "
        "together come from drawing slices with all of their answers; they tell what other slices "
        "would change, not what other readers would. The test of all together takes the answers as "
        "independent, and so finds too much where the same slices mislead several readers."
    )
    if pooled["slices"] < _FEW_SLICES:
        notes.append(
            f"With {_slices(pooled['slices'])} the intervals of all together are rather too narrow "
            "than too wide."
        )
    return notes


def _rows(analysis: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any], bool]]:
    """(name, numbers, whether there are too few answers) of each reader, then of all together."""
    rows = [(name, reader, reader["complete"]) for name, reader in analysis["readers"].items()]
    return rows if len(rows) == 1 else [*rows, (_TOGETHER, analysis["pooled"], True)]


def _draw(analysis: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(title, caption, address) of each picture."""
    rows = [
        (_drawn_name(name, place), numbers)
        for place, (name, numbers, _) in enumerate(_rows(analysis), 1)
    ]
    curves = [(name, numbers["roc"]) for name, numbers in rows if numbers["roc"]]
    with TemporaryDirectory() as folder:
        pictures = []

        def add(title: str, caption: str, save: Any, *content: Any) -> None:
            path = Path(folder) / f"{len(pictures)}.png"
            save(path, *content)
            address = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
            pictures.append((title, caption, address))

        add(
            "How often they were right",
            "Each dot is the share of right answers, the bar its 95 % interval. A bar that crosses "
            "the dashed line goes with guessing.",
            save_intervals,
            [
                (name, 100 * numbers["accuracy"]["share"], _times_100(numbers["accuracy"]))
                for name, numbers in rows
            ],
            "right answers, %",
            (100 * GUESSING, "guessing"),
            (0, 100),
        )
        if curves:
            add(
                "With how sure they were",
                "ROC curves from ten steps, from surely real to surely synthetic. Guessing lies on "
                "the dashed line, readers who are never wrong go through the upper left corner.",
                save_roc,
                curves,
            )
        add(
            "Time for a slice",
            "Each dot is the median, the bar goes from the first to the third quartile.",
            save_intervals,
            [
                (name, numbers["seconds"]["median"], numbers["seconds"]["quartiles"])
                for name, numbers in rows
            ],
            "seconds",
        )
    return pictures


def _drawn_name(name: str, place: int) -> str:
    """A reader's name in a picture, or where it can't be drawn, its place in the table."""
    if max(name) > _LAST_DRAWN:
        return f"reader {place}"
    return name if len(name) <= _LONGEST_DRAWN else f"{name[: _LONGEST_DRAWN - 1]}…"


def _times_100(share: Mapping[str, Any]) -> list[float] | None:
    return share["interval_95"] and [100 * end for end in share["interval_95"]]


_METHODS = [
    ("Right answers, recognised slices", "Wilson's interval (1927); of fewer than 8 answers, none"),
    (
        "ROC curve",
        "ten steps of confidence; the area's interval by DeLong, DeLong and Clarke-Pearson (1988), "
        "none where nothing overlaps",
    ),
    ("Guessing", "two-sided exact binomial test against one half"),
    ("All together", "cluster bootstrap over slices, real and synthetic ones apart, percentiles"),
    ("Agreement", "kappa of Cohen (1960) of each two readers, of Fleiss (1971) of all"),
]


def _tabulate(analysis: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("title", analysis["title"]),
        ("slices", f"{analysis['slices']}, half of them real"),
        ("readers", str(len(analysis["readers"]))),
        ("seed of the readers' orders", str(analysis["study_seed"])),
        ("digest of the slices", analysis["digest"]),
        ("bootstrap", f"{analysis['resamples']:,} resamples, seed {analysis['bootstrap_seed']}"),
    ]


def _with_interval(share: Mapping[str, Any]) -> str:
    """'54 % (95 % interval 47 to 61 %)'."""
    interval = share["interval_95"]
    brackets = interval and f" (95 % interval {_percent(interval[0])} to {_percent(interval[1])} %)"
    return f"{_percent(share['share'])} %{brackets or ''}"


def _in_brackets(interval: Sequence[float] | None, show: Any) -> str:
    return f" (95 % interval {show(interval[0])} to {show(interval[1])})" if interval else ""


def _percent(share: float) -> str:
    """'54'; with a decimal where it would look like guessing, never or always, and is not."""
    rounded = round(100 * share)
    is_exact = abs(100 * share - rounded) < 1e-9
    return str(rounded) if is_exact or rounded not in (0, 50, 100) else f"{100 * share:.1f}"


def _decimal(value: float) -> str:
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")


def _p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _slices(count: int) -> str:
    return f"{count:,} slice{'' if count == 1 else 's'}"
