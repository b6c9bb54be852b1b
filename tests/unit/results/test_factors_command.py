"""What a run's benchmarks explain, on runs and bars whose truth is known."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bt_framework.bars.schema import BAR_SCHEMA, BarFlag
from bt_framework.bars.store import BarStore
from bt_framework.cli.main import main
from bt_framework.errors import ConfigError, DataError
from bt_framework.research.attribution import AttributionOptions, attribute
from bt_framework.results.folder import RunFolder, finish, start
from bt_framework.results.schemas import RECORDS, to_arrow
from bt_framework.stats.factors import Neutrality, factor_regression
from bt_plugins.stores.sqlite import SqliteStore

MINUTE_NS = 60_000_000_000
START_TS = 1_723_161_600_000_000_000
BARS = 300
RUN_ID = "20240809-120000-abc123"


def bars_of(symbol, prices, **columns):
    """Minute bars with these closes, the first of which is known at `START_TS`."""
    opens = [
        datetime.fromtimestamp(START_TS // 10**9 - 60, UTC) + timedelta(minutes=i) for i in range(len(prices))
    ]
    values = dict.fromkeys(("open", "high", "low", "close"), prices)
    values |= {"symbol": [symbol] * len(prices), "datetime": opens, "volume": np.ones(len(prices))}
    values |= {"adj_factor": np.ones(len(prices)), "outlier_flag": np.zeros(len(prices), int), **columns}
    return pa.table({name: values[name] for name in BAR_SCHEMA.names}, schema=BAR_SCHEMA)


class Scene:
    """A run in `folder` that holds parts of two benchmarks whose bars are stored, with noise of its own."""

    def __init__(self, folder, make_run, make_summary, seed=1, **changes):
        rng = np.random.default_rng(seed)
        self.returns = 1e-3 * rng.normal(size=(BARS, 2))
        self.prices = 100.0 * np.cumprod(np.vstack((np.ones(2), 1.0 + self.returns)), axis=0)
        self.bars = BarStore(folder / "store" / "bars")
        for name, prices in zip(("AAA", "BBB"), self.prices.T, strict=True):
            self.bars.replace("minutes", bars_of(name, prices), interval_ns=MINUTE_NS)
        end_ts = START_TS + BARS * MINUTE_NS
        self.run = make_run(folder / "runs", RUN_ID, start_ts=START_TS, end_ts=end_ts, **changes)
        start(self.run)
        self.record = finish(self.run, make_summary(local_ts=end_ts))
        self.folder = RunFolder(self.run.run_dir)
        self.noise = 1e-4 * rng.normal(size=BARS)

    def earn(self, returns, offset_ns=0):
        """Write equity samples of each minute: `returns` of the capital, half of it in each instrument."""
        profit = np.concatenate(([0.0], np.cumsum(returns))) * self.run.capital
        rows = np.zeros(2 * (BARS + 1), RECORDS["equity"])
        rows["local_ts"] = START_TS + offset_ns + np.repeat(np.arange(BARS + 1), 2) * MINUTE_NS
        rows["asset"], rows["equity"] = np.tile([0, 1], BARS + 1), np.repeat(profit / 2, 2)
        pq.write_table(to_arrow("equity", rows, self.run), self.run.run_dir / "equity.parquet")
        return self

    def attributed(self, *names, **options):
        """Attribute the run to benchmarks of the source."""
        wanted = [name if ":" in name else f"minutes:{name}" for name in names]
        return attribute(self.folder, self.bars, wanted, AttributionOptions(**options))


@pytest.fixture
def scene(tmp_path, make_run, make_summary):
    """Make the scene of a run that has earned nothing yet."""
    return Scene(tmp_path, make_run, make_summary)


def test_what_a_run_holds_of_its_benchmarks_is_found(scene):
    earned = 2e-5 + scene.returns @ [0.5, -0.2] + scene.noise
    found = scene.earn(earned).attributed("AAA", "BBB", window=60)
    expected = factor_regression(earned, scene.returns)
    assert [b.name for b in found.fit.betas] == ["minutes:AAA", "minutes:BBB"]
    assert [b.value for b in found.fit.betas] == pytest.approx([b.value for b in expected.betas], rel=1e-9)
    assert [b.t for b in found.fit.betas] == pytest.approx([b.t for b in expected.betas], rel=1e-8)
    assert found.fit.alpha.value == pytest.approx(expected.alpha.value, rel=1e-7)
    assert found.fit.betas[0].value == pytest.approx(0.5, abs=0.03)
    assert found.fit.alpha_annual == pytest.approx(found.fit.alpha.value * 365 * 24 * 60)
    assert (found.fit.n, found.times_ns[0], found.times_ns[-1]) == (
        BARS,
        START_TS,
        START_TS + BARS * MINUTE_NS,
    )
    assert found.verdict is Neutrality.EXPOSED
    assert found.sentence.startswith(
        "not market neutral: at 95% a beta differs from 0 and may be beyond 0.1 (minutes:"
    )
    assert np.isnan(found.rolling[:59]).all()
    assert np.nanmin(found.rolling[:, 0]) < 0.5 < np.nanmax(found.rolling[:, 0])


@pytest.mark.parametrize(
    ("beta", "noise", "verdict", "words"),
    [
        (0.0, 1.0, Neutrality.NEUTRAL, "market neutral: at 95% no beta differs from 0 or is beyond 0.1"),
        (
            0.05,
            0.1,
            Neutrality.SLIGHT,
            "slightly exposed: at 95% a beta differs from 0, but none is beyond 0.1",
        ),
        (
            0.0,
            100.0,
            Neutrality.UNDECIDED,
            "undecided: at 95% no beta differs from 0, but one may be beyond 0.1",
        ),
    ],
)
def test_the_verdict_says_what_the_interval_does(scene, beta, noise, verdict, words):
    found = scene.earn(beta * scene.returns[:, 0] + noise * scene.noise).attributed("AAA")
    assert found.verdict is verdict
    assert found.sentence.startswith(words)


def test_bars_without_a_close_or_made_up_are_left_out_and_prices_adjusted(scene):
    missing, filled = 40, 90
    prices, flags = scene.prices[:, 0].copy(), np.zeros(BARS + 1, int)
    prices[missing], flags[filled] = np.nan, int(BarFlag.FILLED)
    prices[filled] = 1.0
    prices[:150] *= 2.0
    factors = np.where(np.arange(BARS + 1) < 150, 0.5, 1.0)
    scene.bars.replace(
        "minutes", bars_of("AAA", prices, adj_factor=factors, outlier_flag=flags), interval_ns=MINUTE_NS
    )
    found = scene.earn(0.3 * scene.returns[:, 0] + scene.noise).attributed("AAA")
    assert found.fit.n == BARS - 2
    assert not np.isin(START_TS + np.array([missing, filled]) * MINUTE_NS, found.times_ns).any()
    assert found.fit.betas[0].value == pytest.approx(0.3, abs=0.03)


def test_benchmarks_of_different_bars_meet_at_common_closes(scene):
    hours = scene.prices[::5, 1]
    opens = bars_of("BBB", scene.prices[:, 1]).take(np.arange(0, BARS + 1, 5))
    five = opens.set_column(
        1,
        BAR_SCHEMA.field("datetime"),
        pa.array(
            [t - timedelta(minutes=4) for t in opens["datetime"].to_pylist()],
            BAR_SCHEMA.field("datetime").type,
        ),
    )
    assert len(hours) == five.num_rows
    scene.bars.replace("fives", five, interval_ns=5 * MINUTE_NS)
    found = scene.earn(scene.returns @ [0.5, -0.2] + scene.noise).attributed("AAA", "fives:BBB")
    assert found.fit.n == BARS // 5
    assert [b.value for b in found.fit.betas] == pytest.approx([0.5, -0.2], abs=0.06)


def test_a_run_shorter_than_its_bars_uses_what_both_have(tmp_path, make_run, make_summary):
    scene = Scene(tmp_path, make_run, make_summary)
    scene.earn(scene.returns[:, 0] + scene.noise)
    rows = pq.read_table(scene.run.run_dir / "equity.parquet").slice(0, 2 * 101)
    pq.write_table(rows, scene.run.run_dir / "equity.parquet")
    assert scene.attributed("AAA").fit.n == 100
    pq.write_table(rows.slice(0, 2 * 30), scene.run.run_dir / "equity.parquet")
    with pytest.raises(
        DataError, match=r"must have at least 30 returns in common, had 29. The run went from 2024-08-09T"
    ):
        scene.attributed("AAA")


@pytest.mark.parametrize("offset_s", [10, 50])
def test_equity_of_other_times_than_the_closes_is_refused(scene, offset_s):
    scene.earn(scene.returns[:, 0], offset_ns=offset_s * 10**9)
    with pytest.raises(
        DataError, match=r"must be sampled at most 6s before each close.*but was (10|50)s old"
    ):
        scene.attributed("AAA")


def test_what_cannot_be_attributed_says_why(scene):
    scene.earn(np.zeros(BARS))
    with pytest.raises(DataError, match=f"run {RUN_ID} cannot be attributed: returns must vary"):
        scene.attributed("AAA")
    scene.earn(scene.returns[:, 0])
    scene.bars.replace("minutes", bars_of("CCC", 2.0 * scene.prices[:, 0]), interval_ns=MINUTE_NS)
    with pytest.raises(DataError, match=r"minutes:CCC is a combination of minutes:AAA. Leave it out."):
        scene.attributed("AAA", "CCC")
    for names, text in (
        ((), "a benchmark must be given"),
        (("minutes:",), "must be written SOURCE:SYMBOL, was 'minutes:'"),
        (("AAA", "AAA"), "must differ from each other"),
    ):
        with pytest.raises(ConfigError, match=text):
            scene.attributed(*names)
    for options, text in (
        ({"level": 1.0}, "level must be"),
        ({"largest_beta": 0.0}, "largest_beta must be > 0"),
    ):
        with pytest.raises(ConfigError, match=text):
            AttributionOptions(**options)


@pytest.fixture
def bt(scene, tmp_path, capsys):
    """Return a function that runs `bt runs factors` on the scene: (exit code, stdout, stderr)."""
    SqliteStore(tmp_path / "runs" / "index.sqlite").put(scene.record)

    def bt(*arguments):
        folders = (f"runs_dir={tmp_path / 'runs'}", f"store_dir={tmp_path / 'store'}")
        return main(["runs", "factors", *arguments, *folders]), *capsys.readouterr()

    return bt


def test_the_command_prints_a_table_and_what_it_means(scene, bt):
    scene.earn(2e-5 + 0.5 * scene.returns[:, 0] + scene.noise)
    code, out, err = bt(
        "20240809", "--benchmark", "minutes:AAA", "--benchmark", "minutes:BBB", "--window", "50"
    )
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert lines[0].split() == ["estimate", "se", "t", "p", "from", "to", "rolling"]
    assert [line.split()[0] for line in lines[1:4]] == ["alpha", "minutes:AAA", "minutes:BBB"]
    facts = dict(
        line.split("  ", 1)
        for line in lines
        if "  " in line and not line.startswith(("minutes", "alpha ", " "))
    )
    assert facts["returns"].strip() == "300 from 2024-08-09 00:00:00 to 2024-08-09 05:00:00 UTC"
    assert facts["rolling"].strip() == "betas of 50 returns"
    assert lines[-1].startswith("not market neutral")


def test_the_command_prints_json_without_nan(scene, bt):
    scene.earn(0.5 * scene.returns[:, 0] + scene.noise)
    code, out, _ = bt(RUN_ID, "--benchmark", "minutes:AAA", "--max-beta", "0.6", "--lags", "2", "--json")
    found = json.loads(out, parse_constant=pytest.fail)
    assert code == 0
    assert (found["returns"], found["lags"], found["verdict"]) == (300, 2, "slightly exposed")
    beta = found["betas"]["minutes:AAA"]
    assert beta["low"] < 0.5 < beta["high"]
    low, high = found["rolling"]["betas"]["minutes:AAA"]
    assert low < beta["value"] < high
    assert found["rolling"]["window"] == 75


def test_a_perfect_fit_is_shown_without_nan(scene, bt):
    scene.earn(0.5 * scene.returns[:, 0])
    found = json.loads(bt(RUN_ID, "--benchmark", "minutes:AAA", "--json")[1], parse_constant=pytest.fail)
    assert found["betas"]["minutes:AAA"]["value"] == pytest.approx(0.5)
    assert found["r_squared"] == pytest.approx(1.0)
    assert bt(RUN_ID, "--benchmark", "minutes:AAA")[0] == 0


def test_the_command_names_what_is_unknown(scene, bt):
    code, _, err = bt(RUN_ID, "--benchmark", "minutes:AAB")
    assert (code, "must be one of AAA, BBB, was 'AAB'" in err) == (2, True)
    code, _, err = bt(RUN_ID, "--benchmark", "hours:AAA")
    assert (code, "must be one of minutes, was 'hours'" in err) == (2, True)
    code, _, err = bt(RUN_ID)
    assert (code, "--benchmark" in err) == (2, True)
