"""Two streams of rows made one, by local time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bt_framework.records import EVENT

_CHUNK_ROWS = 1 << 14


def merged_by_local_ts(first: Iterator[np.ndarray], second: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Rows of both, the earlier local time first; of equal times `first`'s.

    Each keeps its own order. Trades go first, books second: a queue model that has seen a trade knows why the
    level shrinks; the other way round it would count the trade twice.

    Parameters
    ----------
    first, second : iterators of EVENT arrays
        Each array may be overwritten once the next is asked for.

    Yields
    ------
    EVENT array
        Overwritten once the next is asked for.
    """
    from bt_framework.data._merging import merge_rows

    sources = (_not_empty(first), _not_empty(second))
    rows = [next(source, None) for source in sources]
    done = np.zeros(2, np.int64)
    out = np.empty(_CHUNK_ROWS, EVENT)
    n_out = 0
    while rows[0] is not None and rows[1] is not None:
        n_out = int(merge_rows(rows[0], rows[1], done, out, n_out))
        if n_out == len(out):
            yield out
            n_out = 0
        for k in range(2):
            if done[k] == len(rows[k]):  # type: ignore[arg-type]
                rows[k], done[k] = next(sources[k], None), 0
    if n_out:
        yield out[:n_out]
    for k in range(2):
        last = rows[k]
        if last is not None:
            yield last[done[k] :]
            yield from sources[k]


def _not_empty(chunks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    return (chunk for chunk in chunks if len(chunk))
