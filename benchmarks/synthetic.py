"""Speed of the synthetic pair: events per second of the generator, and of its whole ingest.

Protected: the generator makes a million events per second or more. Baseline: copying the same events in memory,
measured in the same run. One JSON object on stdout.

    python benchmarks/synthetic.py [--duration 60min] [--repeat 3]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from bt_framework.data.source import Feed, FeedReport
from bt_framework.data.store import EventStore
from bt_framework.records import EVENT
from bt_plugins.data.synthetic_pair import SyntheticPair, build


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--duration", default="60min")
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    generate(build(SyntheticPair(duration_ns="10s")).feeds()[0])
    ingest(SyntheticPair(duration_ns="10s"))
    config = SyntheticPair(duration_ns=arguments.duration)
    feed = build(config).feeds()[0]
    generated = [generate(feed) for _ in range(arguments.repeat)]
    events = generated[0][0]
    generate_s = min(seconds for _, seconds in generated)
    copy_s = min(copy(events) for _ in range(arguments.repeat))
    both, ingest_s = min((ingest(config) for _ in range(arguments.repeat)), key=lambda result: result[1])
    result = {
        "events": events,
        "generate_s": generate_s,
        "generate_events_per_s": events / generate_s,
        "generate_over_copy": generate_s / copy_s,
        "ingest_events": both,
        "ingest_s": ingest_s,
        "ingest_events_per_s": both / ingest_s,
    }
    print(json.dumps(result))


def generate(feed: Feed) -> tuple[int, float]:
    """Events of `feed`, and seconds to make them."""
    began = time.perf_counter()
    events = sum(len(chunk) for chunk in feed.chunks(FeedReport(), lambda done, total: None))
    return events, time.perf_counter() - began


def copy(events: int) -> float:
    """Seconds to copy as many events in memory, in the same chunks."""
    source = np.zeros(65_536, EVENT)
    target = np.zeros(65_536, EVENT)
    began = time.perf_counter()
    for _ in range(0, events, len(source)):
        target[:] = source
    return time.perf_counter() - began


def ingest(config: SyntheticPair) -> tuple[int, float]:
    """Events of both legs, and seconds to store them."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        stored = EventStore(Path(folder)).load_all(build(config).feeds())
        return sum(feed.events for feed in stored), time.perf_counter() - began


if __name__ == "__main__":
    main()
