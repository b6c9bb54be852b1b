"""The filter of events that a configuration may hold."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bt_framework.errors import ConfigError
from bt_framework.stores.clickhouse.where import COLUMNS, FUNCTIONS, MAX_LENGTH, RowFilter, parse_where

PLACEHOLDER = re.compile(r"\{(\w+):(?:Int64|UInt64|Float64)\}")
SQL_WORDS = {"and", "or", "not", "in", "between"}


def meaning(row_filter: RowFilter, **columns: float) -> bool:
    """What the SQL says of one row, read as Python."""
    text = PLACEHOLDER.sub(lambda match: repr(row_filter.parameters[match[1]]), row_filter.sql)
    text = re.sub(r"(?<![<>!])=", "==", text)
    text = re.sub(r"\(([^()]+|\([^()]*\)) between (\S+) and ([^)]+)\)", r"(\2 <= \1 <= \3)", text)
    names = {
        "bitAnd": lambda a, b: int(a) & int(b),
        "isNaN": math.isnan,
        "abs": abs,
        "least": min,
        "toFloat64": float,
    }
    return bool(eval(text, {"__builtins__": {}}, {**names, **columns}))


@pytest.mark.parametrize(
    ("text", "row", "holds"),
    [
        ("kind = trade", {"ev": 3 << 30 | 2}, True),
        ("kind = trade", {"ev": 3 << 30 | 1}, False),
        ("bitAnd(ev, buy) != 0", {"ev": 1 << 29}, True),
        ("px * qty >= 100 and px < 60", {"px": 50.0, "qty": 2.0}, True),
        ("px * qty >= 100 and px < 60", {"px": 50.0, "qty": 1.9}, False),
        ("not (px > 1 or qty > 1)", {"px": 1.0, "qty": 1.0}, True),
        ("sequence not in (1, 2)", {"sequence": 3}, True),
        ("1 + 2 * 3 = 7 and (1 + 2) * 3 = 9", {}, True),
        ("-px <= -2 and px in [-1, 2, '1970-01-01']", {"px": 2.0}, True),
        ("px between 1 and 3", {"px": 3.0}, True),
        ("local_ts >= '2024-08-08T12:00' and local_ts <> 0", {"local_ts": 1_723_118_400_000_000_000}, True),
        ("local_ts > '2024-08-08 12:00+00:00'", {"local_ts": 1_723_118_400_000_000_000}, False),
        ("LEAST(px, qty) == 1 AND NOT isnan(px) = 1", {"px": 1.0, "qty": 5.0}, True),
    ],
)
def test_a_filter_means_what_it_says(text: str, row: dict[str, float], holds: bool) -> None:
    assert meaning(parse_where(text), **row) is holds


HOSTILE = [
    "1=1; DROP TABLE market_data",
    "px > 1 -- and so on",
    "px > 1 /* and so on */",
    "px > (SELECT 1)",
    "px > 1 UNION ALL SELECT 1",
    "px in (SELECT px FROM bt.market_data)",
    "file('/etc/passwd') != 0",
    "url('http://x/') = 1",
    "sleep(3) = 0",
    "px > {w0:Int64}",
    "symbol = 'A'",
    "`px` > 1",
    '"px" > 1',
    "px > '1'' or 1=1'",
    "px > 'x\\' or 1=1'",
    "px > 1 FORMAT CSV",
    "px > 1 SETTINGS max_threads=1",
    "px::String = 1",
    "market_data.px > 1",
    "currentUser() = 1",
    "px ? 1 : 0",
    "px > 0x10",
    "px > ¼",
    "px > \u0661",
    "px > 1\x00",
    "not " * 400 + "px > 1",
    "px in (qty)",
    "px > 1e999",
    "px > 99999999999999999999",
    "local_ts > '9999-01-01'",
    "least(px) > 1",
    "px",
    "",
    "px > 1 " + " " * MAX_LENGTH,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_no_filter_is_refused_before_it_reaches_a_database(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^data\.where"):
        parse_where(text)


def test_parentheses_are_no_depth() -> None:
    assert parse_where("(" * 600 + "px > 1" + ")" * 600).sql == "(px > {w0:Int64})"


def test_messages_say_where_and_what_there_is() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_where("price > 1")
    assert "a name must be one of " in str(caught.value)
    assert "'price'" in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be read at character 8, '; DROP'"):
        parse_where("px > 10; DROP")
    with pytest.raises(ConfigError, match="cannot be read at its end"):
        parse_where("px > 1 and")
    with pytest.raises(ConfigError, match=r"a function must be one of abs, .* was 'sleep'"):
        parse_where("sleep(1) = 1")


@given(st.text(max_size=60) | st.text("pxqty ()<>=1.'and or;-/*%{}", max_size=60))
def test_whatever_is_written_the_sql_is_made_of_known_words_and_bound_values(text: str) -> None:
    try:
        row_filter = parse_where(text)
    except ConfigError:
        return
    assert set(PLACEHOLDER.findall(row_filter.sql)) == set(row_filter.parameters)
    rest = PLACEHOLDER.sub("", row_filter.sql)
    assert not set(rest) & set("'\"`;{}\\")
    words = set(re.findall(r"[A-Za-z_]\w*", rest))
    assert words <= SQL_WORDS | set(COLUMNS) | {name for name, _ in FUNCTIONS.values()} | {
        "bitAnd",
        "toFloat64",
    }


@given(st.sampled_from([" ", "  ", "\n"]), st.booleans())
def test_the_same_filter_written_otherwise_is_the_same(space: str, upper: bool) -> None:
    text = f"kind{space}=={space}trade{space}and{space}qty>1"
    assert parse_where(text.upper() if upper else text) == parse_where("kind = trade and qty > 1")
