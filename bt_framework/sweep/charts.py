"""Pictures of a sweep: how a metric depends on what was varied. They need matplotlib, which is an extra.

>>> from bt_framework.sweep.charts import heatmap, save
>>> save(heatmap(sweep, "sharpe"), Path("sharpe.svg"))  # doctest: +SKIP
"""

from __future__ import annotations

import html
import io
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bt_framework.errors import ConfigError, StorageError
from bt_framework.sweep._chart_axes import Axis, axis_of, short
from bt_framework.sweep.objectives import objectives_of, refuse_unknown_metric
from bt_framework.sweep.reading import Sweep, defined_values

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".svg", ".png", ".html")

_ABSENT = "#e3e3e3"
_QUIET = "#666666"
_MOST_TEXTS = 200
"""Cells of a heatmap that have their value written in them."""

_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title>
<style>body{{margin:2em;font-family:sans-serif}} svg{{max-width:100%;height:auto}}</style></head>
<body>
{svg}
</body>
</html>
"""


def heatmap(sweep: Sweep, metric: str = "", axes: Sequence[str] = (), where: str = "") -> Figure:
    """Return a picture of the mean of a metric over all jobs that share two parameters.

    Parameters
    ----------
    sweep : Sweep
        Ended or under way.
    metric : str
        What is drawn; if empty, what the sweep looked for.
    axes : sequence of str
        The parameters across and up, or the first of them; if none are given, those with the most values. Of a number
        with many values equal parts of its range are drawn.
    where : str
        Which jobs, as in ``bt sweep show ID FILTER``: a fixed slice, such as ``latency==colo``.

    Raises
    ------
    ConfigError
        If there is no such metric, parameter or job, or matplotlib is not installed.
    """
    metric, columns, values = _data(sweep, metric, where)
    across, up = _chosen(columns, axes)
    counts = np.zeros((len(up.labels), len(across.labels)))
    sums = np.zeros_like(counts)
    is_defined = np.isfinite(values)
    np.add.at(counts, (up.places[is_defined], across.places[is_defined]), 1)
    np.add.at(sums, (up.places[is_defined], across.places[is_defined]), values[is_defined])
    means = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
    rest = [c.name for c in columns if c.name not in (across.name, up.name) and len(c.labels) > 1]
    note = f"mean over {', '.join(rest)}" if rest else ""
    figure, drawing = _figure(
        (2.6 + 0.62 * min(len(across.labels), 26), 2.2 + 0.42 * min(len(up.labels), 26)),
        f"{metric} by {across.name}" + (f" and {up.name}" if up.name else ""),
        _about(sweep, values, note, where),
    )
    _draw_cells(figure, drawing, means, minimize=_is_minimized(sweep, metric), label=metric)
    _label(drawing.xaxis, across, turn=max(map(len, across.labels)) > 6)
    _label(drawing.yaxis, up, turn=False)
    return figure


def parallel_coordinates(sweep: Sweep, metric: str = "", where: str = "") -> Figure:
    """Return a picture with a line per job through the values of its parameters, coloured by a metric.

    Jobs without a value of it are grey. See `heatmap` for the parameters and what is raised.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import LineCollection

    metric, columns, values = _data(sweep, metric, where)
    shown = [column for column in columns if len(column.labels) > 1] or columns
    merit = -values if _is_minimized(sweep, metric) else values
    merit = np.where(np.isfinite(merit), merit, -np.inf)
    heights = np.column_stack([*(column.spread(values) for column in shown), _heights(values)])
    order = np.argsort(merit, kind="stable")  # the best lines come last, above the others
    figure, drawing = _figure(
        (2.2 + 1.7 * (len(shown) + 1), 5.0),
        f"{metric} by {', '.join(short(column.name) for column in shown)}",
        _about(sweep, values, "", where),
    )
    lines = np.stack([np.broadcast_to(np.arange(len(shown) + 1.0), heights.shape), heights], axis=2)[order]
    colours, norm = _colours(values, "viridis_r" if _is_minimized(sweep, metric) else "viridis")
    drawn = LineCollection(
        [line[np.isfinite(line[:, 1])] for line in lines],
        linewidths=max(0.6, 2.5 - 0.5 * math.log10(len(values))),
        alpha=max(0.35, min(0.9, 25 / len(values) ** 0.5)),
        cmap=colours,
        norm=norm,
    )
    drawn.set_array(values[order])
    drawing.add_collection(drawn)
    _draw_axes(drawing, shown, metric, values)
    if np.isfinite(values).any():
        _draw_scale(figure, drawing, ScalarMappable(norm, colours), metric)
    return figure


def svg(figure: Figure) -> str:
    """Return a picture as an SVG element, for a page; the same bytes for the same picture."""
    import matplotlib as mpl

    text = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "bt"}), _without_glyph_warnings():
        figure.savefig(text, format="svg", metadata={"Date": None})
    content = text.getvalue().decode()
    return content[content.index("<svg") :]


def save(figure: Figure, path: Path) -> Path:
    """Write a picture into a file, whose name ends in one of `SUFFIXES`, and return it.

    Raises
    ------
    ConfigError
        If it ends in something else.
    StorageError
        If it cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ConfigError(f"a chart must be a file {', '.join(SUFFIXES)}, was {path}.")
    if suffix == ".png":
        image = io.BytesIO()
        with _without_glyph_warnings():
            figure.savefig(image, format="png", dpi=150, metadata={"Software": None})
        content = image.getvalue()
    elif suffix == ".html":
        title = html.escape(figure.get_suptitle())
        content = _PAGE.format(title=title, svg=svg(figure)).encode()
    else:
        content = svg(figure).encode()
    try:
        path.write_bytes(content)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}. Choose another file.") from None
    return path


def _data(sweep: Sweep, metric: str, where: str) -> tuple[str, list[Axis], np.ndarray]:
    """Return the metric, the parameters and the metric's values, NaN where undefined, of the jobs meant."""
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise ConfigError(
            "charts need matplotlib, which is not installed. Install it: pip install 'bt-framework[charts]'"
        )
    metric = metric or objectives_of(sweep.plan)[0].metric
    refuse_unknown_metric(metric, "the metric")
    table = sweep.select(where, sort="job")
    if not sweep.varied:
        raise ConfigError(
            f"a chart needs something that varies, but all jobs of sweep {sweep.sweep_id} are alike."
        )
    if not table.num_rows:
        raise ConfigError(f"a chart needs jobs, but none of sweep {sweep.sweep_id} is meant by {where!r}.")
    columns = [axis_of(name, defined_values(table, name)) for name in sweep.varied]
    values = np.array([math.nan if v is None else v for v in defined_values(table, metric)], np.float64)
    return metric, columns, np.where(np.isfinite(values), values, np.nan)


def _chosen(columns: Sequence[Axis], names: Sequence[str]) -> tuple[Axis, Axis]:
    """Return the parameters across and up; without a second one, all jobs are in one row."""
    from bt_framework.registry import unknown_name

    known = {column.name: column for column in columns}
    for name in names:
        if name not in known:
            raise ConfigError(unknown_name("an axis", name, known))
    if len(names) > 2 or len(set(names)) < len(names):
        raise ConfigError(f"a heatmap has two axes, which differ, was {', '.join(names)}.")
    others = sorted((c for c in columns if c.name not in names), key=lambda c: -len(c.labels))
    across, *rest = [*(known[name] for name in names), *others]
    return across, rest[0] if rest else axis_of("", [""] * len(across.places))


def _figure(size_in: tuple[float, float], title: str, about: str) -> tuple[Figure, Axes]:
    """Return an empty picture of a size in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(5.5, size_in[0]), size_in[1]), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold", parse_math=False)
    drawing = figure.add_subplot()
    drawing.set_title(about, loc="left", fontsize=8, color=_QUIET, parse_math=False)
    for spine in drawing.spines.values():
        spine.set_visible(False)
    return figure, drawing


def _about(sweep: Sweep, values: np.ndarray, note: str, where: str) -> str:
    jobs = f"{len(values):,} job{'s' * (len(values) != 1)}"
    undefined = len(values) - np.count_nonzero(np.isfinite(values))
    without = f"{undefined:,} of them without a value" if undefined else ""
    return ", ".join(part for part in (f"sweep {sweep.sweep_id}", jobs, without, note, where) if part)


def _colours(values: np.ndarray, name: str, *, signed: bool = False) -> tuple[Any, Any]:
    """Return the colours `name`, grey for what is undefined, and their scale; `signed`: 0 is midway."""
    from matplotlib import colormaps
    from matplotlib.colors import CenteredNorm, Normalize

    found = values[np.isfinite(values)]
    norm: Any = Normalize(*((found.min(), found.max()) if found.size else (0, 1)))
    if signed:
        norm = CenteredNorm(0, np.abs(found).max())
    return colormaps[name].with_extremes(bad=_ABSENT), norm


def _draw_scale(figure: Figure, drawing: Axes, colours: Any, metric: str) -> None:
    bar = figure.colorbar(colours, ax=drawing, fraction=0.05, pad=0.03)
    bar.outline.set_visible(False)
    bar.set_label(metric)


def _draw_cells(figure: Figure, drawing: Axes, means: np.ndarray, *, minimize: bool, label: str) -> None:
    """Draw a cell per value of `means`, shape (n_up, n_across): grey where there is none."""
    found = means[np.isfinite(means)]
    is_signed = found.size > 0 and found.min() < 0 < found.max()
    name = ("RdBu" if is_signed else "viridis") + ("_r" if minimize else "")
    colours, norm = _colours(means, name, signed=is_signed)
    image = drawing.imshow(means, cmap=colours, norm=norm, origin="lower", aspect="auto")
    drawing.set_xticks(np.arange(means.shape[1] + 1) - 0.5, minor=True)
    drawing.set_yticks(np.arange(means.shape[0] + 1) - 0.5, minor=True)
    drawing.grid(which="minor", color="white", linewidth=1 if means.size <= _MOST_TEXTS else 0.3)
    drawing.tick_params(which="both", length=0)
    if found.size:
        _draw_scale(figure, drawing, image, label)
    if means.size > _MOST_TEXTS:
        return
    for (row, column), value in np.ndenumerate(means):
        text, colour = "-", _QUIET
        if math.isfinite(value):
            red, green, blue, _ = colours(norm(value))
            text, colour = f"{value:.3g}", "white" if 0.3 * red + 0.6 * green + 0.1 * blue < 0.5 else "black"
        drawing.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)


def _draw_axes(drawing: Axes, shown: Sequence[Axis], metric: str, values: np.ndarray) -> None:
    """Draw an upright axis per parameter, and one for the metric, each from its smallest value up."""
    found = values[np.isfinite(values)]
    marks = (
        np.linspace(found.min(), found.max(), 6 if found.min() < found.max() else 1) if found.size else found
    )
    of_metric = [(float(height), f"{mark:.4g}") for height, mark in zip(_heights(marks), marks, strict=True)]
    ticks = [*(axis.ticks for axis in shown), of_metric]
    for place, row in enumerate(ticks):
        drawing.plot([place, place], [0, 1], color=_QUIET, linewidth=0.8)
        for height, text in row:
            drawing.plot([place - 0.015, place], [height, height], color=_QUIET, linewidth=0.8)
            drawing.annotate(
                text,
                (place, height),
                (-4, 0),
                textcoords="offset points",
                fontsize=7,
                ha="right",
                va="center",
                parse_math=False,
                bbox={"facecolor": "white", "alpha": 0.75, "pad": 0.5, "lw": 0},
            )
    drawing.set_xticks(
        range(len(ticks)), [short(a.name) for a in shown] + [metric], fontsize=8, parse_math=False
    )
    drawing.xaxis.tick_bottom()
    drawing.tick_params(length=0)
    drawing.set_yticks([])
    drawing.set_xlim(-0.45, len(ticks) - 0.9)
    drawing.set_ylim(-0.04, 1.04)


def _label(side: Any, axis: Axis, *, turn: bool) -> None:
    """Write the labels of `axis`, as many as there is room for."""
    step = math.ceil(len(axis.labels) / 40)
    side.set_ticks(range(0, len(axis.labels), step))
    side.set_ticklabels(axis.labels[::step], fontsize=7, rotation=45 if turn else 0, parse_math=False)
    if turn:
        for text in side.get_ticklabels():
            text.set(ha="right", rotation_mode="anchor")
    side.set_label_text(short(axis.name), fontsize=9, parse_math=False)


def _heights(values: np.ndarray) -> np.ndarray:
    """Return where values are between the smallest (0) and the largest (1); the middle if there is only one."""
    found = values[np.isfinite(values)]
    if not found.size or found.min() == found.max():
        return np.where(np.isfinite(values), 0.5, np.nan)
    heights: np.ndarray = (values - found.min()) / (found.max() - found.min())
    return heights


def _is_minimized(sweep: Sweep, metric: str) -> bool:
    return any(o.metric == metric and o.minimize for o in objectives_of(sweep.plan))


def _without_glyph_warnings() -> Any:
    """Text in a script that the font lacks is drawn as boxes, without a warning for each."""
    return warnings.catch_warnings(action="ignore", category=UserWarning)
