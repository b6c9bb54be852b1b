"""A book by price level, for readers whose sources send snapshots in the middle of a stream."""

from __future__ import annotations

import numpy as np

from bt_framework.records import EVENT

_FIRST_PLACES = (1 << 13) - 1


class LevelBook:
    """The levels that a stream has set so far.

    A snapshot replaces them. To clear a book and fill it again would tell a queue model that every level has
    traded away; so `replace` takes out, with a quantity of zero, only the levels that the snapshot has not.

    >>> book = LevelBook()
    >>> rows = np.zeros(2, EVENT)
    >>> rows["ev"], rows["px"], rows["qty"] = 1 << 29 | 1, [99.0, 98.0], 5.0
    >>> book.apply(rows)
    >>> book.replace(rows[:1])[["px", "qty"]].tolist()
    [(98.0, 0.0), (99.0, 5.0)]
    """

    def __init__(self) -> None:
        from bt_framework.data._level_book import LEVEL

        self._levels = np.zeros((2, _FIRST_PLACES), LEVEL)
        self._used = np.zeros(2, np.int64)
        self._mark = 0

    def apply(self, rows: np.ndarray) -> None:
        """Take in depth rows, an EVENT array of shape (n_rows,); all prices are > 0."""
        from bt_framework.data._level_book import set_levels

        self._make_room(len(rows))
        set_levels(rows, self._levels, self._used, self._mark)

    def replace(self, rows: np.ndarray) -> np.ndarray:
        """Make the book what `rows` say, and nothing else.

        Parameters
        ----------
        rows : EVENT array of shape (n_rows,), n_rows >= 1

        Returns
        -------
        EVENT array
            Depth rows of zero quantity for the levels that are gone, with the times of the first of `rows`; then
            `rows`.
        """
        from bt_framework.data._level_book import take_unmarked

        self._mark += 1
        self.apply(rows)
        gone = np.zeros(int(self._used.sum()), EVENT)
        n_gone = take_unmarked(self._levels, self._mark, gone)
        gone["exch_ts"], gone["local_ts"] = rows["exch_ts"][0], rows["local_ts"][0]
        return np.concatenate([gone[:n_gone], rows])

    def _make_room(self, n_rows: int) -> None:
        """Keep at least half of the places free; levels without quantity are left behind when it grows."""
        from bt_framework.data._level_book import set_levels

        if 2 * (int(self._used.max()) + n_rows) <= self._levels.shape[1]:
            return
        old = [side[side["qty"] > 0.0] for side in self._levels]
        needed = 4 * (max(map(len, old)) + n_rows)
        self._levels = np.zeros((2, max((1 << needed.bit_length()) - 1, _FIRST_PLACES)), self._levels.dtype)
        self._used[:] = 0
        for side, levels in enumerate(old):
            rows = np.zeros(len(levels), EVENT)
            rows["ev"], rows["px"], rows["qty"] = (1 << 29, 1 << 28)[side], levels["px"], levels["qty"]
            set_levels(rows, self._levels, self._used, 0)
