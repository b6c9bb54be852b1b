"""Filters of runs: what a text means, and what it is refused for."""

from __future__ import annotations

import dataclasses
import math
import operator
import re
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_records import FIRST_NS, made

from bt_framework.errors import ConfigError
from bt_framework.results.rows import METRIC_COLUMNS, run_row
from bt_framework.stores.filters import (
    FIELDS,
    MAX_DEPTH,
    MAX_LENGTH,
    PREFIX_FIELDS,
    SET_FIELDS,
    And,
    Compare,
    Not,
    Or,
    field_value,
    matches,
    order_key,
    parse_filter,
)

DAY_NS = 86_400_000_000_000
RECORDS = [made(number) for number in range(60)]


def chosen(text: str) -> list[int]:
    condition = parse_filter(text)
    return [i for i, record in enumerate(RECORDS) if matches(condition, record)]


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("sharpe>1", Compare("sharpe", ">", 1.0)),
        ("strategy=ou_pairs", Compare("strategy", "==", "ou_pairs")),
        ("strategy == 'ou_pairs'", Compare("strategy", "==", "ou_pairs")),
        ('note=="two words (and more)"', Compare("note", "==", "two words (and more)")),
        ("tag==2024", Compare("tag", "==", "2024")),
        ("trades >= 1_000", Compare("trades", ">=", 1_000)),
        ("trades<1e3", Compare("trades", "<", 1_000)),
        ("trades<1.5", Compare("trades", "<", 1.5)),
        ("pnl>-1.5e-3", Compare("pnl", ">", -0.0015)),
        ("seed==9007199254740993", Compare("seed", "==", 9_007_199_254_740_993)),
        ("symbol==BTC/USDT:PERP", Compare("symbol", "==", "BTC/USDT:PERP")),
        ("status in [failed, 'stopped']", Compare("status", "in", ("failed", "stopped"))),
        ("seed not in [1,2]", Not(Compare("seed", "in", (1, 2)))),
        ("NOT seed==1 AND tag==or", And((Not(Compare("seed", "==", 1)), Compare("tag", "==", "or")))),
        ("git_commit==''", Compare("git_commit", "==", "")),
        ("started>=2024-08-01", Compare("started_at_ns", ">=", FIRST_NS)),
        ("started>2024-08-01", Compare("started_at_ns", ">=", FIRST_NS + DAY_NS)),
        ("started<2024-08-02", Compare("started_at_ns", "<", FIRST_NS + DAY_NS)),
        ("started<=2024-08-02", Compare("started_at_ns", "<", FIRST_NS + 2 * DAY_NS)),
        ('started<"2024-08-01T12:00"', Compare("started_at_ns", "<", FIRST_NS + DAY_NS // 2)),
        ("started<2024-08-01T14:00+02:00", Compare("started_at_ns", "<", FIRST_NS + DAY_NS // 2)),
        (f"started_at_ns=={FIRST_NS}", Compare("started_at_ns", "==", FIRST_NS)),
        ("start_ts>=2024-08-01", Compare("start_ts", ">=", FIRST_NS)),
    ],
)
def test_a_text_becomes_a_condition(text, condition):
    assert parse_filter(text) == condition


def test_and_binds_closer_than_or_and_not_closer_than_and():
    a, b, c = (Compare("seed", "==", n) for n in (1, 2, 3))
    assert parse_filter("seed==1 or seed==2 and not seed==3") == Or((a, And((b, Not(c)))))
    assert parse_filter("(seed==1 or seed==2) and seed==3") == And((Or((a, b)), c))


def test_a_date_is_the_whole_day_and_who_has_not_finished_did_so_at_no_time():
    ids = chosen("started==2024-08-02")
    assert ids == list(range(24, 48))
    assert chosen("started!=2024-08-02") == [i for i in range(60) if i not in ids]
    assert chosen("started in [2024-08-01, 2024-08-03]") == chosen("started!=2024-08-02")
    unfinished = [i for i, r in enumerate(RECORDS) if not r.finished_at_ns]
    assert unfinished
    assert chosen("finished<2100-01-01") == [i for i in range(60) if i not in unfinished]
    assert chosen("finished_at_ns==0") == unfinished


def test_what_is_undefined_satisfies_no_comparison():
    undefined = {i for i, r in enumerate(RECORDS) if not math.isfinite(r.metrics.get("sharpe", math.nan))}
    assert undefined
    for op in ("==", "!=", "<", "<=", ">", ">="):
        assert not undefined & set(chosen(f"sharpe{op}0.5"))
    assert undefined <= set(chosen("not sharpe>0.5"))


def test_a_tag_is_one_of_the_run_s_and_case_matters():
    assert chosen("tag==night") == [i for i, r in enumerate(RECORDS) if "night" in r.tags]
    assert chosen("tag!=night") == [i for i, r in enumerate(RECORDS) if "night" not in r.tags]
    assert chosen("tag in [night, day]") == chosen("tag==night or tag==day")
    assert chosen("tag==größer") == [i for i, r in enumerate(RECORDS) if "größer" in r.tags]
    assert chosen("tag==nigh") == []


def test_a_commit_and_a_hash_are_named_by_their_beginning():
    assert chosen("git_commit==ab12") == [i for i, r in enumerate(RECORDS) if r.git_commit.startswith("ab12")]
    assert chosen("git_commit==''") == [i for i, r in enumerate(RECORDS) if not r.git_commit]
    assert chosen("git_commit!=ab12") == [i for i in range(60) if i not in chosen("git_commit==ab12")]
    assert chosen("config_hash==cc and run_id in [run-00001, run-00002]") == list(range(10, 30))
    assert chosen("strategy==ou") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sharpee>1", "a filter's field must be one of .*, was 'sharpee'. Did you mean 'sharpe'?"),
        ("tags==x", "was 'tags'. Did you mean 'tag'?"),
        ("record==x", "was 'record'"),
        ("sharpe>abc", "sharpe is compared with a number, was 'abc' (annualised Sharpe ratio"),
        ("sharpe>'1'", "sharpe is compared with a number, was '1'"),
        ("sharpe>nan", "sharpe is compared with a number, was 'nan'"),
        ("sharpe>1e999", "sharpe is compared with a number that fits into 64 bits, was inf"),
        (f"seed=={2**63}", "seed is compared with a number that fits into 64 bits"),
        (f"seed=={'9' * 3_900}", "seed is compared with a number that fits into 64 bits"),
        ("strategy>a", "the operator after strategy must be one of ==, !=, in, was '>'."),
        ("status==faild", "status must be one of completed, .*, was 'faild'. Did you mean 'failed'?"),
        ("note=='a\x00b'", r"note is compared with printable text, was 'a\x00b'."),
        ("note=='a\ud800b'", "note is compared with printable text"),
        ("started>yesterday", "started is compared with a date or a time, was 'yesterday'. Write 2024-08-09"),
        ("started>20240801", "started is compared with a date or a time, was '20240801'"),
        ("started>2024-13-01", "started must be an ISO-8601 time, was '2024-13-01'"),
        ("started>9999-12-31", "started is compared with times from 1678 to 2261, was '9999-12-31'"),
        ("", "a filter must not be empty. Write for example: sharpe>1"),
        ("sharpe", "filter 'sharpe': expected an operator: one of ==,"),
        ("sharpe>", "filter 'sharpe>': expected a value, such as 1.5, night or 'two words', at its end."),
        ("sharpe>1 seed==1", "expected and, or or the end, at 'seed==1' (character 10)."),
        ("(sharpe>1", "expected and, or or ')', at its end."),
        ("sharpe>1)", "expected and, or or the end, at ')' (character 9)."),
        ("1<sharpe", "expected a field, such as sharpe or strategy, at '1<sharpe' (character 1)."),
        ("seed in []", "expected a value, such as 1.5"),
        ("__import__('os').system('x')==1", "expected an operator"),
        ("x" * (MAX_LENGTH + 1), "a filter must have at most 4,000 characters, had 4,001."),
        ("not " * MAX_DEPTH + "seed==1", f"a filter must nest at most {MAX_DEPTH} times"),
    ],
)
def test_what_means_nothing_is_refused_with_what_where_and_fix(text, message):
    with pytest.raises(ConfigError, match=re.escape(message).replace(r"\.\*", ".*")):
        parse_filter(text)


def test_parentheses_cost_no_depth_and_a_long_chain_is_flat():
    assert parse_filter("(" * 900 + "seed==1" + ")" * 900) == Compare("seed", "==", 1)
    condition = parse_filter(" or ".join(["seed==1"] * 350))
    assert isinstance(condition, Or)
    assert len(condition.parts) == 350


@given(text=st.text(max_size=60) | st.text("()[],'\"=<>! andortsigshe0129-", max_size=60))
def test_any_text_is_a_condition_or_a_configuration_error(text):
    with suppress(ConfigError):
        matches(parse_filter(text), RECORDS[0])


_COLUMNS = [FIELDS[name] for name in sorted(FIELDS)]
_ORDERED = {"==": operator.eq, "!=": operator.ne, "<": operator.lt, ">=": operator.ge}


def differs(value, word, by_prefix):
    """Whether a text is there and is not `word`."""
    return value is not None and not (value.startswith(word) if by_prefix and word else value == word)


@st.composite
def comparisons(draw):
    """A comparison as a text, and what it means, said in another way."""
    column = draw(st.sampled_from(_COLUMNS))
    if column.name == "run_dir":
        column = FIELDS["seed"]
    found = field_value(draw(st.sampled_from(RECORDS)), column.name)
    if column.name in SET_FIELDS:
        word = draw(st.sampled_from(found)) if found else "none"
        source = SET_FIELDS[column.name]
        return f"{column.name}=='{word}'", lambda r: word in getattr(r, source)
    if column.type is str:
        word = found or ""
        by_prefix = column.name in PREFIX_FIELDS
        return f'{column.name}!="{word}"', lambda r: differs(run_row(r)[column.name], word, by_prefix)
    number = found if found is not None else 1
    op = draw(st.sampled_from(sorted(_ORDERED)))

    def holds(record):
        source = record.metrics if column in METRIC_COLUMNS else run_row(record)
        value = source.get(column.name)
        return value is not None and math.isfinite(value) and _ORDERED[op](value, number)

    return f"{column.name} {op} {number!r}", holds


def texts(parts):
    join = st.tuples(parts, st.sampled_from(["and", "or"]), parts)
    return join.map(
        lambda j: (
            f"({j[0][0]}) {j[1]} ({j[2][0]})",
            lambda r: (j[0][1](r) and j[2][1](r)) if j[1] == "and" else (j[0][1](r) or j[2][1](r)),
        )
    ) | parts.map(lambda p: (f"not ({p[0]})", lambda r: not p[1](r)))


@given(made_of=st.recursive(comparisons(), texts, max_leaves=5), record=st.sampled_from(RECORDS))
def test_a_filter_means_what_python_says(made_of, record):
    text, holds = made_of
    assert matches(parse_filter(text), record) == holds(record), text


def test_every_field_is_a_column_or_a_set_of_a_run():
    row = run_row(RECORDS[0])
    for name in FIELDS:
        value = field_value(RECORDS[0], name)
        if name in row and name not in ("sweep_id",):
            assert value == row[name], name
    assert field_value(RECORDS[0], "sweep_id") is None


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("field", ["sharpe", "trades", "strategy", "started_at_ns"])
def test_runs_are_ordered_with_undefined_values_last_and_the_newest_first_among_equals(field, descending):
    ordered = sorted(RECORDS, key=order_key(field, descending=descending))
    values = [field_value(record, field) for record in ordered]
    defined = [value for value in values if value is not None]
    assert defined == sorted(defined, reverse=descending)
    assert values[len(defined) :] == [None] * (len(RECORDS) - len(defined))
    for before, after in pairwise(ordered):
        if field_value(before, field) == field_value(after, field):
            assert before.started_at_ns > after.started_at_ns


@pytest.mark.parametrize(
    "values", [("seed", "==", True), ("seed", "==", "1"), ("seed", "~", 1), ("note", "==", 1), ("x", "==", 1)]
)
def test_a_comparison_made_in_python_is_checked_too(values):
    with pytest.raises(ConfigError):
        Compare(*values)


def test_conditions_are_values():
    condition = parse_filter("sharpe>1 and tag==night")
    assert condition == parse_filter("sharpe > 1 AND tag = 'night'")
    assert hash(condition) == hash(dataclasses.replace(condition))
