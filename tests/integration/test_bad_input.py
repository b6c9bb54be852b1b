"""Bad input, as a user meets it: one message, exit code 2, and nothing half-written."""

from __future__ import annotations

import ctypes
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bt_framework.cli.main import main

START_MS = 1_723_161_256_000
DAY_MS = 86_400_000
RUN = ["+strategy=market_maker", "sizing=fixed_qty", "console=plain", "data=binance"]
SYNTHETIC = ["+strategy=market_maker", "console=plain", "data.duration_ns=2s"]


def stream(symbol: str, start_ms: int = START_MS, broken: tuple[int, ...] = ()) -> bytes:
    """30 s of a collected stream, a depth diff every 100 ms; lines `broken` (from 1) end half way."""
    lines = []
    for i in range(300):
        ts, u = start_ms + 100 * i, 1_000 + 2 * i
        book = {"b": [[f"{100 - i % 3 / 10:.1f}", "5"]], "a": [[f"{100.2 + i % 3 / 10:.1f}", "5"]]}
        data = {"e": "depthUpdate", "E": ts, "T": ts, "s": symbol, "U": u, "u": u + 1, "pu": u - 1, **book}
        line = f"{ts}000000 {json.dumps({'stream': 'x@depth@0ms', 'data': data}, separators=(',', ':'))}"
        lines.append(line[: len(line) // 2] if i + 1 in broken else line)
    return "\n".join([*lines, ""]).encode()


Refused = Callable[..., str]


def stored(folder: Path) -> list[Path]:
    """Files in a store that hold events, or say that there are some, or were to."""
    kept = ("manifests", "objects", "archive", "tmp")
    return [p for name in kept for p in (folder / name).rglob("*") if p.is_file()]


@pytest.fixture
def refused(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> Refused:
    """Return a function that runs `bt`, checks that it refuses and leaves nothing, and returns its message."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BT_STORE_DIR", str(tmp_path / "store"))

    def run(*arguments: str, nothing_stored: bool = True) -> str:
        capsys.readouterr()
        assert main(list(arguments)) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert "Traceback" not in printed.err
        assert not (tmp_path / "runs").exists()
        if nothing_stored:
            assert stored(tmp_path / "store") == []
        (message,) = [line for line in printed.err.splitlines() if line.startswith("bt: error: ")]
        return message.removeprefix("bt: error: ")

    return run


BAD_FILES = {
    "missing": (None, "f.gz does not exist. Give a path that does in data.files."),
    "empty": (b"", "f.gz is empty. Remove it from data.files, or fetch it again."),
    "truncated": (gzip.compress(stream("AUSDT"))[:900], "f.gz is truncated: its gzip data end early, after "),
    "damaged": (b"\x1f\x8bgarbage", "f.gz is corrupt: its gzip data break after 0 bytes"),
    "of another kind": (b"PK\x03\x04garbage", "f.gz is not a collected Binance stream: line 1: "),
    "broken in the middle": (gzip.compress(stream("AUSDT", broken=(150,))), "f.gz line 150 is malformed: "),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_file_that_cannot_be_read_is_refused(refused: Refused, tmp_path: Path, case: str) -> None:
    content, message = BAD_FILES[case]
    if content is not None:
        (tmp_path / "f.gz").write_bytes(content)
    assert refused(*RUN, "data.files=[f.gz]").startswith(message)
    if case != "of another kind":  # the other reader has other words for that
        assert message in refused_check(refused)


def refused_check(refused: Refused) -> str:
    """What `bt data check` says of the same file."""
    message = refused("data", "check", "data=binance", "f.gz")
    return message.replace(
        "f.gz does not exist.", "f.gz does not exist. Give a path that does in data.files."
    )


def test_malformed_lines_are_skipped_up_to_the_limit_and_one_more_is_refused(
    refused: Refused, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "f.txt").write_bytes(stream("AUSDT", broken=(11, 21, 31)))
    message = refused(*RUN, "data.files=[f.txt]", "data.max_malformed_lines=2")
    assert message.startswith("f.txt line 31 is malformed: ")
    assert "data.max_malformed_lines is 2: raise it to skip such lines" in message
    assert main([*RUN, "data.files=[f.txt]", "data.max_malformed_lines=3"]) == 0
    assert "AUSDT: warn" in capsys.readouterr().out


def test_a_wrong_symbol_is_refused(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "f.txt").write_bytes(stream("AUSDT"))
    assert refused(*RUN, "data.files=[f.txt]", "data.symbols=[BUSDT]") == (
        "wrong symbol: f.txt holds AUSDT, data.symbols is BUSDT. Remove the file or add its symbol."
    )


@pytest.mark.parametrize("symbol", ["A" * 400, "A\nB", "A\x1b[31mB", "A\0B"])
def test_a_symbol_that_can_be_no_name_is_refused(refused: Refused, tmp_path: Path, symbol: str) -> None:
    (tmp_path / "f.txt").write_bytes(stream(symbol))
    message = refused(*RUN, "data.files=[f.txt]")
    assert message.startswith("symbol must be at most 60 printable characters, was 'A")
    assert message.isprintable()


@pytest.mark.parametrize("symbol", ["../../../ESCAPED", "/ESCAPED", "..", ".", "~/ESCAPED"])
def test_a_symbol_is_never_a_way_out_of_the_store(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, symbol: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f.txt").write_bytes(stream(symbol))
    store = tmp_path / "deep/er/still/store"
    assert main(["ingest", "data=binance", "data.files=[f.txt]", f"store_dir={store}"]) == 0
    (archived,) = store.rglob("*.parquet")
    assert archived.parents[2] == store / "archive"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache", "deep", "f.txt"]
    assert [p.name for p in (tmp_path / "deep/er/still").iterdir()] == ["store"]


@pytest.mark.parametrize(
    "name", ["a\nb.txt", "a=b.txt", "a b,c.txt", "[a].txt", "ä'\"\\.txt", "$(id);.txt", "${seed}.txt"]
)
def test_any_name_of_a_file_can_be_written_down(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(stream("AUSDT"))
    assert main(["data", "check", "data=binance", name]) == 0
    quoted = name.replace("'", "\\'")
    if "${" not in name:
        assert main(["ingest", "data=binance", f"data.files=['{quoted}']", "store_dir=store"]) == 0
    assert "AUSDT" in capsys.readouterr().out


def test_instruments_without_common_time_are_refused(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(stream("AUSDT"))
    (tmp_path / "b.txt").write_bytes(stream("BUSDT", START_MS + DAY_MS))
    message = refused(*RUN, "data.files=[a.txt,b.txt]", nothing_stored=False)
    assert message.startswith("the instruments have no common time: AUSDT 2024-08-08T23:54:16.000000000Z to ")
    assert message.endswith("Choose files of the same days.")


def test_a_tick_size_that_does_not_divide_the_prices_is_refused(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "f.txt").write_bytes(stream("AUSDT"))
    message = refused(*RUN, "data.files=[f.txt]", "data.tick_size.AUSDT=0.3")
    assert message.startswith("tick_size of AUSDT must divide the prices, was 0.3: row ")
    assert message.endswith("Leave it out to use the size that the prices suggest, 0.1.")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "latency.entry_ns=-5us",
            "latency.entry_ns must be >= 0, was -5000 (override latency.entry_ns=-5us).",
        ),
        ("latency.entry_ns='250'", "latency.entry_ns has no unit, was '250' "),
        ("latencies=colo", "unknown key latencies (override latencies=colo). Did you mean latency? "),
        (
            "latency=cola",
            "latency must be one of colo, constant, feed_derived, historical, jitter, retail, same_region, zero, "
            "was 'cola'. Did you mean 'colo'?",
        ),
        ("latency.entri_ns=1", "unknown key latency.entri_ns (override latency.entri_ns=1). Did you mean "),
        ("seed=many", "seed must be a whole number, was 'many' (override seed=many)."),
        (
            "latency=../../x/colo",
            "the override 'latency=../../x/colo' is refused: an option lies in the folders ",
        ),
    ],
)
def test_a_wrong_composition_is_refused(refused: Refused, override: str, message: str) -> None:
    assert refused(*SYNTHETIC, override).startswith(message)


def without_root_rights() -> None:
    """Give up what lets root write where nobody may; for a process that is about to start another program."""
    if os.geteuid() == 0:
        pr_capbset_drop, cap_dac_override, cap_dac_read_search = 24, 1, 2
        for capability in (cap_dac_override, cap_dac_read_search):
            ctypes.CDLL(None).prctl(pr_capbset_drop, capability, 0, 0, 0)


def bt_without_root_rights(
    folder: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `bt` in `folder`, held to the permissions of files."""
    return subprocess.run(
        [sys.executable, "-m", "bt_framework", *arguments],
        cwd=folder,
        env=os.environ | environment,
        preexec_fn=without_root_rights,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="permissions are tested on Linux")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, own_cache: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    store = {"BT_STORE_DIR": str(tmp_path / "store")}
    cases = [
        ({"BT_STORE_DIR": str(locked / "s")}, (), f"storing events in {locked}/s failed: Permission denied."),
        (
            store | {"BT_CACHE_DIR": str(locked / "c")},
            (),
            f"the cache folder {locked}/c/jit/loops cannot be written: ",
        ),
        (store, (f"runs_dir={locked}/runs",), f"{locked}/runs/"),
    ]
    for environment, arguments, message in cases:
        done = bt_without_root_rights(tmp_path, *SYNTHETIC, *arguments, **environment)
        assert done.returncode == 2, done.stderr
        assert f"bt: error: {message}" in done.stderr
        assert "Traceback" not in done.stderr
        assert list(locked.iterdir()) == []
        assert not (tmp_path / "runs").exists()


def test_a_disk_without_room_for_a_run_leaves_no_run(tmp_path: Path, own_cache: Path) -> None:
    store = {"BT_STORE_DIR": str(tmp_path / "store")}
    assert bt_without_root_rights(tmp_path, *SYNTHETIC, "runs_dir=first", **store).returncode == 0
    code = (
        "import resource, sys; from bt_framework.cli.main import main; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *SYNTHETIC],
        cwd=tmp_path,
        env=os.environ | store,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    assert (
        "/config.yaml cannot be written: File too large. Free space there or choose another runs_dir."
        in done.stderr
    )
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_variable_of_the_environment_is_written_down_only_where_it_was_asked_for(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BT_STORE_DIR", str(tmp_path / "store"))
    monkeypatch.setenv("DESK", "hunter2")
    assert main(SYNTHETIC) == 0
    assert main([*SYNTHETIC, "note=x://me:${oc.env:DESK}@host"]) == 0
    first = sorted(p.name for p in (tmp_path / "runs").iterdir() if p.is_dir())[0]
    assert main(["runs", "note", first, "x://me:hunter2@host"]) == 0
    files = [p for p in (tmp_path / "runs").rglob("*") if p.is_file()]
    assert [p for p in files if b"hunter2" in p.read_bytes()] == []
