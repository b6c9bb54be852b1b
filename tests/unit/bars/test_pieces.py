"""Pieces of bars: each bar in one of them, by symbol and time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bt_framework.bars._manifest import Span
from bt_framework.bars.pieces import MOST_SYMBOLS, pieces

spans = st.lists(
    st.tuples(st.integers(1, 500), st.integers(0, 1_000)).map(
        lambda t: Span(t[0], t[1], t[1] + 10 * t[0] - 10)
    ),
    min_size=1,
    max_size=250,
).map(lambda found: {f"S{i:03d}": span for i, span in enumerate(found)})


@given(spans, st.integers(1, 800))
def test_every_bar_of_every_symbol_is_in_one_piece(known: dict[str, Span], rows: int) -> None:
    found = list(pieces(known, rows))
    assert [s for piece in found if piece.last for s in piece.symbols] == list(known)
    for symbol, span in known.items():
        own = [piece for piece in found if symbol in piece.symbols]
        assert [piece.last for piece in own] == [False] * (len(own) - 1) + [True]
        assert [piece.end_us for piece in own[:-1]] == [piece.first_us for piece in own[1:]]
        assert own[0].first_us <= span.first_us <= span.last_us < own[-1].end_us
        assert len(own) == 1 or all(piece.symbols == (symbol,) for piece in own)


@given(spans, st.integers(1, 800))
def test_a_piece_has_about_as_many_bars_as_asked_for_and_few_symbols(
    known: dict[str, Span], rows: int
) -> None:
    for piece in pieces(known, rows):
        assert len(piece.symbols) <= MOST_SYMBOLS
        # The bars of these spans are 10 us apart.
        times = [
            (max(piece.first_us, span.first_us), min(piece.end_us, span.last_us + 10))
            for span in (known[symbol] for symbol in piece.symbols)
        ]
        assert sum(max(0, end - start) / 10 for start, end in times) <= rows + len(piece.symbols)


def test_a_piece_says_its_times_as_times() -> None:
    (piece,) = pieces({"A": Span(2, -1_000_000, 1_000_000)}, 10)
    assert (piece.start.isoformat(), piece.end.isoformat()) == (
        "1969-12-31T23:59:59+00:00",
        "1970-01-01T00:00:01.000001+00:00",
    )
