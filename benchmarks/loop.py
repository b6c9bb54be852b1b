"""The composed loop against a loop written by hand: events per second in one process, taken in turns.

What is protected: that ledger, risk, intents, order log and equity rows cost next to nothing, and that ten rules
cost little. Both loops make the same decisions over the same mapped events with price-vector books of equal bounds, and
both write down position and money at the same interval. Compilation and one run of each are warm-up. JSON is the last
line of stdout.

::

    python benchmarks/loop.py --rounds 15
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from by_hand import ou_pairs as by_hand
from measure import median, real_feeds

from bt_framework.engine.book import choose_book

GOAL = 0.95
GOAL_TEN_RULES = 0.85
NS_PER_MS = 1_000_000
DEFAULT_RULES = ("max_position", "max_order_notional")
TEN_RULES = (
    "max_order_notional",
    "price_collar",
    "max_position",
    "max_gross_exposure",
    "max_leverage",
    "max_open_orders",
    "self_cross",
    "daily_loss",
    "max_drawdown",
    "order_rate",
)
"""Of every sort: on the order, on what works, on the account, on time. Their limits are out of reach here."""
OUT_OF_REACH = {
    "price_collar": "limit_bps=5000",
    "max_gross_exposure": "limit_notional=1e9",
    "daily_loss": "limit_frac=0.9",
    "max_drawdown": "limit_frac=0.9",
    "order_rate": "burst=100000",
}


@dataclass(frozen=True)
class Comparison:
    """Medians over the rounds; `ratio` is the median of the rounds' own ratios of events per second."""

    equity_interval_ms: int
    rules: int
    rounds: int
    events: int
    fills: int
    ours_events_per_s: float
    by_hand_events_per_s: float
    ratio: float


class Pair:
    """The ingested pair, and how to run it both ways. `settings` are those of the strategy."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.feeds = real_feeds()
        self.events = [feed.open() for feed in self.feeds]
        self.start_ts, self.end_ts = by_hand.common_time(self.events)
        books = [choose_book(f.spec, f.touch_low_px, f.touch_high_px) for f in self.feeds]
        self.low_px = tuple(book.low_px for book in books)
        self.high_px = tuple(book.high_px for book in books)
        self.settings = settings

    @property
    def event_count(self) -> int:
        """Events of both legs."""
        return sum(map(len, self.events))

    def ours(self, equity_ms: int, rules: Sequence[str]) -> Callable[[], tuple[float, int]]:
        """Return a function that runs the composed loop once and gives (seconds in it, fills)."""
        from bt_framework.assembly import build_program
        from bt_framework.engine.session import AccountTerms, Clocking, Session

        parts = _parts(self.settings, rules)
        program = build_program(parts)
        clocking = Clocking(self.start_ts, self.end_ts, parts.strategy.timer_ns, equity_ms * NS_PER_MS)

        def run() -> tuple[float, int]:
            terms = AccountTerms(100_000.0)
            session = Session(self._markets(parts), program, clocking, self._records(parts), terms)
            session.prepare()
            began = time.thread_time()
            fills = sum(len(tables["fills"]) for tables in session.slices(200_000))
            seconds = time.thread_time() - began
            session.close()
            return seconds, fills

        return run

    def by_hand(self, equity_ms: int) -> Callable[[], tuple[float, int]]:
        """Return a function that runs the loop written by hand once and gives (seconds in it, fills)."""
        settings = dict(self.settings)
        settings["taker"] = settings.pop("execution", "maker") == "taker"
        setup = by_hand.Setup(self.start_ts, self.end_ts, record_every=equity_ms // 100, **settings)
        sizes = tuple(f.spec.tick_size for f in self.feeds), tuple(f.spec.lot_size for f in self.feeds)
        venue = by_hand.Venue(*sizes, low_px=self.low_px, high_px=self.high_px)

        def run() -> tuple[float, int]:
            recorder = by_hand.Recorder(2, (self.end_ts - self.start_ts) // setup.step_ns + 8)
            fills = np.zeros(100_000, by_hand.FILL).view(np.recarray)
            hbt = by_hand.build_engine(self.events, venue)
            hbt.elapse(0)
            began = time.thread_time()
            count = by_hand.trade(hbt, recorder.recorder, fills, setup)
            seconds = time.thread_time() - began
            hbt.close()
            return seconds, count

        return run

    def _markets(self, parts: Any) -> list[Any]:
        from bt_framework.engine.session import Market

        venue = (parts.latency, parts.queue, parts.exchange, parts.fees)
        return [
            Market(feed.spec, [events], *venue, low_px=low_px, high_px=high_px)
            for feed, events, low_px, high_px in zip(
                self.feeds, self.events, self.low_px, self.high_px, strict=True
            )
        ]

    def _records(self, parts: Any) -> Any:
        from bt_framework.engine.session import Records, RuleRecords

        instruments = tuple(feed.spec for feed in self.feeds)
        return Records(
            params=parts.strategy.params(instruments),
            state=parts.strategy.state(instruments),
            work=parts.strategy.work(instruments),
            rules=tuple(
                RuleRecords(r.params(instruments), r.state(instruments), r.config) for r in parts.rules
            ),
            sizing=(parts.sizing.params(instruments), parts.sizing.state(instruments)),
            slippage=parts.slippage.params(instruments),
        )


def _parts(settings: dict[str, Any], rules: Sequence[str]) -> Any:
    """The built components of the default composition with colocated latency."""
    from bt_framework.assembly import Parts
    from bt_framework.config.compose import compose

    overrides = [f"strategy.{key}={value}" for key, value in settings.items()]
    overrides += [f"risk.{rule}.{OUT_OF_REACH[rule]}" for rule in rules if rule in OUT_OF_REACH]
    words = ["+strategy=ou_pairs", "latency=colo", f"risk=[{','.join(rules)}]"]
    return Parts.of(compose([*words, *overrides]))


def compare(pair: Pair, equity_ms: int, rounds: int, rules: Sequence[str] = DEFAULT_RULES) -> Comparison:
    """Run both in turns, the first to go changing every round."""
    ours, theirs = pair.ours(equity_ms, rules), pair.by_hand(equity_ms)
    fills = {ours()[1], theirs()[1]}  # warm-up
    if len(fills) != 1:
        raise SystemExit(f"the two loops do not do the same: {fills} fills")
    seconds: dict[str, list[float]] = {"ours": [], "by_hand": []}
    for index in range(rounds):
        turns = [("ours", ours), ("by_hand", theirs)]
        for name, run in turns if index % 2 == 0 else reversed(turns):
            seconds[name].append(run()[0])
    ratios = [b / a for a, b in zip(seconds["ours"], seconds["by_hand"], strict=True)]
    return Comparison(
        equity_interval_ms=equity_ms,
        rules=len(rules),
        rounds=rounds,
        events=pair.event_count,
        fills=fills.pop(),
        ours_events_per_s=pair.event_count / median(seconds["ours"]),
        by_hand_events_per_s=pair.event_count / median(seconds["by_hand"]),
        ratio=median(ratios),
    )


def measure(rounds: int, settings: dict[str, Any] | None = None) -> dict[str, Any]:
    """Compare at equity rows every 100 ms, which the goals are for, with ten risk rules, and every second."""
    pair = Pair(settings or {})
    found = [compare(pair, 100, rounds), compare(pair, 100, rounds, TEN_RULES), compare(pair, 1_000, rounds)]
    return {
        "benchmark": "loop",
        "goal": GOAL,
        "ratio": found[0].ratio,
        "goal_ten_rules": GOAL_TEN_RULES,
        "ratio_ten_rules": found[1].ratio,
        "comparisons": [asdict(c) for c in found],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="The composed loop against a loop written by hand.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings of the strategy")
    args = parser.parse_args()
    settings = {key: json.loads(value) for key, value in (item.split("=") for item in args.set)}
    result = measure(args.rounds, settings)
    for c in result["comparisons"]:
        print(
            f"equity every {c['equity_interval_ms']} ms, {c['rules']} rules: {c['ours_events_per_s'] / 1e6:.1f} M "
            f"events/s against {c['by_hand_events_per_s'] / 1e6:.1f} M by hand, ratio {c['ratio']:.3f} "
            f"({c['fills']} fills)",
            file=sys.stderr,
        )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
