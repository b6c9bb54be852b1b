"""Contracts that pay in their base are read, but not traded: the ledger books linear ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import bt_framework
from bt_framework.errors import DataError


def coin_m_file(folder: Path, symbol: str) -> Path:
    lines = []
    for step in range(20):
        ts = 1_723_161_256_000 + 100 * step
        data = {
            "e": "depthUpdate",
            "E": ts,
            "T": ts,
            "s": symbol,
            "U": step * 2 + 1,
            "u": step * 2 + 2,
            "pu": step * 2,
        }
        data |= {"b": [["60000.1", str(5 + step)]], "a": [["60000.2", "7"]]}
        message = {"stream": f"{symbol.lower()}@depth@0ms", "data": data}
        lines.append(f"{ts * 1_000_000 + 5_000_000} {json.dumps(message, separators=(',', ':'))}")
    path = folder / f"{symbol}.txt"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_run_on_inverse_contracts_is_refused(tmp_path: Path, own_cache: Path) -> None:
    file = coin_m_file(tmp_path, "BTCUSD_PERP")
    with pytest.raises(DataError, match="BTCUSD_PERP is an inverse contract"):
        bt_framework.run(
            [
                "+strategy=market_maker",
                "data=binance",
                f"data.files=[{file}]",
                f"store_dir={tmp_path / 'store'}",
                f"runs_dir={tmp_path / 'runs'}",
                "console=plain",
            ]
        )
    assert not (tmp_path / "runs").exists()
