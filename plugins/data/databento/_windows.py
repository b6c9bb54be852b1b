"""Replay of market-by-price records, whose best levels are given whole each time, and of trades alone."""

from __future__ import annotations

import numpy as np

from bt_framework.jit import cached_kernel, kernel
from bt_plugins.data.databento._levels import (
    begin_record,
    drop,
    empty_levels,
    end_packet,
    level_at,
    trade,
)
from bt_plugins.data.databento._protocol import UNDEFINED_PX, UNDEFINED_SIZE, Drop, Flag, Status

_T = 84
FIRST_LEVEL_WORD = 6
WORDS_PER_LEVEL = 4
"""Levels follow 48 bytes: bid and ask price, int64; bid and ask size, bid and ask count, uint32."""


@kernel
def set_window(words, sizes, n_levels, levels, state):
    """Make the levels those of one record: `words` are its int64s, `sizes` its uint32s."""
    empty_levels(levels, state)
    for k in range(n_levels):
        word = FIRST_LEVEL_WORD + k * WORDS_PER_LEVEL
        for s in range(2):
            px = words[word + s]
            if px != UNDEFINED_PX:
                levels[s, level_at(levels, s, px, state)]["qty"] = np.int64(sizes[2 * word + 4 + s])


@cached_kernel
def replay_windows(records, numbers, words, sizes, n_levels, levels, touched, rows, phases, drops, states):
    """Replay the records from ``state.pos`` on; see `replay_orders`.

    Parameters
    ----------
    words : int64 array of shape (n_records, record_bytes / 8)
        The same records' bytes.
    sizes : uint32 array of shape (n_records, record_bytes / 4)
        Likewise.
    n_levels : int
        Levels of a record on each side; 0 for trades alone, of which each is a packet.

    Returns
    -------
    Status
    """
    state = states[0]
    while state["pos"] < len(records):
        pos = state["pos"]
        record = records[pos]
        begin_record(record, numbers[pos], state)
        if record["action"] == _T:
            if record["price"] == UNDEFINED_PX:
                drop(drops, Drop.NO_PX, numbers[pos], state)
            elif record["size"] == 0 or record["size"] == UNDEFINED_SIZE:
                drop(drops, Drop.NO_SIZE, numbers[pos], state)
            else:
                trade(record, rows, state)
        elif n_levels == 0:
            drop(drops, Drop.UNKNOWN_ACTION, numbers[pos], state)
        if n_levels:
            set_window(words[pos], sizes[pos], n_levels, levels, state)
        state["pos"] += 1
        ends = n_levels == 0 or record["flags"] & Flag.LAST
        if ends and end_packet(levels, touched, rows, phases, drops, state) == Status.PHASE_ENDED:
            return Status.PHASE_ENDED
    return Status.DONE


@cached_kernel
def finish_windows(levels, touched, rows, phases, drops, states):
    """End the last packet, with which the data may stop; returns a `Status`."""
    if states[0]["packet_records"] == 0:
        return Status.DONE
    return end_packet(levels, touched, rows, phases, drops, states[0])
