"""Which feeds of a symbol are read: those of the time asked for, complete, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from bt_framework.errors import DataError
from bt_framework.registry import unknown_name

if TYPE_CHECKING:
    from bt_framework.stores.clickhouse.feeds import DatabaseFeed
    from bt_plugins.data.clickhouse import Clickhouse


def choose(
    config: Clickhouse, symbol: str, listed: Sequence[DatabaseFeed], database: str
) -> list[DatabaseFeed]:
    """Return the feeds of `symbol`, in order of time.

    Parameters
    ----------
    listed : sequence of DatabaseFeed
        All of the database.
    database : str
        Its name, for messages.

    Raises
    ------
    DataError
        If there is none, one is half-loaded, or several are of one time.
    """
    feeds = [feed for feed in listed if feed.symbol == symbol]
    if not feeds:
        known = {feed.symbol for feed in listed}
        fix = "" if known else " Load some: bt db load FILES"
        raise DataError(f"{unknown_name(f'data.symbols, in {database},', symbol, known)}{fix}")
    wanted = [feed for feed in feeds if _named(config, feed)]
    if not wanted:
        raise DataError(
            f"{symbol}: no feed at {database} is of data.reader and data.feed_ids. There are:{_lines(feeds)}"
        )
    start_ts, end_ts = config.range_ns()
    inside = [
        feed
        for feed in wanted
        if (start_ts is None or feed.last_local_ts >= start_ts)
        and (end_ts is None or feed.first_local_ts < end_ts)
    ]
    if not inside:
        raise DataError(
            f"{symbol}: no events at {database} from {config.start or 'the first'} to {config.end or 'the last'}. "
            f"There are:{_lines(wanted)}"
        )
    for feed in inside:
        if not feed.complete:
            raise DataError(
                f"{symbol}: the feed {feed.short_id} at {database} is half-loaded. Finish it: bt db load with the same "
                f"files; or leave it out with data.feed_ids. There are:{_lines(inside)}"
            )
    for before, after in pairwise(inside):
        if after.first_local_ts < before.last_local_ts:
            raise DataError(
                f"{symbol}: several feeds at {database} are of the same time. Choose with data.feed_ids, data.reader "
                f"or data.start and data.end:{_lines(inside)}"
            )
    return inside


def _named(config: Clickhouse, feed: DatabaseFeed) -> bool:
    by_id = not config.feed_ids or any(feed.feed_id.startswith(feed_id) for feed_id in config.feed_ids)
    return by_id and config.reader in ("", feed.reader)


def _lines(feeds: Sequence[DatabaseFeed]) -> str:
    return "".join(
        f"\n  {feed.short_id}: {feed.reader}, {feed.events:,} events, {_iso(feed.first_local_ts)} to "
        f"{_iso(feed.last_local_ts)}, {feed.status}"
        for feed in feeds
    )


def _iso(ts: int) -> str:
    import numpy as np

    return f"{np.datetime64(ts, 'ns')}Z"
