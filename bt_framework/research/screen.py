"""Screening: every pair of a universe, on every test date, by tests of cointegration.

The work is cut into chunks of pairs of one window. Threads compute them without the GIL, and each finished chunk is
kept, under a name that follows from the bars, the options and the code; a screening that is stopped or killed goes on
where it was and gives the same rows. Only when all p-values are there is the false discovery rate controlled, and
everything is written to the research store at once.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bt_framework.config._secrets import without_secrets
from bt_framework.data._workspace import exclusive, storage_errors
from bt_framework.errors import RunStopped
from bt_framework.interrupt import StopSignals
from bt_framework.jit import kernel_key
from bt_framework.research import _results
from bt_framework.research._chunks import Chunks
from bt_framework.research.decisions import Decisions, combined_p, decide
from bt_framework.research.settings import Family, Follow, ScreenConfig
from bt_framework.research.universe import Universe, instant
from bt_framework.research.windows import Window, windows_of
from bt_framework.stores.research import ResearchStore, Screen, pair_of, refuse_one_id_for_two

Progress = Callable[[int, int], None]

_CELLS_PER_CHUNK = 2_000_000
"""Pairs times bars: a few tenths of a second, so that little is lost and stopping is quick."""
_MOST_PAIRS = 4_096
_NO_INFLUENCE = ("follow", "spreads", "hedge_window", "workers", "top", "store_dir")
"""Keys that change no result of a test."""


@dataclass(frozen=True)
class _Chunk:
    """Pairs `first` to `last` (exclusive) of one window."""

    number: int
    window: int
    first: int
    last: int


class Screening:
    """One screening of a universe.

    Parameters
    ----------
    config : ScreenConfig
        What is asked.
    universe : Universe
        Prices.
    pairs : int64 array of shape (m, 2)
        Columns of the smaller and the larger symbol.
    """

    def __init__(self, config: ScreenConfig, universe: Universe, pairs: np.ndarray) -> None:
        self.config = config
        self.universe = universe
        self.pairs = pairs
        self.windows = windows_of(
            universe.times_ns, universe.interval_ns, window=config.window, step=config.step
        )
        self.store = ResearchStore.in_folder(config.store_dir)
        self._tests = self._identity(
            ("window", "step", "min_observations", "lags"), universe.content_hash, pairs.tobytes().hex()
        )
        symbols = universe.symbols
        named = [pair_of(symbols[a], symbols[b]) for a, b in pairs.tolist()]
        refuse_one_id_for_two(named)
        self._columns = {pair_id: (a, b) for (pair_id, *_), (a, b) in zip(named, pairs.tolist(), strict=True)}
        self._folder = Path(config.store_dir) / "screens"
        self._chunks = Chunks(self._folder / self._tests)

    @property
    def screen_id(self) -> str:
        """Hash of everything that decides the rows."""
        return self._identity(("methods", "fdr", "family"), self._tests)

    def run(self, progress: Progress) -> Screen:
        """Test what has not been tested yet, and return the finished screening.

        Raises
        ------
        RunStopped
            On Ctrl-C or SIGTERM; what is done is kept.
        StorageError
            If a store cannot be written.
        """
        with storage_errors(self._folder, "keeping results"), exclusive(self._folder / f"{self._tests}.lock"):
            known = self.store.screens(screen_id=self.screen_id)
            if known:
                return known[0]
            self._compute(progress)
            return self._conclude()

    def followed(self) -> Iterator[tuple[Window, dict[str, Any]]]:
        """Yield the rows whose parameters are to be kept, window by window, of a screening that has run."""
        if self.config.follow is Follow.none:
            return
        only = self.config.follow is Follow.discoveries
        for window in self.windows:
            rows = self.store.results(self.screen_id, window_end=instant(window.end_ts), found_only=only)
            yield from ((window, row) for row in rows if row["status"] == "ok")

    def columns_of(self, pair_id: str) -> tuple[int, int]:
        """Return the columns of a pair's prices in the universe, of symbol_a and symbol_b."""
        a, b = self._columns[pair_id]
        return a, b

    def _compute(self, progress: Progress) -> None:
        """Compute the chunks that are not there, side by side."""
        chunks = list(self._all_chunks())
        total = len(self.pairs) * len(self.windows)
        done, rest, running = 0, iter(chunks), dict[Future[Any], _Chunk]()
        workers = self.config.workers or os.cpu_count() or 1
        with ThreadPoolExecutor(workers) as pool, StopSignals():
            try:
                for chunk in rest:
                    running[pool.submit(self._rows, chunk)] = chunk
                    while len(running) >= 2 * workers or (running and chunk is chunks[-1]):
                        for future in wait(running, return_when=FIRST_COMPLETED).done:
                            future.result()
                            finished = running.pop(future)
                            done += finished.last - finished.first
                            progress(done, total)
            except RunStopped as stop:
                raise RunStopped(
                    f"{str(stop).rstrip('.')} after {done:,} of {total:,} tests. They are kept; the same command "
                    "goes on there.",
                    signal_number=stop.exit_code - 128,
                ) from None
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _all_chunks(self) -> Iterator[_Chunk]:
        number = 0
        for w, window in enumerate(self.windows):
            bars = window.last + 1 - window.first
            size = min(_MOST_PAIRS, max(1, _CELLS_PER_CHUNK // bars))
            for first in range(0, len(self.pairs), size):
                yield _Chunk(number, w, first, min(first + size, len(self.pairs)))
                number += 1

    def _rows(self, chunk: _Chunk) -> np.ndarray:
        """Return the statistics of `chunk`, computed unless they are kept; and keep them."""
        kept = self._chunks.get(chunk.number, chunk.last - chunk.first, _results.ROW)
        if kept is not None:
            return kept
        rows = _results.tested(
            self.universe.prices[self.windows[chunk.window].rows],
            self.pairs[chunk.first : chunk.last],
            lags=self.config.lags,
            min_observations=self.config.min_observations,
        )
        self._chunks.put(chunk.number, rows)
        return rows

    def _conclude(self) -> Screen:
        """Decide over all p-values, write everything, and let the chunks go."""
        refused: Counter[str] = Counter()
        p_values, family = [], []
        for chunk in self._all_chunks():
            rows = self._rows(chunk)
            refused.update(_results.status_words(rows))
            p_values.append(combined_p(_results.deciding_p(rows, self.config.methods)))
            family.append(np.full(len(rows), chunk.window if self.config.family is Family.window else 0))
        p_value = np.concatenate(p_values)
        decisions = decide(p_value, np.concatenate(family))
        tested = refused.pop("ok", 0)
        screen = Screen(
            self.screen_id,
            self.universe.source,
            datetime.now(UTC),
            settings_of(self.config),
            self._summary(tested, dict(sorted(refused.items())), decisions),
        )
        symbols = self.universe.symbols
        self.store.put_universe([(symbols[a], symbols[b]) for a, b in self.pairs], self.universe.source)
        self.store.put_results(screen, self._batches(p_value, decisions))
        self._chunks.remove()
        return screen

    def _batches(self, p_value: np.ndarray, decisions: Decisions) -> Iterator[list[dict[str, Any]]]:
        at = 0
        for chunk in self._all_chunks():
            rows = self._rows(chunk)
            part = slice(at, at + len(rows))
            window = self.windows[chunk.window]
            decided = Decisions(decisions.p_bh[part], decisions.q_storey[part], decisions.pi0)
            yield _results.store_rows(self.universe, window, rows, p_value[part], decided, self.config.fdr)
            at += len(rows)

    def _summary(self, tested: int, refused: dict[str, int], decisions: Decisions) -> dict[str, Any]:
        return {
            "symbols": len(self.universe.symbols),
            "pairs": len(self.pairs),
            "windows": len(self.windows),
            "first_test_date": instant(self.windows[0].as_of_ts).isoformat(),
            "last_test_date": instant(self.windows[-1].as_of_ts).isoformat(),
            "tested": tested,
            "refused": refused,
            "fdr": self.config.fdr,
            "found_bh": int((decisions.p_bh <= self.config.fdr).sum()),
            "found_storey": int((decisions.q_storey <= self.config.fdr).sum()),
            "pi0_lowest": float(decisions.pi0.min()) if len(decisions.pi0) else None,
            "pi0_highest": float(decisions.pi0.max()) if len(decisions.pi0) else None,
        }

    def _identity(self, keys: tuple[str, ...], *content: str) -> str:
        settings = settings_of(self.config)
        code = kernel_key([Path(_results.__file__)])
        text = json.dumps([[settings[key] for key in keys], content, code])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def settings_of(config: ScreenConfig) -> dict[str, Any]:
    """Return the keys of `config` that decide what is found, as plain data."""
    plain = without_secrets(config)
    return {key: value for key, value in plain.items() if key not in _NO_INFLUENCE}
