"""Sweeps that are wrong, as a careless user or a stranger writes them: one message, and nothing on disk."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sweep_folders import SWEEP_ID, planned

from bt_framework.cli.main import main
from bt_framework.sweep.folder import SweepFolder

BASE = ["-m", "+strategy=market_maker", "data.duration_ns=2s", "console=plain"]
SPREADS = "strategy.half_spread_bps=1,2"

Refused = Callable[..., str]


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Return a function that runs `bt`, checks that it refuses and leaves nothing new, and returns its message."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BT_STORE_DIR", str(tmp_path / "store"))

    def run(*arguments: str) -> str:
        before = sorted(tmp_path.rglob("*"))
        capsys.readouterr()
        assert main(list(arguments)) == 2
        message = capsys.readouterr().err
        assert len(re.findall("^bt: error: ", message, re.M)) == 1, message
        assert "Traceback" not in message
        assert sorted(tmp_path.rglob("*")) == before
        return message

    return run


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            [SPREADS, "strategy.half_spreed_bps=1,2"],
            "unknown key strategy.half_spreed_bps .* Did you mean st",
        ),
        (
            ["strategy.half_spread_bps=1,-2"],
            r"must be >= 0, was -2.0 \(override strategy.half_spread_bps=-2\)",
        ),
        (["strategy.half_spread_bps=1,x"], r"strategy.half_spread_bps must be a number, was 'x'"),
        (["strategy.half_spread_bps=range(3,1,0.5)"], r"must have at least one value, was the empty range"),
        (["strategy.half_spread_bps=range(1,3,0)"], r"must have a step other than 0, was range\(1,3,0\)"),
        (
            ["strategy.half_spread_bps=interval(1,3)"],
            r"was an interval. Write range\(A,B,STEP\), or sample it",
        ),
        (["latency=colo,moon"], "latency must be one of colo, .*, was 'moon'"),
        (["latency=glob(moon*)"], "none of the options of latency matches. They are colo, constant"),
        (["~latency", SPREADS], "no latency is chosen. Choose one with latency=NAME"),
        ([SPREADS, "strategy.half_spread_bps=3"], "strategy.half_spread_bps is set by another override too"),
        (["strategy=market_maker,ou_pairs"], "strategy is set by another override too. Give it once"),
        (["sweep.workers=1,2"], "sweep.workers says how jobs are carried out, and is one for all of them"),
        (["resume=true,false"], "resume says how jobs are carried out"),
        (
            ["seed=range(0,1000)", "data.seed=range(0,1000)"],
            r"at most sweep.max_jobs=100,000 jobs, has 1,000,000: 1,000 of seed x 1,000 of data.seed. Give fewer",
        ),
        (["data.mu=range(0,1e300,1)"], r"has about 10\^300: about 10\^300 of data.mu"),
        (
            [SPREADS, "sweep.metric=sharp"],
            "sweep.metric must be one of .*, was 'sharp'. Did you mean 'sharpe'",
        ),
        ([SPREADS, "on_error=ignore"], r"on_error must be continue, stop or retry\(N\), was 'ignore'"),
        ([SPREADS, "limits.max_rss=4XB"], "limits.max_rss must be a size, was '4XB'"),
        ([SPREADS, "hydra/launcher=moon"], "hydra/launcher must be one of .*, was 'moon'"),
        ([SPREADS, "hydra.sweeper.n_trials=3"], "unknown key hydra.sweeper.n_trials"),
        (["data.date=2024-01-01,2024-02-30"], "data.date must be a day such as .*, was '2024-02-30'"),
        (["data.pair=A-B,A"], "data.pair must be two symbols, .*, was 'A'"),
        (["latency=../x,colo"], "an option lies in the folders of options"),
        (
            [SPREADS, "sweep.dir=/proc/none"],
            "sweep folder /proc/none/.* cannot be made: .* Choose another swe",
        ),
        ([SPREADS, "runs_dir=/proc/none"], "/proc/none/index.sqlite cannot be opened: No such file or direc"),
    ],
)
def test_a_wrong_sweep_is_refused_before_anything_is_written(
    refused: Refused, words: list[str], message: str
) -> None:
    assert re.search(message, refused(*BASE, *words))


@pytest.mark.parametrize(
    "word",
    [
        "note=postgresql://ann:sekret@host/d,b",
        "note='https://host/x?user=ann&password=sekret',b",
        "store.url=postgresql://ann:sekret@host/d",
        "bars.headers={Key: sekret}",
    ],
)
def test_a_secret_is_refused_since_a_plan_is_written_down(refused: Refused, word: str) -> None:
    kind = ["bars=rest"] if word.startswith("bars") else ["store=postgres"] if "store" in word else []
    message = refused(*BASE, SPREADS, *kind, word)
    assert re.search(
        r"\*\*\*.*must hold no secret. Put it into the environment and write \$\{oc.env:NAME\}", message
    )
    assert "sekret" not in message


def sweep_on_disk(tmp_path: Path) -> Path:
    """Folder of a sweep of two jobs that was planned and never ran."""
    command = (*BASE[1:], SPREADS)
    values = {"strategy.half_spread_bps": ["1", "2"]}
    plan, jobs = planned(values, fixed=tuple(BASE[1:]), command=command, cwd=str(tmp_path))
    folder = SweepFolder(tmp_path / "sweeps" / SWEEP_ID)
    folder.create(plan, jobs)
    return folder.path


def edit_plan(folder: Path, **changes: Any) -> None:
    path = folder / "plan.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


EVIL_OPTION = "_target_: os.system\ndefaults:\n  - /schema/latency/colo@_here_\n  - _self_\n"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 99}, "plan.json must be of version 1, was 99. Go on with the release that wrote it"),
        ({"sweep_id": "../../x"}, "sweep_id must be the name of a folder, was '../../x'"),
        (
            {"fixed": "latency=colo"},
            "plan.json cannot be read: fixed must be as a sweep writes it. Restore it",
        ),
        ({"keys": [1]}, "keys must be as a sweep writes it"),
        ({"cwd": 5}, "cwd must be as a sweep writes it"),
        ({"more": 5}, "it must have the keys sweep_id, fixed"),
        (
            {"command": ["+strategy=market_maker", "_target_=os.system"]},
            "start with an underscore are refused",
        ),
        (
            {"command": [*BASE[1:], "hydra.launcher._target_=os.system"]},
            "start with an underscore are refused",
        ),
        ({"command": [*BASE[1:], "latency=../../x"]}, "an option lies in the folders of options"),
        ({"command": [*BASE[1:], "hydra.searchpath=[pkg://evil]"]}, "a configuration must not import code"),
        (
            {"command": [*BASE[1:], "latency=evil"], "config_dirs": ["options"]},
            "unknown key latency._target_",
        ),
        ({"config_dirs": ["nowhere"]}, "the folder of options 'nowhere' does not exist"),
    ],
)
def test_an_edited_plan_is_read_like_a_command_line(
    refused: Refused, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    folder = sweep_on_disk(tmp_path)
    options = tmp_path / "options" / "latency"
    options.mkdir(parents=True)
    (options / "evil.yaml").write_text(EVIL_OPTION)
    edit_plan(folder, **changes)
    assert re.search(message, refused("sweep", "resume", SWEEP_ID))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"number": "../../x", "varied": {}}', "line 1 must be job 0, with its number and what it varies"),
        ('{"number": 1, "varied": {}}', "line 1 must be job 0"),
        ('{"number": 0, "varied": {"seed": 5}}', "line 1 must have keys and values that are texts"),
        ('{"number": 0, "varied": 5}', "line 1 must be job 0"),
        ('{"number": 0, "varied": {}, "more": 1}', "line 1 must be job 0"),
        ("[]", "line 1 must be job 0"),
        ("{", "jobs.jsonl cannot be read: .*Restore it, or start the sweep anew"),
    ],
)
def test_edited_jobs_are_refused(refused: Refused, tmp_path: Path, line: str, message: str) -> None:
    folder = sweep_on_disk(tmp_path)
    (folder / "jobs.jsonl").write_text(line + "\n")
    assert re.search(message, refused("sweep", "show", SWEEP_ID))


@pytest.mark.parametrize(
    "varied",
    [
        {"strategy._target_": "os.system"},
        {"hydra.launcher._target_": "os.system"},
        {"latency": "../../x"},
        {"hydra.searchpath": "[pkg://evil]"},
        {"note": "${oc.create:{_target_: os.system}}"},
    ],
)
def test_what_an_edited_job_says_imports_nothing(tmp_path: Path, varied: dict[str, str]) -> None:
    from bt_framework.config.variants import VariantComposer
    from bt_framework.errors import ConfigError
    from bt_framework.plugin_manager import discover

    folder = SweepFolder(sweep_on_disk(tmp_path))
    (folder.path / "jobs.jsonl").write_text(json.dumps({"number": 0, "varied": varied}) + "\n")
    (job,) = folder.jobs()
    with pytest.raises(ConfigError):
        VariantComposer(discover()).compose(folder.plan().overrides(job))


def test_a_sweep_that_is_not_there_is_named_with_those_that_are(refused: Refused, tmp_path: Path) -> None:
    sweep_on_disk(tmp_path)
    assert "1999" in refused("sweep", "resume", "1999")
    assert "takes what says how jobs are carried out" in refused("sweep", "resume", SWEEP_ID, "latency=colo")
