"""What a run's account had earned at given times."""

from __future__ import annotations

import numpy as np

from bt_framework.results._aligned import aligned
from bt_framework.results.folder import RunFolder


def equity_at(folder: RunFolder, times_ns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Read a run's equity at given times, in bounded memory.

    Parameters
    ----------
    folder : RunFolder
    times_ns : int64 array of shape (n_times,), ns UTC, rising

    Returns
    -------
    profit : float64 array of shape (n_times,), settlement currency
        Of all instruments since the start, fees paid, at the last sample up to each time; NaN before the first sample
        and after the last one.
    sample_ts : int64 array of shape (n_times,), ns UTC
        When that sample was taken; 0 where there is none.

    Raises
    ------
    StorageError
        If the run's files cannot be read.
    """
    names = folder.record().names()
    width = len(names.instruments)
    profit, sample_ts = np.full(len(times_ns), np.nan), np.zeros(len(times_ns), np.int64)
    value, last_ts = np.nan, 0
    for part in aligned(folder, ("equity",), names):
        # Rows of one instant come together; only a run that was killed may lack some of the last.
        rows = part["equity"][: len(part["equity"]) // width * width].reshape(-1, width)
        if not len(rows):
            continue
        ts = np.concatenate(([last_ts], rows["local_ts"][:, 0]))
        values = np.concatenate(([value], rows["equity"].sum(axis=1)))
        low = np.searchsorted(times_ns, last_ts or ts[1], side="left")
        high = np.searchsorted(times_ns, ts[-1], side="right")
        at = np.searchsorted(ts, times_ns[low:high], side="right") - 1
        profit[low:high], sample_ts[low:high] = values[at], ts[at]
        last_ts, value = int(ts[-1]), float(values[-1])
    return profit, sample_ts
