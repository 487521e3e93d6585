"""Pictures for people: grids of slices, curves and films of training. The only home of matplotlib.

It is imported with the first picture: as soon as it is, it writes a list of fonts into the folder
named by MPLCONFIGDIR, which a script knows only once it has read its flags.
"""

import io
import itertools
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from brainsynth_jax.files import write_atomically

_DARK, _WHITE = 24, 255
_GAP_PIXELS = 2
_MIN_TILE_PIXELS = 192  # on screen: smaller images are enlarged by whole pixels
_DPI = 128
_TITLE_PIXELS = 30
_FONT_PIXELS = 15

_FILM_SIDE = 800  # pixels; a sheet of six enlarged slices is halved back to its own pixels
_FILM_FRAMES = 40
_FILM_LEVELS = 16  # of grey: noise in fainter ones would be most of a film's size
_LAST_FRAME_SECONDS = 2.0


class Panel(NamedTuple):
    """One of the small multiples of `save_curves`.

    A name goes to the first panel that it fits, and stands there in the patterns' order, so that
    A comes before B before their sum, each in the same colour everywhere.

    Attributes:
        title: says what is drawn.
        names: patterns of the records' names, in lower case.
        reference: a level to draw for comparison, and what it means.
        limits: of the values, where all have the same; None: as the values are.
        dots: whether each value is drawn as it is, not as one of a noisy series.
    """

    title: str
    names: tuple[str, ...]
    reference: tuple[float, str] | None = None
    limits: tuple[float, float] | None = None
    dots: bool = False


CYCLEGAN_PANELS = (
    Panel("Whole-tumour Dice", ("*dice*",), limits=(0, 1), dots=True),
    Panel("Generators: adversarial + cycle", ("gen_*", "gen")),
    Panel("Generators: adversarial only", ("adv_*",), (1.0, "the discriminator has won")),
    Panel("Cycle and identity", ("cycle*", "identity*")),
    Panel("Discriminators", ("dis_a", "dis_b", "dis"), (0.25, "one can't tell real from fake")),
    Panel("Discriminators, by image", ("dis_*",), (0.25, "one can't tell real from fake")),
    Panel("Others", ("*",)),
)
DCGAN_PANELS = (
    Panel("Kernel distance", ("kid", "kid_test", "kid_real"), dots=True),
    Panel("Likeness of two slices (MS-SSIM)", ("ms_ssim_*",), limits=(0, 1), dots=True),
    Panel(
        "Distance to training slices",
        ("nearest_ratio",),
        (1.0, "as held-out slices"),
        dots=True,
    ),
    Panel("Up-sampling grid", ("grid_ratio",), (1.0, "as in real slices"), dots=True),
    Panel("Discriminator's gap", ("critic_gap_*",), (0.0, "no difference"), dots=True),
    Panel("Mean scores in training", ("score_*",)),
    Panel("Losses", ("gen", "dis")),
    Panel("Gradient penalty", ("penalty",)),
    Panel("Strength of the augmentation", ("augment_strength",), limits=(0, 1)),
    Panel("Others", ("*",)),
)
_NO_LOSS = ("step", "epoch", "learning_rate*", "seconds*", "*seconds", "*_per_second", "*memory*")
# Okabe and Ito 2008, and two greys.
_COLORS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#404040", "#999999"),
)


def save_sample_grid(
    path: Path,
    rows: Sequence[Sequence[np.ndarray]],
    column_titles: Sequence[str],
    row_titles: Sequence[str] | None = None,
) -> None:
    """Writes a PNG of grey images in the layout of the CycleGAN paper's figures 12 to 15.

    `rows` holds one image (H, W) float in [-1, 1] for each of `column_titles`, all of one shape;
    -1 is black, 1 white. Each image pixel becomes one screen pixel, or a square of k x k where
    images are small, without interpolation. Raises ValueError where a row has other lengths or
    shapes, UserError where the file can't be written.
    """
    columns = len(column_titles)
    if 0 in (columns, len(rows)) or any(len(row) != columns for row in rows):
        raise ValueError(
            f"Each row needs {columns} images, one a column title, "
            f"got rows of {[len(row) for row in rows]}."
        )
    images = np.stack([np.stack(row) for row in rows])  # (rows, columns, H, W)
    scale = -(-_MIN_TILE_PIXELS // max(images.shape[2:]))
    tiles = _to_grey_levels(images).repeat(scale, axis=2).repeat(scale, axis=3)
    mosaic = _join(tiles)

    longest = max(
        (len(line) for title in row_titles or () for line in title.split("\n")), default=0
    )
    left = longest * 2 * _FONT_PIXELS // 3 + _FONT_PIXELS if row_titles else 0
    top = _TITLE_PIXELS if any(column_titles) else 0
    height, width = top + mosaic.shape[0], left + mosaic.shape[1]
    page = np.full((height, width), _DARK, np.uint8)
    page[top:, left:] = mosaic

    # `figimage` doesn't resample. Dividing by a power of two is exact, so no pixel is rounded away.
    figure = _new_figure(width / _DPI, height / _DPI)
    figure.figimage(np.repeat(page[..., None], 3, axis=-1))
    style = {"color": "white", "fontsize": _FONT_PIXELS * 72 / _DPI, "ha": "center", "va": "center"}
    tile_height, tile_width = tiles.shape[2:]
    for column, title in enumerate(column_titles):
        x = left + _GAP_PIXELS + column * (tile_width + _GAP_PIXELS) + tile_width / 2
        figure.text(x / width, 1 - top / 2 / height, title, **style)
    for row, title in enumerate(row_titles or ()):
        y = top + _GAP_PIXELS + row * (tile_height + _GAP_PIXELS) + tile_height / 2
        figure.text(left / 2 / width, 1 - y / height, title, **style)
    _save(path, figure)


def save_curves(
    path: Path, records: Sequence[Mapping[str, float]], panels: Sequence[Panel]
) -> None:
    """Writes a PNG of small multiples: every named value over the steps, raw and smoothed.

    `panels` say where a name goes; a panel that nothing fits is left out. `records` are the objects
    of `metrics.jsonl`: each has `step` and any of the named values; records may lack names that
    others have, and values that are None or not finite are left out. Of records with one step and
    name the last counts. A panel whose smoothed values span more than a factor of 100 has a
    logarithmic axis. Raises UserError where the file can't be written.
    """
    groups = _group(_to_series(records), panels)
    columns = min(2, max(1, len(groups)))
    lines = max(1, -(-len(groups) // columns))
    figure = _new_figure(5.625 * columns, 3.0 * lines, layout="constrained")
    if not groups:
        figure.text(0.5, 0.5, "Nothing was logged yet.", ha="center", va="center")
    for place, (panel, series) in enumerate(groups):
        _draw_panel(figure.add_subplot(lines, columns, place + 1), panel, series)
    _save(path, figure)


def save_dice_curves(
    path: Path,
    curves: Mapping[str, Sequence[tuple[int, float, Sequence[float] | None]]],
    dashed: Sequence[str] = (),
) -> None:
    """Writes a PNG of Dice against the number of annotated subjects, a line for each name.

    Args:
        path: of the picture.
        curves: name -> points of (subjects, Dice, its interval [low, high] or None).
        dashed: names of lines that are baselines.

    Raises:
        UserError: the file can't be written.
    """
    figure = _new_figure(8.0, 4.6, layout="constrained")
    axes = figure.add_subplot()
    counts = sorted({point[0] for points in curves.values() for point in points})
    for number, (name, color) in enumerate(zip(curves, itertools.cycle(_COLORS), strict=False)):
        # Beside each other, so that the intervals can be seen.
        places = [
            counts.index(point[0]) + 0.05 * (number - len(curves) / 2) for point in curves[name]
        ]
        values = [point[1] for point in curves[name]]
        style = "--" if name in dashed else "-"
        axes.plot(places, values, "o", linestyle=style, color=color, markersize=4, label=name)
        for place, (_, _, interval) in zip(places, curves[name], strict=True):
            if interval:
                axes.plot([place, place], interval, color=color, alpha=0.45, linewidth=1.6)
    axes.set_xticks(range(len(counts)), [str(count) for count in counts])
    axes.set_xlabel("annotated subjects to train on", fontsize=9)
    axes.set_ylabel("whole-tumour Dice, held-out subjects", fontsize=9)
    axes.set_ylim(0, 1)
    axes.tick_params(labelsize=9)
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, frameon=False)
    _save(path, figure)


def save_intervals(
    path: Path,
    rows: Sequence[tuple[str, float, Sequence[float] | None]],
    meaning: str,
    reference: tuple[float, str] | None = None,
    limits: tuple[float, float] | None = None,
) -> None:
    """Writes a PNG of one value a row, each with its interval, under each other.

    Args:
        path: of the picture.
        rows: (name, value, its interval [low, high] or None); where there are several, the last is
            all of them together, and set apart.
        meaning: of the values, with their unit.
        reference: a value to draw for comparison, and what it means.
        limits: of the values; None: from 0 on.

    Raises:
        UserError: the file can't be written.
    """
    figure = _new_figure(5.4, 1.0 + 0.32 * (len(rows) + (len(rows) > 1)), layout="constrained")
    axes = figure.add_subplot()
    places = [*range(len(rows) - 1), len(rows) - 0.5] if len(rows) > 1 else [0]
    for place, (_, value, interval) in zip(places, rows, strict=True):
        color = _COLORS[0] if place == int(place) else _COLORS[1]
        if interval:
            axes.plot(interval, [place, place], color=color, alpha=0.45, linewidth=4)
        axes.plot([value], [place], "o", color=color, markersize=6)
    if reference:
        level, words = reference
        axes.axvline(level, color="0.45", linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
        axes.set_title(words, x=0.5, fontsize=9, color="0.35")
    axes.set_yticks(places, [_without_formulas(name) for name, _, _ in rows])
    axes.set_ylim(places[-1] + 0.6, -0.6)
    axes.set_xlim(*(limits or (0, None)))
    axes.set_xlabel(meaning, fontsize=10)
    axes.tick_params(labelsize=10)
    axes.grid(axis="x", color="0.9", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    _save(path, figure)


def save_roc(path: Path, curves: Sequence[tuple[str, Sequence[Sequence[float]]]]) -> None:
    """Writes a PNG of ROC curves, with the line on which guessing lies.

    Args:
        path: of the picture.
        curves: (name, points of false and true positive rates from (0, 0) to (1, 1)); where there
            are several, the last is all of them together, and drawn bold.

    Raises:
        UserError: the file can't be written.
    """
    lines = -(-len(curves) // 2)
    figure = _new_figure(5.4, 5.2 + 0.22 * lines, layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="0.45", linewidth=0.9, linestyle=(0, (4, 3)))
    drawn = []
    for number, ((_, points), color) in enumerate(
        zip(curves, itertools.cycle(_COLORS[:-2]), strict=False)
    ):
        bold = len(curves) > 1 and number == len(curves) - 1
        style = {"color": "black", "linewidth": 2.4} if bold else {"color": color, "linewidth": 1.3}
        drawn += axes.plot(*zip(*points, strict=True), "o-", markersize=3, **style)
    axes.set_aspect("equal")
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("real slices called synthetic", fontsize=10)
    axes.set_ylabel("synthetic slices called synthetic", fontsize=10)
    axes.tick_params(labelsize=10)
    axes.grid(color="0.9", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    names = [_without_formulas(name) for name, _ in curves]
    figure.legend(
        drawn,
        names,
        loc="outside lower center",
        fontsize=9,
        frameon=False,
        ncols=min(2, len(names)),
    )
    _save(path, figure)


def save_growth(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Draws a benchmark's times and memory against what was changed, both axes logarithmic.

    A dashed line says what the time would be if it went with the operations alone, as it does at
    its right end.

    Args:
        path: .png file to write.
        records: one a measurement, with `name`, `changed` (the name of one of its other values),
            that value, `seconds_median`, `flops` and `peak_memory_mib`.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    changes = list(dict.fromkeys(record["changed"] for record in records))
    names = list(dict.fromkeys(record["name"] for record in records))
    figure = _new_figure(3.6 * len(changes), 6.4, layout="constrained")
    axes = figure.subplots(2, len(changes), squeeze=False, sharey="row", sharex="col")
    for column, changed in enumerate(changes):
        for name, color in zip(names, itertools.cycle(_COLORS), strict=False):
            mine = [r for r in records if (r["name"], r["changed"]) == (name, changed)]
            mine.sort(key=lambda record: record[changed])
            values = [record[changed] for record in mine]
            seconds = [record["seconds_median"] for record in mine]
            rate = seconds[-1] / mine[-1]["flops"] if mine else 0.0
            time, memory = axes[:, column]
            time.plot(values, seconds, "o-", color=color, label=name)
            time.plot(values, [rate * r["flops"] for r in mine], "--", color=color, linewidth=1)
            memory.plot(values, [r["peak_memory_mib"] for r in mine], "o-", color=color)
        ticks = sorted({record[changed] for record in records if record["changed"] == changed})
        for axis in axes[:, column]:
            axis.set_xscale("log", base=2)
            axis.set_yscale("log")
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.yaxis.set_major_formatter("{x:,g}")
            axis.yaxis.set_minor_formatter(NullFormatter())
            axis.set_xticks(ticks, [str(tick) for tick in ticks])
            axis.grid(alpha=0.3)
        axes[1, column].set_xlabel(changed.replace("_", " "))
    axes[0, 0].set_ylabel("seconds a step")
    axes[1, 0].set_ylabel("peak memory, MiB")
    axes[0, 0].legend(fontsize="small", title="dashed: as the operations", title_fontsize="small")
    _save(path, figure)


def save_film(path: Path, pngs: Sequence[Path], seconds: float) -> None:
    """Writes an animated GIF of grey pictures, shown over and over.

    Pictures of more than 800 pixels a side are made smaller by a whole number; of more than 40,
    40 are taken, evenly spread, the first and the last among them.

    Args:
        path: of the film; with fewer than two pictures nothing is written.
        pngs: equally sized pictures, in order.
        seconds: how long the film runs, the 2 s for which it holds its last picture not counted.

    Raises:
        ValueError: pictures of different sizes.
        UserError: the file can't be written.
    """
    if len(pngs) < 2:
        return
    chosen = np.linspace(0, len(pngs) - 1, min(len(pngs), _FILM_FRAMES)).round().astype(int)
    frames = [_load_frame(pngs[number]) for number in chosen]
    if len(sizes := {frame.size for frame in frames}) > 1:
        raise ValueError(f"Pictures of one size are needed, got {sorted(sizes)}.")
    durations = np.full(len(frames), seconds / len(frames))
    durations[-1] += _LAST_FRAME_SECONDS
    content = io.BytesIO()
    frames[0].save(
        content,
        format="gif",
        save_all=True,
        append_images=frames[1:],
        duration=(durations * 1000).round().astype(int).tolist(),
        loop=0,
    )
    write_atomically(path, content.getvalue())


def _load_frame(png: Path) -> Image.Image:
    with Image.open(png) as image:
        grey = image.convert("L")
    grey = grey.reduce(-(-max(grey.size) // _FILM_SIDE))
    step = 255 / (_FILM_LEVELS - 1)
    return grey.point([round(round(level / step) * step) for level in range(256)])


def _to_grey_levels(images: np.ndarray) -> np.ndarray:
    return np.round((np.clip(images, -1, 1) + 1) * 127.5).astype(np.uint8)


def _join(tiles: np.ndarray) -> np.ndarray:
    """Sets tiles (rows, columns, h, w) into one picture with thin white gaps around each."""
    gap = _GAP_PIXELS
    padded = np.pad(tiles, ((0, 0), (0, 0), (gap, 0), (gap, 0)), constant_values=_WHITE)
    rows, columns, height, width = padded.shape
    joined = padded.transpose(0, 2, 1, 3).reshape(rows * height, columns * width)
    return np.pad(joined, ((0, gap), (0, gap)), constant_values=_WHITE)


def _to_series(records: Sequence[Mapping[str, float]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Turns records into {name: (steps, values)}, both sorted by step."""
    points: dict[str, dict[float, float]] = {}
    for record in records:
        for name, value in record.items():
            wanted = not any(fnmatchcase(name.lower(), pattern) for pattern in _NO_LOSS)
            if wanted and isinstance(value, int | float) and np.isfinite(value):
                points.setdefault(name, {})[record["step"]] = value
    return {
        name: (np.array(sorted(values)), np.array([values[step] for step in sorted(values)]))
        for name, values in points.items()
    }


def _group(
    series: Mapping[str, tuple[np.ndarray, np.ndarray]], panels: Sequence[Panel]
) -> list[tuple[Panel, dict[str, tuple[np.ndarray, np.ndarray]]]]:
    """Returns (panel, {name: series}) for each panel that has anything to show."""
    left, groups = dict(series), []
    for panel in panels:
        names = [
            name for pattern in panel.names for name in left if fnmatchcase(name.lower(), pattern)
        ]
        if names:
            groups.append((panel, {name: left.pop(name) for name in names}))
    return groups


def _draw_panel(axes, panel: Panel, series: Mapping) -> None:
    from matplotlib.ticker import EngFormatter, MaxNLocator

    trend = np.concatenate([_smooth(values) for _, values in series.values()])
    logarithmic = not panel.limits and trend.min() > 0 and trend.max() > 100 * trend.min()
    for name, color in zip(series, itertools.cycle(_COLORS), strict=False):
        steps, values = series[name]
        if panel.dots or len(values) < 8:
            axes.plot(steps, values, "o-", color=color, markersize=3.5, linewidth=1.4, label=name)
        else:
            axes.plot(steps, values, color=color, alpha=0.22, linewidth=0.7)
            axes.plot(steps, _smooth(values), color=color, linewidth=1.6, label=name)
    if panel.reference and not (logarithmic and panel.reference[0] <= 0):
        level, meaning = panel.reference
        axes.axhline(level, color="0.45", linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
        axes.annotate(
            f"{level:g}: {meaning}",
            (0.01, level),
            xycoords=("axes fraction", "data"),
            xytext=(0, 2),
            textcoords="offset points",
            fontsize=7,
            color="0.35",
        )
    axes.set_title(panel.title + (" (logarithmic)" if logarithmic else ""), loc="left", fontsize=10)
    if panel.limits:
        axes.set_ylim(*panel.limits)
    elif logarithmic:
        axes.set_yscale("log")
    else:
        lowest = min(values.min() for _, values in series.values())
        axes.set_ylim(bottom=0 if lowest >= 0 else None)
    axes.set_xlabel("step", fontsize=8)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.tick_params(labelsize=8)
    axes.grid(color="0.9", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    # Beside the title, where it hides no data.
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1, 1),
        borderaxespad=0.2,
        fontsize=8,
        frameon=False,
        ncols=len(series) if len(series) < 4 else 2,
    )


def _smooth(values: np.ndarray) -> np.ndarray:
    """Centred running mean over a fifteenth of the run, over fewer points towards its ends."""
    half = max(1, len(values) // 30)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    centre = np.arange(len(values))
    first, last = np.maximum(centre - half, 0), np.minimum(centre + half + 1, len(values))
    return (sums[last] - sums[first]) / (last - first)


def _without_formulas(name: str) -> str:
    """A name as matplotlib draws it letter by letter, and lists it: no $ that opens a formula."""
    return (" " if name.startswith("_") else "") + name.replace("$", r"\$")


def _new_figure(width_inches: float, height_inches: float, **settings: Any) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width_inches, height_inches), dpi=_DPI, **settings)


def _save(path: Path, figure: Any) -> None:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    write_atomically(path, content.getvalue())
