"""Charts of sweeps: what they show is what the table says, and any sweep has one."""

from __future__ import annotations

import importlib.util
import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sweep_folders import made_sweep

from bt_framework.errors import ConfigError, StorageError
from bt_framework.sweep._chart_axes import axis_of, shortened
from bt_framework.sweep.charts import heatmap, parallel_coordinates, save, svg
from bt_framework.sweep.reading import Sweep

Z = [f"{1 + i / 4}" for i in range(5)]
GRID = {"strategy.entry_z": Z, "latency": ["colo", "retail"], "queue": ["risk_averse", "power_prob"]}
FILES = {"data.files": [f"[/data/{'x' * 60}/{name}usdt.gz]" for name in ("btc", "$e_t^h$", "größer 量")]}
MANY = {
    "strategy.entry_z": [f"{1 + i / 50:.2f}" for i in range(100)],
    "capital": [str(10**n) for n in range(10)],
}


def value(job) -> float | None:
    return None if job.number % 7 == 3 else math.sin(job.number)


@pytest.fixture
def sweep(tmp_path) -> Sweep:
    """A grid of 20 jobs, some without a value."""
    return Sweep(made_sweep(tmp_path, GRID, value))


def cells(figure) -> np.ndarray:
    """What a heatmap is drawn of, NaN where there is nothing."""
    (image,) = figure.axes[0].get_images()
    return np.ma.filled(image.get_array().astype(float), np.nan)


def test_a_cell_is_the_mean_over_the_other_parameters_of_what_is_defined(sweep):
    expected = np.full((2, 5), np.nan)
    for row in range(2):
        for column in range(5):
            found = [value(job) for job in sweep.jobs if job.number // 2 == column * 2 + row]
            found = [v for v in found if v is not None]
            expected[row, column] = np.mean(found) if found else np.nan
    figure = heatmap(sweep)
    np.testing.assert_allclose(cells(figure), expected)
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["1", "1.25", "1.5", "1.75", "2"]
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["colo", "retail"]
    assert "20 jobs, 3 of them without a value, mean over queue" in figure.axes[0].get_title(loc="left")


def test_a_filter_takes_a_slice_and_axes_are_chosen(sweep):
    figure = heatmap(sweep, "trades", ["queue", "latency"], "strategy.entry_z==1.25")
    np.testing.assert_allclose(cells(figure), [[4, 5], [6, 0]])
    assert figure.get_suptitle() == "trades by queue and latency"


def test_one_parameter_is_one_row_and_one_job_one_cell(tmp_path):
    one = heatmap(Sweep(made_sweep(tmp_path / "a", {"strategy.entry_z": Z})))
    np.testing.assert_allclose(cells(one), [[0, 1, 2, 3, 4]])
    single = heatmap(Sweep(made_sweep(tmp_path / "b", {"strategy.entry_z": ["1"]}, lambda job: 1.25)))
    np.testing.assert_allclose(cells(single), [[1.25]])
    assert "1 job" in single.axes[0].get_title(loc="left")


def test_many_values_of_a_number_are_parts_of_its_range(tmp_path):
    figure = heatmap(Sweep(made_sweep(tmp_path, MANY)))
    assert cells(figure).shape == (10, 24)
    assert np.isfinite(cells(figure)).all()


@pytest.mark.parametrize(
    ("values", "result_of"),
    [
        (GRID, value),
        (GRID, lambda job: None),
        (GRID, lambda job: "no data"),
        ({"strategy.entry_z": ["1"]}, lambda job: 1.25),
        ({"latency": ["colo"]}, lambda job: None),
        ({"latency": ["colo", "null"], "z": ["1", "null"]}, value),
        (FILES, value),
        (MANY, value),
    ],
    ids=["grid", "undefined", "failed", "one_job", "one_job_undefined", "null", "long_names", "1000_jobs"],
)
def test_every_sweep_has_charts(tmp_path, values, result_of):
    made = Sweep(made_sweep(tmp_path, values, result_of))
    for draw in (heatmap, parallel_coordinates):
        assert ET.fromstring(svg(draw(made))).tag.endswith("svg")


def test_the_same_chart_is_the_same_bytes(sweep):
    assert svg(heatmap(sweep)) == svg(heatmap(sweep))


def test_lines_go_through_the_values_of_their_jobs_the_best_on_top(tmp_path):
    made = Sweep(made_sweep(tmp_path, {"z": Z}, lambda job: [3.0, None, -1.0, 7.0, 1.0][job.number]))
    (lines,) = parallel_coordinates(made).axes[0].collections
    ends = [segment[:, 1].tolist() for segment in lines.get_segments()]
    assert ends == [[0.25], [0.5, 0.0], [1.0, 0.25], [0.0, 0.5], [0.75, 1.0]]


@pytest.mark.parametrize("suffix", [".svg", ".png", ".html"])
def test_a_chart_is_written_as_its_name_says(tmp_path, sweep, suffix):
    path = save(heatmap(sweep), tmp_path / f"chart{suffix}")
    content = path.read_bytes()
    assert content.startswith({".svg": b"<svg", ".png": b"\x89PNG", ".html": b"<!doctype html>"}[suffix])
    assert suffix == ".png" or b"<svg" in content


def test_what_cannot_be_drawn_is_refused(tmp_path, sweep, monkeypatch):
    refusals = [
        (lambda: heatmap(sweep, "sharp"), "the metric must be one of .*, was 'sharp'"),
        (lambda: heatmap(sweep, axes=["latencies"]), "an axis must be one of .*, was 'latencies'"),
        (lambda: heatmap(sweep, axes=["latency"] * 2), "a heatmap has two axes, which differ"),
        (
            lambda: heatmap(sweep, where="job>99"),
            "a chart needs jobs, but none of sweep .* is meant by 'job>99'",
        ),
        (lambda: heatmap(Sweep(made_sweep(tmp_path / "x", {}))), "a chart needs something that varies"),
        (lambda: save(heatmap(sweep), tmp_path / "x.gif"), r"must be a file .svg, .png, .html, was .*x.gif"),
    ]
    for draw, message in refusals:
        with pytest.raises(ConfigError, match=message):
            draw()
    with pytest.raises(StorageError, match="cannot be written: No such file"):
        save(heatmap(sweep), tmp_path / "none" / "x.svg")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'bt-framework\[charts\]'"):
        heatmap(sweep)


_VALUES = st.one_of(st.none(), st.integers(-(10**6), 10**6), st.floats(-1e9, 1e9), st.text(max_size=40))


@given(st.lists(_VALUES, min_size=1, max_size=60))
def test_equal_values_share_a_place_and_different_ones_do_not_unless_they_are_parts_of_a_range(values):
    axis = axis_of("x", values)
    assert len(axis.places) == len(axis.heights) == len(values)
    assert axis.places.min() >= 0
    assert axis.places.max() < len(axis.labels)
    assert axis.heights.min() >= 0
    assert axis.heights.max() <= 1
    places = dict(zip(values, axis.places.tolist(), strict=True))
    assert [places[v] for v in values] == axis.places.tolist()
    if len(places) <= 40 or any(isinstance(v, str | None) for v in values):
        assert len(set(places.values())) == len(places)
    assert np.abs(axis.spread(np.arange(len(values), dtype=float)) - axis.heights).max() <= 0.04


def test_long_labels_that_differ_in_the_middle_are_numbered():
    labels = [f"{'a' * 20}{middle * 20}{'c' * 20}" for middle in "xy"]
    assert shortened([*labels, "colo"])[1:] == ("2: aaaaaaaaaaaaa…ccccccccccccc", "3: colo")


@given(st.lists(st.text(max_size=80), min_size=1, max_size=8, unique=True))
def test_short_labels_are_as_different_as_the_long_ones(labels):
    found = shortened(labels)
    assert len(set(found)) == len(labels)
    assert all(len(label) <= 40 for label in found)
